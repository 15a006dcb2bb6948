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

// Whether anything has to be asked; notify, log and mere life are seen without asking.
bool probed(const spec::HealthCheck& check);

// The pause before the next probe. Until first ready a probe comes after an eighth of the time that the
// process has been running, between 5 ms (50 ms for a `cmd`) and `every`: an app is found ready at most an
// eighth later than it is, and one that starts slowly is not hammered. After that `every`.
Millis probe_pause(const spec::HealthCheck& check, bool was_ready, Nanos running_for);

}  // namespace muster::health
