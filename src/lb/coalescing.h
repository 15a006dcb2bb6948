// When a traffic thread leaves events to gather instead of waking up for each one, as a network card moderates its
// interrupts (ethtool(8), --coalesce). A busy thread that is a little faster than its neighbours sleeps for microseconds
// thousands of times a second, and each sleep and each wake-up costs both sides more than the event does. Decides only;
// the loop reads the clock and sleeps.
#pragma once

#include <algorithm>
#include <cstddef>

#include "base/time.h"

namespace muster::lb {

class Coalescing {
 public:
  // How long the events of a busy thread are left to gather: what it can add to a request's latency at each wait.
  static constexpr std::chrono::microseconds pause{100};

  [[nodiscard]] bool is_on() const noexcept { return on_; }

  // While off: the loop came round at `now`.
  void came_round(Instant now) noexcept {
    if (++rounds_ < patience_) return;
    const bool dense = now - since_ < patience_ * short_round;
    rounds_ = 0;
    since_ = now;
    if (!dense) return;
    on_ = true;
    pauses_ = 0;
    average_ = average_at_first;
  }

  // While on: nothing is left to do at `now`; whether to pause. Where there is little to do after a pause, requests wait
  // for each other and not for this thread, and are not to wait longer: it is off then.
  bool should_pause(Instant now) noexcept {
    average_ += (now - since_ - average_) / weight;
    if (average_ >= work_min) {
      ++pauses_;
      return true;
    }
    on_ = false;
    patience_ = pauses_ >= pauses_of_a_success ? patience_min : std::min(patience_ * 2, patience_max);
    return false;
  }

  // While on: at `now` there is something to do again.
  void went_on(Instant now) noexcept { since_ = now; }

 private:
  static constexpr std::chrono::microseconds short_round{100};
  static constexpr Instant::duration work_min = pause * 5 / 4;  // a thread that is busy for 5/9 of its time
  static constexpr Instant::duration average_at_first = 3 * pause;  // it has some pauses for it to come true
  static constexpr int weight = 4;  // the last time is a quarter of the average
  static constexpr int pauses_of_a_success = 64;
  static constexpr int patience_min = 32;  // rounds
  static constexpr int patience_max = 4096;

  bool on_ = false;
  Instant since_{};  // off: rounds_ are counted; on: it works
  int rounds_ = 0;
  int patience_ = patience_min;
  int pauses_ = 0;                // since it is on
  Instant::duration average_{0};  // of its work between two pauses
};

}  // namespace muster::lb
