// What is planned is what is done, for random specs and random edits of them on a host without faults.
#include "supervisor/plan.h"

#include <algorithm>

#include "fmt/core.h"
#include "gtest/gtest.h"
#include "sim/random_spec.h"
#include "sim/sim_host.h"

namespace muster::sim {
namespace {

constexpr std::uint64_t pairs = 400;
constexpr Nanos patience = 20min;

Plan plan_of(const SimHost& host, const std::shared_ptr<const spec::Spec>& spec) {
  return make_plan(host.planner(), spec, Now{.mono = host.now(), .wall = {}}, {});
}

// One line for each replica that changes, without an order: that of two apps is nobody's promise.
std::vector<std::string> planned(const Plan& plan) {
  std::vector<std::string> lines;
  for (const PlannedApp& app : plan.apps) {
    for (const PlannedReplica& row : app.replicas) {
      lines.push_back(fmt::format("{} {}", to_string(row.replica),
                                  row.to ? "starts as " + std::to_string(raw(*row.to)) : "stops"));
    }
  }
  std::ranges::sort(lines);
  return lines;
}

using Living = std::map<InstanceId, ReplicaId>;

Living living(const SimHost& host) {
  Living found;
  for (const auto& [id, process] : host.all()) {
    if (process.state == Process::State::running) found.emplace(id, process.replica);
  }
  return found;
}

// Of `before` those that are gone, and all that was started. A start whose port was not free yet is made again.
std::vector<std::string> taken(const SimHost& host, const Living& before, std::size_t spawned) {
  std::vector<std::string> lines;
  std::set<ReplicaId> started;
  for (std::size_t index = spawned; index < host.spawns().size(); ++index) {
    const Spawn& spawn = host.spawns()[index].second;
    lines.push_back(fmt::format("{} starts as {}", to_string(spawn.replica), raw(spawn.revision)));
    started.insert(spawn.replica);
  }
  const Living now = living(host);
  for (const auto& [id, replica] : before) {
    if (!now.contains(id) && !started.contains(replica)) lines.push_back(to_string(replica) + " stops");
  }
  std::ranges::sort(lines);
  lines.erase(std::unique(lines.begin(), lines.end()), lines.end());
  return lines;
}

bool settle(SimHost& host) {
  return host.advance_until([&] { return host.unfinished().empty(); }, patience);
}

TEST(PlanProperty, WhatIsPlannedIsDoneAndThenNothingIsLeft) {
  std::uint64_t compared = 0;
  for (std::uint64_t seed = 1; seed <= pairs; ++seed) {
    Random random(seed);
    RandomSpec specs(random);
    SimHost host({.seed = seed, .spec = specs.current()});
    // The plan may guess the times wrongly, never the steps.
    host.conduct = [&random](const Spawn&) {
      Conduct conduct;
      conduct.start_takes = random.millis(1, 400);
      conduct.healthy_after = random.millis(0, 900);
      conduct.signal_takes = random.millis(1, 150);
      return conduct;
    };
    ASSERT_TRUE(settle(host)) << "seed " << seed << ": " << host.unfinished();
    for (int edit = 0; edit < 4; ++edit) {
      specs.edit();
      const auto next = specs.current();
      const Plan plan = plan_of(host, next);
      EXPECT_TRUE(plan.whole) << "seed " << seed;
      const Living before = living(host);
      const std::size_t spawned = host.spawns().size();
      host.apply(next);
      ASSERT_TRUE(settle(host)) << "seed " << seed << ": " << host.unfinished();
      ASSERT_EQ(planned(plan), taken(host, before, spawned)) << "seed " << seed << ", edit " << edit;
      const Plan again = plan_of(host, next);
      ASSERT_FALSE(again.changes()) << "seed " << seed << ", edit " << edit << ": " << plan_summary(again);
      const std::size_t settled = host.spawns().size();
      host.apply(next);
      host.advance(1min);
      ASSERT_EQ(host.spawns().size(), settled) << "seed " << seed << ": applied twice";
      ASSERT_EQ(host.violation(), "") << "seed " << seed;
      ++compared;
    }
  }
  fmt::print("{} edits planned and done\n", compared);
}

}  // namespace
}  // namespace muster::sim
