// From single probe results to healthy or not: `fall` failures in a row, `rise` successes (2 after a fall).
// Pure.
#pragma once

#include "base/time.h"
#include "spec/spec.h"

namespace muster::health {

class Verdict {
 public:
  enum class Change { none, rose, fell };

  // `healthy` false: readiness starts down and needs one success; true: liveness starts up.
  Verdict(const spec::HealthCheck& check, bool healthy);

  Change record(bool success);
  [[nodiscard]] bool healthy() const noexcept { return healthy_; }
  [[nodiscard]] int failures_in_a_row() const noexcept { return failures_; }

 private:
  int fall_ = 3;
  int rise_ = 1;
  bool healthy_ = false;
  bool has_fallen_ = false;
  int failures_ = 0;
  int successes_ = 0;
};

// The pause before the next probe. Until first ready: 50 ms, growing by half each time up to `every`; then
// `every`. `attempt` counts the probes since the start of the process, from 0.
Millis probe_pause(const spec::HealthCheck& check, bool was_ready, int attempt);

}  // namespace muster::health
