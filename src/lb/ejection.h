// Whether a replica is left out because it failed again and again. Shared by all traffic threads, without locks.
#pragma once

#include <atomic>

#include "base/time.h"
#include "spec/spec.h"

namespace muster::lb {

class Ejection {
 public:
  [[nodiscard]] bool is_out(Instant now) const noexcept {
    return now.time_since_epoch().count() < until_.load(std::memory_order_relaxed);
  }

  // True: this failure is the one that takes it out.
  bool fail(const spec::Eject& rule, Instant now) noexcept {
    if (is_out(now) || fails_.fetch_add(1, std::memory_order_relaxed) + 1 < rule.fails) return false;
    fails_.store(0, std::memory_order_relaxed);
    until_.store((now + rule.time).time_since_epoch().count(), std::memory_order_relaxed);
    return true;
  }

  void succeed() noexcept {
    if (fails_.load(std::memory_order_relaxed) != 0) fails_.store(0, std::memory_order_relaxed);
  }

 private:
  std::atomic<int> fails_{0};  // in a row
  std::atomic<Instant::rep> until_{Instant::min().time_since_epoch().count()};
};

}  // namespace muster::lb
