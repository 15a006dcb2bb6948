// One run as a value: a stack, what is done to it and when, and how its processes behave. A seed is turned into one;
// after that nothing is random any more, so parts of it can be left out.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "simulator/deed.h"

namespace muster::sim {

// What is not calm, by whose turn it is. A process is named by its daemon's number, its ordinal and by how many were
// started there before it, so that it stays the same one when other things are left out.
struct Oddities {
  using Start = std::tuple<int, ReplicaId, int>;
  using Probe = std::tuple<int, ReplicaId, int>;  // the n-th of that ordinal
  using Swap = std::tuple<int, int>;              // the n-th of a traffic thread to a newer snapshot
  std::map<Start, Conduct> starts;
  std::map<Probe, ProbeConduct> probes;
  std::map<Swap, Nanos> swaps;
  [[nodiscard]] std::size_t size() const { return starts.size() + probes.size() + swaps.size(); }
};

struct Scenario {
  std::uint64_t seed = 1;  // of the planner, and of what is drawn
  RunMode mode = RunMode::daemon;
  int workers = 2;
  std::shared_ptr<const spec::Spec> first;
  std::vector<Step> steps;
  bool settles = true;  // at the end all faults end, and everything has to come to rest
  bool drawn = true;    // behaviour is drawn by the seed; else it is `oddities`, and calm otherwise
  Oddities oddities = {};
};

using Plant = std::function<void(HostOptions&)>;  // puts a bug between planner and host

struct RunOptions {
  bool trace = false;
  Plant plant = {};
  Oddities* record = nullptr;  // what was drawn
};

struct RunResult {
  std::string violation;  // empty: every invariant held
  std::deque<std::string> trace;
  std::uint64_t steps = 0;
};

// Always the same from the same seed.
Scenario scenario_of(std::uint64_t seed);
RunResult run(const Scenario& scenario, const RunOptions& options = {});

// For people: the stack as TOML, the steps with their times, the odd behaviour.
std::string describe(const Scenario& scenario);
std::string describe(const spec::App& app);

}  // namespace muster::sim
