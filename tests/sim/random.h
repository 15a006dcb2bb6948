// Small, and cheap to make: each decision of a run has one of its own, drawn from the seed and from what it decides.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/time.h"

namespace muster::sim {

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  // 0 … n-1
  int below(int n) { return static_cast<int>(next() % static_cast<std::uint64_t>(n)); }
  int between(int low, int high) { return low + below(high - low + 1); }
  bool percent(int chance) { return below(100) < chance; }
  Millis millis(int low, int high) { return Millis{between(low, high)}; }

 private:
  std::uint64_t next() {  // splitmix64
    state_ += 0x9e3779b97f4a7c15U;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31U);
  }
  std::uint64_t state_;
};

}  // namespace muster::sim
