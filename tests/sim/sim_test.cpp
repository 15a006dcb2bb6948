// Ten thousand seeds, and the proof that the simulator sees what it is there for.
//   sim_tests --first N --seeds M      which seeds
//   sim_tests --seed N                 one seed again, with the trace of its last steps
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "fmt/core.h"
#include "gtest/gtest.h"
#include "sim/chaos.h"

namespace muster::sim {
namespace {

std::uint64_t first_seed = 1;
std::uint64_t seeds = 500;
bool replay = false;

std::string report(std::uint64_t seed, const SeedResult& result) {
  return fmt::format("seed {}: {}", seed, result.violation);
}

void print_trace(const SeedResult& result) {
  for (const std::string& line : result.trace) fmt::print("{}\n", line);
}

TEST(Simulator, EveryInvariantHoldsUnderEverySeed) {
  std::uint64_t steps = 0;
  for (std::uint64_t seed = first_seed; seed < first_seed + seeds; ++seed) {
    SeedResult result = run_seed(seed, replay);
    steps += result.steps;
    if (!replay && !result.violation.empty()) result = run_seed(seed, true);
    if (!result.violation.empty() || replay) print_trace(result);
    ASSERT_EQ(result.violation, "") << report(seed, result) << "\n(again: sim_tests --seed " << seed << ")";
  }
  fmt::print("{} seeds from {}, {} steps\n", seeds, first_seed, steps);
  EXPECT_GT(steps, seeds);
}

TEST(Simulator, TheSameSeedDoesTheSame) {
  const SeedResult one = run_seed(first_seed, true);
  const SeedResult two = run_seed(first_seed, true);
  EXPECT_EQ(one.trace, two.trace);
}

// Each bug is planted between planner and host; the first seeds have to find it, and name it as it is.
struct Plant {
  const char* name;
  std::function<void(HostOptions&)> plant;
  const char* words;
};

void expect_found(const Plant& plant) {
  constexpr std::uint64_t patience = 200;
  for (std::uint64_t seed = first_seed; seed < first_seed + patience; ++seed) {
    const SeedResult result = run_seed(seed, false, plant.plant);
    if (result.violation.find(plant.words) == std::string::npos) continue;
    fmt::print("{}: {}\n", plant.name, report(seed, result));
    EXPECT_EQ(run_seed(seed, false, plant.plant).violation, result.violation) << "a seed has to replay";
    return;
  }
  ADD_FAILURE() << plant.name << " was not found by " << patience << " seeds";
}

TEST(PlantedBug, AForgottenDrainIsFound) {
  expect_found({"forgotten drain", [](HostOptions& options) { options.seam.acknowledge_early = true; },
                "while a worker may still pick it"});
}

TEST(PlantedBug, ADoubleSpawnIsFound) {
  const auto twice = [](std::vector<Action>& actions) {
    for (std::size_t index = 0; index < actions.size(); ++index) {
      const auto* spawn = std::get_if<Spawn>(&actions[index]);
      if (spawn == nullptr || !spawn->app->exclusive_slots()) continue;
      Spawn second = *spawn;
      second.instance = InstanceId{raw(spawn->instance) + 1'000'000};
      actions.insert(actions.begin() + static_cast<std::ptrdiff_t>(index) + 1, second);
      return;
    }
  };
  expect_found({"double spawn", [&](HostOptions& options) { options.seam.actions = twice; },
                "two tenants of one exclusive ordinal"});
}

TEST(PlantedBug, ALostExitIsFound) {
  const auto lose = [](std::vector<Event>& events) {
    std::erase_if(events, [](const Event& event) { return std::holds_alternative<ProcessExited>(event); });
  };
  expect_found({"lost exit", [&](HostOptions& options) { options.seam.events = lose; }, "has no process"});
}

}  // namespace

void choose(int argc, char** argv) {
  for (int index = 1; index + 1 < argc; ++index) {
    const auto value = std::strtoull(argv[index + 1], nullptr, 10);
    if (std::strcmp(argv[index], "--first") == 0) first_seed = value;
    if (std::strcmp(argv[index], "--seeds") == 0) seeds = value;
    if (std::strcmp(argv[index], "--seed") != 0) continue;
    first_seed = value;
    seeds = 1;
    replay = true;
  }
}
}  // namespace muster::sim

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  muster::sim::choose(argc, argv);
  if (muster::sim::replay) testing::GTEST_FLAG(filter) = "Simulator.EveryInvariant*";
  return RUN_ALL_TESTS();
}
