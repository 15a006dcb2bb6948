#include <algorithm>

#include "unit/supervisor/host.h"

namespace muster::sim {
namespace {

spec::App renewed(spec::App app) {
  set_run(app, "./new");
  return app;
}

spec::Share percent(int value) {
  return {.value = value, .percent = true};
}
spec::Share count(int value) {
  return {.value = value, .percent = false};
}

// ResolveFenceposts and MaxUnavailable of Kubernetes' deployment_util.go.
TEST(Rollout, BoundsAreThoseOfKubernetes) {
  struct Row {
    spec::Share surge;
    spec::Share unavailable;
    int replicas;
    int most_more;
    int most_fewer;
  };
  for (const Row& row : {
           Row{percent(25), percent(25), 1, 1, 0},
           Row{percent(25), percent(25), 2, 1, 0},
           Row{percent(25), percent(25), 3, 1, 0},
           Row{percent(25), percent(25), 4, 1, 1},
           Row{percent(25), percent(25), 5, 2, 1},
           Row{percent(25), percent(25), 10, 3, 2},
           Row{percent(25), percent(25), 1000, 250, 250},
           Row{percent(0), percent(25), 1, 0, 1},
           Row{percent(0), percent(25), 3, 0, 1},
           Row{percent(0), percent(50), 3, 0, 1},
           Row{percent(1), percent(0), 50, 1, 0},
           Row{percent(0), percent(1), 50, 0, 1},
           Row{percent(100), percent(0), 7, 7, 0},
           Row{percent(0), percent(100), 7, 0, 7},
           Row{percent(200), percent(0), 3, 6, 0},
           Row{percent(34), percent(34), 10, 4, 3},
           Row{count(2), count(0), 10, 2, 0},
           Row{count(0), count(2), 10, 0, 2},
           Row{count(0), count(9), 4, 0, 4},
           Row{count(5), percent(25), 4, 5, 1},
           Row{count(2), percent(50), 1, 2, 0},
       }) {
    spec::Update update;
    update.surge = row.surge;
    update.unavailable = row.unavailable;
    const RolloutBounds bounds = rollout_bounds(update, row.replicas, false);
    EXPECT_EQ(bounds.surge, row.most_more) << row.replicas << " replicas, surge " << row.surge.value;
    EXPECT_EQ(bounds.unavailable, row.most_fewer) << row.replicas << " replicas, surge " << row.surge.value;
  }
}

TEST(Rollout, BoundsOfTheOtherStrategies) {
  spec::Update update;
  EXPECT_EQ(rollout_bounds(update, 8, true).surge, 0);
  EXPECT_EQ(rollout_bounds(update, 8, true).unavailable, 1);
  update.strategy = spec::UpdateStrategy::ordered;
  EXPECT_EQ(rollout_bounds(update, 8, false).surge, 0);
  EXPECT_EQ(rollout_bounds(update, 8, false).unavailable, 1);
  update.strategy = spec::UpdateStrategy::recreate;
  EXPECT_EQ(rollout_bounds(update, 8, false).surge, 0);
  EXPECT_EQ(rollout_bounds(update, 8, false).unavailable, 8);
}

// Ready in 200 ms; gives the fewest ready and the most running replicas on the way to the new revision.
struct Range {
  int fewest_ready;
  int most_staying;
};
int staying(const SimHost& host, const std::string& name) {
  int count = 0;
  for (const auto& [ordinal, slot] : host.app(name).slots) {
    count += static_cast<int>(
        std::ranges::count_if(slot.tenants, [](const Tenant& tenant) { return !tenant.is_leaving(); }));
  }
  return count;
}
Range roll(const spec::App& app) {
  Host host(spec_of({app}, {listener("front", app.name)}));
  host.conduct = [](const Spawn&) {
    Conduct conduct;
    conduct.healthy_after = 200ms;
    return conduct;
  };
  EXPECT_TRUE(host.until_ready(app.name, app.replicas));
  const CommandId id = host.apply(spec_of({renewed(app)}, {listener("front", app.name)}));
  Range range{app.replicas, app.replicas};
  EXPECT_TRUE(host.advance_until([&] {
    range.fewest_ready = std::min(range.fewest_ready, host.ready(app.name));
    range.most_staying = std::max(range.most_staying, staying(host, app.name));
    return host.answer(id).has_value();
  }));
  EXPECT_EQ(host.code(id), ExitCode::ok);
  EXPECT_EQ(static_cast<int>(host.spawns().size()), 2 * app.replicas);
  return range;
}

TEST(Rollout, SurgeIsHowManyMore) {
  spec::App web = port_app("web", 4);
  web.update.surge = percent(50);
  const Range range = roll(web);
  EXPECT_EQ(range.fewest_ready, 4);
  EXPECT_EQ(range.most_staying, 6);
}

TEST(Rollout, UnavailableIsHowManyFewer) {
  spec::App web = port_app("web", 4);
  web.update.surge = count(0);
  const Range one = roll(web);
  EXPECT_EQ(one.fewest_ready, 3);
  EXPECT_EQ(one.most_staying, 4);
  web.update.unavailable = count(2);
  web.update.unavailable_given = true;
  EXPECT_EQ(roll(web).fewest_ready, 2);
}

TEST(Rollout, SurgeAndUnavailableTogether) {
  spec::App web = port_app("web", 4);
  web.update.surge = count(1);
  web.update.unavailable = count(1);
  web.update.unavailable_given = true;
  const Range range = roll(web);
  EXPECT_EQ(range.fewest_ready, 3);
  EXPECT_EQ(range.most_staying, 5);
}

TEST(Rollout, ASingleReplicaIsNeverMissing) {
  const Range range = roll(port_app("web", 1));
  EXPECT_EQ(range.fewest_ready, 1);
  EXPECT_EQ(range.most_staying, 2);
}

TEST(Rollout, RecreateEndsAllOldOnesBeforeTheFirstNewOne) {
  spec::App web = port_app("web", 3);
  web.update.strategy = spec::UpdateStrategy::recreate;
  Host host(spec_of({web}));
  host.conduct = [](const Spawn& spawn) {
    Conduct conduct;
    conduct.signal_takes = (spawn.replica.ordinal + 1) * 100ms;
    return conduct;
  };
  ASSERT_TRUE(host.until_ready("web", 3));
  host.load(spec_of({renewed(web)}));
  ASSERT_TRUE(host.advance_until([&] {
    const auto running = host.processes("web");
    const auto old = std::ranges::count_if(
        running, [](const Process* process) { return process->revision == Revision{1}; });
    EXPECT_TRUE(old == 0 || host.spawns().size() == 3) << "a new one starts beside an old one";
    return host.spawns().size() == 6 && host.ready("web") == 3;
  }));
  ASSERT_TRUE(host.settle());
}

TEST(Rollout, OrderedGoesHighestFirstEachReadyBeforeTheNext) {
  spec::App web = port_app("web", 3);
  web.update.strategy = spec::UpdateStrategy::ordered;
  EXPECT_EQ(roll(web).fewest_ready, 2);
  Host host(spec_of({web}));
  ASSERT_TRUE(host.until_ready("web", 3));
  host.load(spec_of({renewed(web)}));
  ASSERT_TRUE(host.advance_until([&] { return host.spawns().size() == 6 && host.unfinished().empty(); }));
  EXPECT_EQ(host.start_order("web", 3), (std::vector{2, 1, 0}));
}

TEST(Rollout, MinReadyIsHowLongANewReplicaHasToHold) {
  spec::App web = port_app("web", 2);
  web.update.min_ready = Millis{5000};
  Host host(spec_of({web}));
  ASSERT_TRUE(host.until_ready("web", 2));
  host.advance(10s);
  const Instant before = host.now();
  const CommandId id = host.apply(spec_of({renewed(web)}));
  host.advance(4s);
  EXPECT_EQ(host.running("web"), 3);
  EXPECT_EQ(host.ready("web"), 2);
  ASSERT_TRUE(host.advance_until([&] { return host.answer(id).has_value(); }));
  EXPECT_GE(host.now() - before, 10s);
  EXPECT_LE(host.now() - before, 12s);
}

TEST(Rollout, AReplicaThatFallsWithinMinReadyHoldsTheRolloutUp) {
  spec::App web = port_app("web", 2);
  web.update.min_ready = Millis{5000};
  Host host(spec_of({web}));
  host.conduct = [](const Spawn& spawn) {
    Conduct conduct;
    if (spawn.revision == Revision{2}) conduct.exits_after = 3s;
    return conduct;
  };
  ASSERT_TRUE(host.until_ready("web", 2));
  host.load(spec_of({renewed(web)}));
  host.advance(5min);
  EXPECT_EQ(host.process("web", 1)->revision, Revision{1});
  EXPECT_EQ(host.ready("web"), 2);
}

TEST(Rollout, ReplacesOneByOneAndLosesNothing) {
  Host host(spec_of({port_app("web", 4)}, {listener("front", "web")}));
  host.conduct = [](const Spawn&) {
    Conduct conduct;
    conduct.healthy_after = 200ms;
    return conduct;
  };
  ASSERT_TRUE(host.until_ready("web", 4));
  const CommandId id = host.apply(spec_of({renewed(port_app("web", 4))}, {listener("front", "web")}));
  int fewest = 4;
  int most = 4;
  ASSERT_TRUE(host.advance_until([&] {
    fewest = std::min(fewest, host.ready("web"));
    most = std::max(most, host.running("web"));
    return host.answer(id).has_value();
  }));
  EXPECT_EQ(fewest, 4);
  EXPECT_LE(most, 6);  // one of surge, and one that is on its way out
  EXPECT_EQ(host.code(id), ExitCode::ok);
  EXPECT_EQ(host.slot("web", 3).tenants.front().revision, Revision{2});
}

TEST(Rollout, AnExclusiveAppGoesHighestFirstEachReadyBeforeTheNext) {
  Host host(spec_of({numbered_app("db", 3, 5440)}));
  host.conduct = [](const Spawn&) {
    Conduct conduct;
    conduct.healthy_after = 300ms;
    return conduct;
  };
  ASSERT_TRUE(host.until_ready("db", 3));
  host.load(spec_of({renewed(numbered_app("db", 3, 5440))}));
  int fewest = 3;
  ASSERT_TRUE(host.advance_until([&] {
    fewest = std::min(fewest, host.ready("db"));
    return host.spawns().size() == 6 && host.unfinished().empty();
  }));
  EXPECT_EQ(fewest, 2);
  EXPECT_EQ(host.start_order("db", 3), (std::vector{2, 1, 0}));
}

TEST(Rollout, PortsThatMoveDownGoLowestFirst) {
  Host host(spec_of({numbered_app("db", 3, 5440)}));
  ASSERT_TRUE(host.until_ready("db", 3));
  host.load(spec_of({numbered_app("db", 3, 5439)}));
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(host.start_order("db", 3), (std::vector{0, 1, 2}));
}

TEST(Rollout, TwoAppsMaySwapTheirPorts) {
  Host host(spec_of({numbered_app("a", 3, 5000), numbered_app("b", 2, 5010)}));
  ASSERT_TRUE(host.settle());
  host.load(spec_of({numbered_app("a", 3, 5009), numbered_app("b", 2, 5000)}));
  EXPECT_TRUE(host.settle());
}

TEST(Rollout, WhatIsNotReadyIsReplacedFirstAndAtOnce) {
  Host host(spec_of({port_app("web", 3)}));
  ASSERT_TRUE(host.until_ready("web", 3));
  host.process("web", 1)->healthy = false;
  ASSERT_TRUE(host.until_ready("web", 2));
  host.load(spec_of({renewed(port_app("web", 3))}));
  host.advance(0ms);
  EXPECT_EQ(host.start_order("web", 3), (std::vector{1}));
  EXPECT_EQ(host.ready("web"), 2);
}

TEST(Rollout, ANewRevisionEndsABackoffAtOnce) {
  Host host(spec_of({app("web")}));
  host.conduct = [](const Spawn& spawn) {
    Conduct conduct;
    if (spawn.revision == Revision{1}) conduct.exits_after = 1ms;
    return conduct;
  };
  host.advance(20s);
  EXPECT_EQ(host.phase("web", 0), Phase::backoff);
  host.load(spec_of({renewed(app("web"))}));
  host.advance(10ms);
  EXPECT_EQ(host.running("web"), 1);
  EXPECT_EQ(host.slot("web", 0).failures, 0);
}

TEST(Rollout, ANewRevisionEndsFailed) {
  spec::App task = app("task");
  task.restart.policy = spec::RestartPolicy::never;
  Host host(spec_of({task}));
  ASSERT_TRUE(host.until_ready("task", 1));
  host.end("task", 0, 1);
  EXPECT_EQ(host.phase("task", 0), Phase::failed);
  host.load(spec_of({renewed(task)}));
  host.advance(10ms);
  EXPECT_EQ(host.running("task"), 1);
}

TEST(Rollout, ABrokenRevisionLeavesTheOldOneInPlace) {
  Host host(spec_of({port_app("web", 4)}));
  host.conduct = [](const Spawn& spawn) {
    Conduct conduct;
    if (spawn.revision == Revision{2}) conduct.exits_after = 1ms;
    conduct.exit = ExitStatus{.code = 1, .signal = std::nullopt};
    conduct.healthy_after = 50ms;
    return conduct;
  };
  ASSERT_TRUE(host.until_ready("web", 4));
  const CommandId id = host.apply(spec_of({renewed(port_app("web", 4))}));
  host.advance(1min);
  EXPECT_EQ(host.ready("web"), 4);
  EXPECT_EQ(host.code(id), ExitCode::failed);
  EXPECT_EQ(host.answer(id)->message, "web/0: exited with status 1, 3 times in a row");
  EXPECT_EQ(host.state("web"), AppState::updating);
}

TEST(Rollout, ARevisionThatDiesOnceReadyBreaksNoMoreThanTheSurge) {
  Host host(spec_of({port_app("web", 4)}));
  host.conduct = [](const Spawn& spawn) {
    Conduct conduct;
    if (spawn.revision == Revision{2}) conduct.exits_after = 3ms;  // one after it was found ready
    return conduct;
  };
  ASSERT_TRUE(host.until_ready("web", 4));
  host.load(spec_of({renewed(port_app("web", 4))}));
  host.advance(30s);
  EXPECT_GE(host.ready("web"), 2);
}

TEST(Rollout, TheEndOfAnOldProcessCountsNothingAgainstTheNew) {
  Host host(spec_of({port_app("web", 4)}));
  host.conduct = [](const Spawn& spawn) {
    Conduct conduct;
    if (spawn.revision == Revision{2}) conduct.healthy_after = 10s;
    return conduct;
  };
  ASSERT_TRUE(host.until_ready("web", 4));
  host.load(spec_of({renewed(port_app("web", 4))}));
  host.advance(1s);
  host.kill("web", 3);
  host.advance(10ms);
  EXPECT_EQ(host.slot("web", 3).failures, 0);
  EXPECT_EQ(host.slot("web", 3).tenants.front().revision, Revision{2});
}

TEST(Rollout, TheSameTextChangesNothing) {
  Host host(spec_of({port_app("web", 2)}));
  ASSERT_TRUE(host.settle());
  const int pid = host.pid("web", 0);
  const CommandId id = host.apply(spec_of({port_app("web", 2)}));
  host.advance(1min);
  EXPECT_EQ(host.pid("web", 0), pid);
  EXPECT_EQ(host.answer(id)->message, "nothing changed");
  EXPECT_EQ(host.world().spec_revision, 1U);
}

TEST(Rollout, OtherKeysApplyLive) {
  Host host(spec_of({port_app("web", 2)}));
  ASSERT_TRUE(host.settle());
  const int pid = host.pid("web", 0);
  spec::App edited = port_app("web", 3);
  edited.stop.timeout = Millis{1};
  edited.restart.backoff = Millis{5};
  edited.health.every = Millis{500};
  host.load(spec_of({edited}));
  ASSERT_TRUE(host.until_ready("web", 3));
  EXPECT_EQ(host.pid("web", 0), pid);
  EXPECT_EQ(host.slot("web", 0).tenants.front().app->stop.timeout, Millis{1});
}

TEST(Rollout, RemovedAppsEndAndRenamedOnesStartAnew) {
  Host host(spec_of({port_app("web", 2)}));
  ASSERT_TRUE(host.settle());
  host.load(spec_of({port_app("site", 2)}));
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(host.running("web"), 0);
  EXPECT_FALSE(host.world().apps.contains("web"));
  EXPECT_EQ(host.running("site"), 2);
}

TEST(Rollout, ARejectedFileLeavesEverythingAsItIs) {
  Host host(spec_of({port_app("web", 2)}));
  ASSERT_TRUE(host.settle());
  host.send(SpecRejected{.error = "muster.toml:3:1: error: no", .listeners = {{"web", "a bad key"}}});
  host.advance(1min);
  EXPECT_EQ(host.running("web"), 2);
  EXPECT_EQ(host.world().spec_error, "muster.toml:3:1: error: no");
  EXPECT_EQ(host.world().listener_errors.at("web"), "a bad key");
  host.load(spec_of({port_app("web", 2)}));
  host.advance(1ms);
  EXPECT_EQ(host.world().spec_error, "");
  EXPECT_TRUE(host.world().listener_errors.empty());
}

TEST(Rollout, RevisionNumbersOutliveTheDaemon) {
  Host first(spec_of({app("web")}));
  ASSERT_TRUE(first.settle());
  first.load(spec_of({renewed(app("web"))}));
  ASSERT_TRUE(first.settle());
  Host same(spec_of({renewed(app("web"))}), RunMode::daemon, first.saved());
  same.advance(1ms);
  EXPECT_EQ(same.app("web").revision, Revision{2});
  Host other(spec_of({app("web")}), RunMode::daemon, first.saved());
  other.advance(1ms);
  EXPECT_EQ(other.app("web").revision, Revision{3});
}

TEST(Rollout, ChangedFilesRestartInTurn) {
  Host host(spec_of({port_app("web", 2)}));
  ASSERT_TRUE(host.settle());
  host.send(FilesChanged{"web", "app.py"});
  int fewest = 2;
  ASSERT_TRUE(host.advance_until([&] {
    fewest = std::min(fewest, host.ready("web"));
    return host.spawns().size() == 4 && host.unfinished().empty();
  }));
  EXPECT_EQ(fewest, 2);
}

}  // namespace
}  // namespace muster::sim
