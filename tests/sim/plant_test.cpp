// The proof that the simulator sees what it is there for: each bug is planted between planner and host, the first seeds
// have to find it and to name it as it is, and what is printed of it is a handful of steps.
#include <algorithm>

#include "fmt/core.h"
#include "gtest/gtest.h"
#include "sim/scenario.h"
#include "sim/shrink.h"
#include "sim/true_spec.h"

namespace muster::sim {
namespace {

constexpr std::uint64_t patience = 2000;  // seeds
constexpr std::size_t steps_max = 12;     // of what is left of them

void expect_found(const char* name, const Plant& plant, const std::string& words) {
  for (std::uint64_t seed = 1; seed <= patience; ++seed) {
    const Scenario scenario = scenario_of(seed);
    const RunResult result = run(scenario, {.plant = plant});
    if (result.violation.find(words) == std::string::npos) continue;
    EXPECT_EQ(run(scenario, {.plant = plant}).violation, result.violation) << "a seed has to replay";
    const Shrunk shrunk = shrink(scenario, plant);
    fmt::print("{}: seed {}: {}\nshrunk from {} steps to {} by {} runs: {}\n{}\n", name, seed,
               result.violation, scenario.steps.size(), shrunk.scenario.steps.size(), shrunk.runs,
               shrunk.violation, describe(shrunk.scenario));
    EXPECT_LE(shrunk.scenario.steps.size(), steps_max);
    EXPECT_EQ(kind_of(shrunk.violation), kind_of(result.violation));
    EXPECT_EQ(run(shrunk.scenario).violation, "") << "it breaks without the bug, too";
    return;
  }
  ADD_FAILURE() << name << " was not found by " << patience << " seeds";
}

// The planner reads another file than the one that was written.
Plant misread(void (*change)(spec::App&)) {
  return [change](HostOptions& options) {
    options.seam.events = [change](std::vector<Event>& events) {
      for (Event& event : events) {
        auto* loaded = std::get_if<SpecLoaded>(&event);
        if (loaded == nullptr) continue;
        auto other = std::make_shared<spec::Spec>(*loaded->spec);
        for (spec::App& app : other->apps) change(app);
        loaded->spec = std::move(other);
      }
    };
  };
}

Plant forgets(void (*change)(PersistentApp&)) {
  return [change](HostOptions& options) {
    options.seam.restored = [change](PersistentState& state) {
      for (auto& [name, app] : state.apps) change(app);
    };
  };
}

TEST(PlantedBug, AForgottenDrainIsFound) {
  expect_found(
      "forgotten drain", [](HostOptions& options) { options.seam.acknowledge_early = true; },
      "while a worker may still pick it");
}

TEST(PlantedBug, ASignalThatDoesNotAwaitTheSnapshotIsFound) {
  // In the very step that takes a replica out of rotation.
  const auto hasty = [](std::vector<Action>& actions, std::set<InstanceId>& routed) {
    std::vector<Action> more;
    for (const Action& action : actions) {
      const auto* publish = std::get_if<Publish>(&action);
      if (publish == nullptr) continue;
      std::set<InstanceId> now;
      for (const PoolState& pool : publish->pools) {
        for (const EndpointState& endpoint : pool.endpoints) now.insert(endpoint.instance);
      }
      for (const InstanceId id : routed) {
        if (!now.contains(id)) more.emplace_back(Signal{.instance = id, .signal = 15, .why = "planted"});
      }
      routed = std::move(now);
    }
    std::ranges::move(more, std::back_inserter(actions));
  };
  expect_found(
      "snapshot not awaited",
      [&](HostOptions& options) {
        options.seam.actions = [hasty, routed = std::set<InstanceId>{}](
                                   std::vector<Action>& actions) mutable { hasty(actions, routed); };
      },
      "while a worker may still pick it");
}

TEST(PlantedBug, RequestsThatAreCutOffAreFound) {
  const auto idle_at_once = [](HostOptions& options) {
    const auto asked = std::make_shared<std::vector<InstanceId>>();
    options.seam.events = [asked](std::vector<Event>& events) {
      for (const InstanceId id : std::exchange(*asked, {})) events.emplace_back(EndpointIdle{id});
    };
    options.seam.actions = [asked](std::vector<Action>& actions) {
      for (const Action& action : actions) {
        if (const auto* watch = std::get_if<WatchIdle>(&action)) asked->push_back(watch->instance);
      }
    };
  };
  expect_found("in-flight requests not awaited", idle_at_once, "while requests are in flight");
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
  expect_found(
      "double spawn", [&](HostOptions& options) { options.seam.actions = twice; },
      "two tenants of one exclusive ordinal");
}

TEST(PlantedBug, ARunOfAJobBesideAnotherIsFound) {
  const auto beside = [](std::vector<Action>& actions) {
    for (std::size_t index = 0; index < actions.size(); ++index) {
      const auto* spawn = std::get_if<Spawn>(&actions[index]);
      if (spawn == nullptr || spawn->replica.app.find("job") == std::string::npos) continue;
      Spawn second = *spawn;
      second.instance = InstanceId{raw(spawn->instance) + 1'000'000};
      ++second.replica.ordinal;
      actions.insert(actions.begin() + static_cast<std::ptrdiff_t>(index) + 1, second);
      return;
    }
  };
  expect_found(
      "overlap not forbidden", [&](HostOptions& options) { options.seam.actions = beside; },
      "and its runs may not overlap");
}

TEST(PlantedBug, ALostExitIsFound) {
  const auto lose = [](std::vector<Event>& events) {
    std::erase_if(events, [](const Event& event) { return std::holds_alternative<ProcessExited>(event); });
  };
  expect_found(
      "lost exit", [&](HostOptions& options) { options.seam.events = lose; }, "has no process");
}

TEST(PlantedBug, LimitsThatAreNotSetAreFound) {
  const auto lose = [](std::vector<Action>& actions) {
    std::erase_if(actions, [](const Action& action) { return std::holds_alternative<SetLimits>(action); });
  };
  expect_found(
      "limits not set", [&](HostOptions& options) { options.seam.actions = lose; },
      "has other limits than its app");
}

TEST(PlantedBug, ASurgeThatIsOneTooLargeIsFound) {
  expect_found("surge off by one", misread([](spec::App& app) {
                 app.update.surge = {surge_of(app.update, app.replicas) + 1, false};
               }),
               "more than are wanted");
}

TEST(PlantedBug, ARollThatIgnoresUnavailableIsFound) {
  expect_found("unavailable ignored", misread([](spec::App& app) {
                 app.update.unavailable = {100, true};
                 app.update.unavailable_given = true;
               }),
               "the update takes");
}

TEST(PlantedBug, AForgottenDeadlineIsFound) {
  expect_found("deadline forgotten",
               misread([](spec::App& app) { app.update.deadline = std::chrono::hours(99); }),
               "within its deadline and is not given up");
}

TEST(PlantedBug, AForgottenRollbackIsFound) {
  expect_found("rollback forgotten", misread([](spec::App& app) { app.update.rollback = false; }),
               "failed and is not rolled back");
}

TEST(PlantedBug, AFailedRevisionThatIsTriedAgainIsFound) {
  const auto retry = [](std::vector<Event>& events) {
    for (Event& event : events) {
      if (auto* loaded = std::get_if<SpecLoaded>(&event)) loaded->retry = true;
    }
  };
  expect_found(
      "failed revision tried again", [&](HostOptions& options) { options.seam.events = retry; },
      "which has failed");
}

TEST(PlantedBug, AHoldThatIsLostByARestartIsFound) {
  expect_found("hold lost", forgets([](PersistentApp& app) {
                 app.held = false;
                 app.scale.reset();
               }),
               "lost or made up by a restart");
}

TEST(PlantedBug, ABackoffThatIsResetByARestartIsFound) {
  expect_found("backoff reset", forgets([](PersistentApp& app) { app.failures.clear(); }),
               "starts without its backoff");
}

TEST(PlantedBug, ABackoffThatIsIgnoredIsFound) {
  expect_found("backoff ignored", misread([](spec::App& app) { app.restart.backoff = Millis{1}; }),
               "starts without its backoff");
}

TEST(PlantedBug, AStateThatIsNotSavedIsFound) {
  const auto lose = [](std::vector<Action>& actions) {
    std::erase_if(actions, [](const Action& action) { return std::holds_alternative<SaveState>(action); });
  };
  expect_found(
      "state not saved", [&](HostOptions& options) { options.seam.actions = lose; }, "state file");
}

TEST(PlantedBug, ALostEndOfATreeIsFound) {
  const auto lose = [](std::vector<Event>& events) {
    std::erase_if(events, [](const Event& event) { return std::holds_alternative<TreeGone>(event); });
  };
  expect_found(
      "lost end of a tree", [&](HostOptions& options) { options.seam.events = lose; }, "never settles");
}

}  // namespace
}  // namespace muster::sim
