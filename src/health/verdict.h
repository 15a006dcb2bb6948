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

// Where a process is between its start and its first probe that succeeds.
struct StartProgress {
  Nanos running_for{0};
  bool refused = true;  // nothing listened at the last look, if there was one: asking costs the app nothing
  int starting = 1;     // how many are to be found ready, this one among them
};

// The pause before the next probe of one that was never ready, at most `every`. An eighth of the time that the process
// has been running, at least 5 ms (50 ms for a `cmd`): it is found ready at most an eighth later than it is, and one
// that answers while it starts is not hammered. As long as nothing listens, network probes come sooner: after 1 ms,
// growing to 5 ms and from 1.3 s on to a 256th of that time; where many start at once, all of them together are asked no
// more than a thousand times a second, unless each is by the eighth.
Millis start_pause(const spec::HealthCheck& check, const StartProgress& progress);

}  // namespace muster::health
