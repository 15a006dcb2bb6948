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
    since_ = now;
    rounds_ = 0;
    if (!dense) return;
    on_ = true;
    pauses_ = 0;
    average_ = average_at_first;
  }

  // While on: a pause ended with `events`. Where they are few the requests wait for each other, not for a thread that has
  // much to do: they are not to wait longer.
  void paused(std::size_t events, Instant now) noexcept {
    average_ += (static_cast<int>(events) * scale - average_) / weight;
    ++pauses_;
    if (average_ >= events_min * scale) return;
    on_ = false;
    since_ = now;
    patience_ = pauses_ >= pauses_of_a_success ? patience_min : std::min(patience_ * 2, patience_max);
  }

 private:
  static constexpr std::chrono::microseconds short_round{100};
  static constexpr int scale = 16;  // of the average
  static constexpr int weight = 4;  // a quarter of it is the last pause
  static constexpr int events_min = 8;
  static constexpr int average_at_first = 16 * scale;  // it has some pauses for it to come true
  static constexpr int pauses_of_a_success = 64;
  static constexpr int patience_min = 32;  // rounds
  static constexpr int patience_max = 4096;

  bool on_ = false;
  int rounds_ = 0;   // while off
  Instant since_{};  // rounds_ are counted
  int patience_ = patience_min;
  int pauses_ = 0;  // since it is on
  int average_ = 0;
};

}  // namespace muster::lb
