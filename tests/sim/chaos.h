// One seed: a random stack under random faults, edits and commands; then calm, and everything has to settle.
#pragma once

#include <cstdint>
#include <deque>
#include <string>

#include "sim/sim_host.h"

namespace muster::sim {

struct SeedResult {
  std::string violation;  // empty: every invariant held
  std::deque<std::string> trace;
  std::uint64_t steps = 0;
};

// Production planner and fake host from `seed` alone: the same seed does the same. `plant` puts a bug between
// them.
SeedResult run_seed(std::uint64_t seed, bool trace, const std::function<void(HostOptions&)>& plant = {});

}  // namespace muster::sim
