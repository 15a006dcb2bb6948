// A scenario that breaks an invariant becomes the smallest that still breaks it in the same way, by leaving out: steps,
// odd behaviour, apps, jobs, replicas, rules of apps, time.
#pragma once

#include <string>

#include "sim/scenario.h"

namespace muster::sim {

struct Shrunk {
  Scenario scenario;
  std::string violation;
  int runs = 0;
};

// The scenario has to break something under `plant`.
Shrunk shrink(const Scenario& broken, const Plant& plant = {}, int runs_max = 2500);

// Which invariant it is, whoever broke it: its words without names and numbers.
std::string kind_of(const std::string& violation);

}  // namespace muster::sim
