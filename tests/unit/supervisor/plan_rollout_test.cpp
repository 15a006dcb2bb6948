#include <algorithm>

#include "unit/supervisor/host.h"

namespace muster::sim {
namespace {

spec::App renewed(spec::App app) {
  set_run(app, "./new");
  return app;
}

TEST(Rollout, BoundsAreThoseOfKubernetes) {
  EXPECT_EQ(rollout_bounds(4, false).surge, 1);
  EXPECT_EQ(rollout_bounds(4, false).unavailable, 1);
  EXPECT_EQ(rollout_bounds(5, false).surge, 2);
  EXPECT_EQ(rollout_bounds(1, false).unavailable, 0);
  EXPECT_EQ(rollout_bounds(3, true).surge, 0);
  EXPECT_EQ(rollout_bounds(3, true).unavailable, 1);
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
    if (spawn.revision == Revision{2}) conduct.exits_after = 8ms;
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
