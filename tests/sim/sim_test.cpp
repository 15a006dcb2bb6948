// Ten thousand seeds.
//   sim_tests --seeds A..B             which seeds
//   sim_tests --seed N                 one seed again, with the trace of its last steps
//   sim_tests --seed N --steps         what that seed is: the stack and what is done to it
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "fmt/core.h"
#include "gtest/gtest.h"
#include "sim/scenario.h"
#include "sim/shrink.h"

namespace muster::sim {
namespace {

struct Wanted {
  std::uint64_t first = 1;
  std::uint64_t last = 500;
  bool replay = false;
  bool steps = false;
};
Wanted wanted;

void print_trace(const RunResult& result) {
  for (const std::string& line : result.trace) fmt::print("{}\n", line);
}

// The smallest scenario that breaks the same, and its trace.
void explain(const Scenario& scenario) {
  Shrunk shrunk = shrink(scenario);
  fmt::print("\nshrunk from {} steps to {} by {} runs: {}\n{}\n", scenario.steps.size(),
             shrunk.scenario.steps.size(), shrunk.runs, shrunk.violation, describe(shrunk.scenario));
  print_trace(run(shrunk.scenario, {.trace = true}));
}

TEST(Simulator, EveryInvariantHoldsUnderEverySeed) {
  std::uint64_t steps = 0;
  for (std::uint64_t seed = wanted.first; seed <= wanted.last; ++seed) {
    const Scenario scenario = scenario_of(seed);
    const RunResult result = run(scenario, {.trace = wanted.replay});
    steps += result.steps;
    if (wanted.replay) print_trace(result);
    if (!result.violation.empty()) explain(scenario);
    ASSERT_EQ(result.violation, "") << "(again: sim_tests --seed " << seed << ")";
  }
  fmt::print("seeds {} to {}, {} steps\n", wanted.first, wanted.last, steps);
  EXPECT_GT(steps, wanted.last - wanted.first);
}

TEST(Simulator, TheSameSeedDoesTheSame) {
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    const RunResult one = run(scenario_of(seed), {.trace = true});
    const RunResult two = run(scenario_of(seed), {.trace = true});
    EXPECT_EQ(one.trace, two.trace);
  }
}

// Only then can parts of it be left out.
TEST(Simulator, WhatWasWrittenDownRunsAsItWasDrawn) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Scenario scenario = scenario_of(seed);
    const RunResult drawn = run(scenario, {.trace = true, .record = &scenario.oddities});
    scenario.drawn = false;
    EXPECT_EQ(drawn.trace, run(scenario, {.trace = true}).trace) << "seed " << seed;
  }
}

bool choose(int argc, char** argv) {
  for (int index = 1; index < argc; ++index) {
    const std::string word = argv[index];
    if (word == "--steps") {
      wanted.steps = true;
      continue;
    }
    if (index + 1 == argc) return false;
    char* end = argv[++index];
    wanted.first = wanted.last = std::strtoull(end, &end, 10);
    if (word == "--seed" && *end == '\0') {
      wanted.replay = true;
    } else if (word == "--seeds" && std::strncmp(end, "..", 2) == 0) {
      wanted.last = std::strtoull(end + 2, &end, 10);
      if (*end != '\0') return false;
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace
}  // namespace muster::sim

int main(int argc, char** argv) {
  using namespace muster::sim;
  testing::InitGoogleTest(&argc, argv);
  if (!choose(argc, argv)) {
    fmt::print(stderr, "sim_tests [--seeds A..B | --seed N [--steps]]\n");
    return 64;
  }
  if (wanted.steps) {
    fmt::print("{}", describe(scenario_of(wanted.first)));
    return 0;
  }
  if (wanted.replay) testing::GTEST_FLAG(filter) = "Simulator.EveryInvariant*";
  return RUN_ALL_TESTS();
}
