#include <algorithm>

#include "unit/supervisor/host.h"

namespace muster::sim {
namespace {

TEST(Commands, StopEndsWhenNothingIsLeftAndStartBringsItBack) {
  Host host(spec_of({port_app("web", 2)}));
  ASSERT_TRUE(host.settle());
  const CommandId stopped = host.stop({"web", std::nullopt});
  ASSERT_TRUE(host.advance_until([&] { return host.answer(stopped).has_value(); }));
  EXPECT_EQ(host.code(stopped), ExitCode::ok);
  EXPECT_EQ(host.running("web"), 0);
  EXPECT_EQ(host.state("web"), AppState::stopped);
  EXPECT_EQ(hold_text(host.app("web")), "stopped by hand");
  const CommandId started = host.start({"web", std::nullopt});
  ASSERT_TRUE(host.advance_until([&] { return host.answer(started).has_value(); }));
  EXPECT_EQ(host.ready("web"), 2);
  EXPECT_EQ(hold_text(host.app("web")), "");
}

TEST(Commands, StopOfOneReplicaLeavesTheOthers) {
  Host host(spec_of({port_app("web", 3)}));
  ASSERT_TRUE(host.settle());
  static_cast<void>(host.stop({"web", 1}));
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(host.running("web"), 2);
  EXPECT_EQ(host.phase("web", 1), Phase::stopped);
}

TEST(Commands, StartOfOneReplicaOfAHeldAppKeepsTheOthersHeld) {
  Host host(spec_of({port_app("web", 3)}));
  static_cast<void>(host.stop({"web", std::nullopt}));
  ASSERT_TRUE(host.settle());
  static_cast<void>(host.start({"web", 1}));
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(host.running("web"), 1);
  EXPECT_NE(host.process("web", 1), nullptr);
}

TEST(Commands, AHoldOutlivesReloadAndDaemonButNotUp) {
  Host host(spec_of({port_app("web", 2)}));
  static_cast<void>(host.stop({"web", std::nullopt}));
  ASSERT_TRUE(host.settle());
  spec::App edited = port_app("web", 2);
  set_run(edited, "./new");
  host.load(spec_of({edited}));
  host.advance(10s);
  EXPECT_EQ(host.running("web"), 0);
  Host daemon(spec_of({edited}), RunMode::daemon, host.saved());
  daemon.advance(10s);
  EXPECT_EQ(daemon.running("web"), 0);
  Host up(spec_of({edited}), RunMode::up, host.saved());
  EXPECT_TRUE(up.until_ready("web", 2));
}

TEST(Commands, ScaleIsAHoldUntilTheFileSaysOtherwise) {
  Host host(spec_of({port_app("web", 4)}));
  ASSERT_TRUE(host.settle());
  const CommandId id = host.scale("web", 6);
  ASSERT_TRUE(host.until_ready("web", 6));
  host.advance(1s);
  EXPECT_EQ(host.answer(id)->message, "scaled to 6");
  EXPECT_EQ(hold_text(host.app("web")), "scaled to 6 by hand, the file says 4");
  spec::App other = port_app("web", 4);
  other.stop.timeout = Millis{1};
  host.load(spec_of({other}));  // another key: the hold stays
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(host.ready("web"), 6);
  host.load(spec_of({port_app("web", 3)}));
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(host.running("web"), 3);
}

TEST(Commands, ScaleToFileEndsTheHold) {
  Host host(spec_of({port_app("web", 2)}));
  static_cast<void>(host.scale("web", 1));
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(host.running("web"), 1);
  static_cast<void>(host.scale("web", std::nullopt));
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(host.running("web"), 2);
}

TEST(Commands, ScaleDownTakesTheHighestOrdinals) {
  Host host(spec_of({port_app("web", 4)}));
  ASSERT_TRUE(host.settle());
  const int pid = host.pid("web", 0);
  static_cast<void>(host.scale("web", 1));
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(host.pid("web", 0), pid);
}

TEST(Commands, ScaleKnowsItsLimits) {
  Host host(spec_of({app("web")}));
  const CommandId id = host.scale("web", 1001);
  host.advance(1ms);
  EXPECT_EQ(host.code(id), ExitCode::usage);
}

TEST(Commands, RestartRollsAndNowDoesNot) {
  for (const bool at_once : {false, true}) {
    Host host(spec_of({port_app("web", 4)}));
    host.conduct = [](const Spawn&) {
      Conduct conduct;
      conduct.healthy_after = 100ms;
      return conduct;
    };
    ASSERT_TRUE(host.settle());
    const CommandId id = host.restart({"web", std::nullopt}, at_once);
    int fewest = 4;
    ASSERT_TRUE(host.advance_until([&] {
      fewest = std::min(fewest, host.ready("web"));
      return host.answer(id).has_value();
    }));
    EXPECT_EQ(fewest, at_once ? 0 : 4);
    EXPECT_EQ(host.spawns().size(), 8U);
    EXPECT_EQ(host.slot("web", 0).tenants.front().revision, Revision{1});
  }
}

TEST(Commands, RestartOfOneReplicaTouchesOnlyIt) {
  Host host(spec_of({numbered_app("db", 3, 5440)}));
  ASSERT_TRUE(host.settle());
  const CommandId id = host.restart({"db", 1});
  ASSERT_TRUE(host.advance_until([&] { return host.answer(id).has_value(); }));
  EXPECT_EQ(host.start_order("db", 3), (std::vector{1}));
}

TEST(Commands, RestartEndsABackoff) {
  Host host(spec_of({app("web")}));
  host.conduct = [](const Spawn&) {
    Conduct conduct;
    conduct.exits_after = 1ms;
    return conduct;
  };
  host.advance(20s);
  ASSERT_EQ(host.phase("web", 0), Phase::backoff);
  const auto before = host.spawns().size();
  static_cast<void>(host.restart({"web", std::nullopt}));
  host.advance(0ms);
  EXPECT_EQ(host.spawns().size(), before + 1);
}

TEST(Commands, AWaitEndsWhenTheAppCannotBeStarted) {
  Host host(spec_of({app("web")}));
  host.conduct = [](const Spawn&) {
    Conduct conduct;
    conduct.fails = StartFault::no_program;
    return conduct;
  };
  const CommandId id = host.restart({"web", std::nullopt});
  host.advance(0ms);
  const CommandId again = host.start({"web", std::nullopt});
  host.advance(10s);
  EXPECT_EQ(host.code(again), ExitCode::failed);
  EXPECT_THAT(host.answer(again)->message, testing::HasSubstr("No such file or directory, 3 times in a row"));
  EXPECT_TRUE(host.answer(id).has_value());
}

TEST(Commands, AWaitForOneReplicaDoesNotDependOnTheOthers) {
  Host host(spec_of({app("web", 2)}));
  host.conduct = [](const Spawn& spawn) {
    Conduct conduct;
    if (spawn.replica.ordinal == 0) conduct.exits_after = 1ms;
    return conduct;
  };
  host.advance(5s);
  const CommandId id = host.stop({"web", 1});
  host.advance(100ms);
  EXPECT_EQ(host.code(id), ExitCode::ok);
}

TEST(Commands, UnknownAppsAndOrdinalsAreNamed) {
  Host host(spec_of({app("db", 0), app("web", 2)}));
  ASSERT_TRUE(host.settle());
  const CommandId app = host.stop({"wbe", std::nullopt});
  const CommandId ordinal = host.stop({"web", 2});
  const CommandId none = host.stop({"db", 0});
  host.advance(0ms);
  EXPECT_EQ(host.answer(app)->message, "no app 'wbe'; there are: db, web");
  EXPECT_EQ(host.answer(ordinal)->message, "no replica web/2: web has 2 replicas, from 0 to 1");
  EXPECT_EQ(host.answer(none)->message, "no replica db/0: db has none now");
}

TEST(Commands, AHandWithoutAClientGoesOn) {
  Host host(spec_of({app("web")}));
  ASSERT_TRUE(host.settle());
  const CommandId id = host.stop({"web", std::nullopt});
  host.abandon(id);
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(host.running("web"), 0);
  EXPECT_FALSE(host.answer(id).has_value());
}

TEST(Commands, ARestoredHoldOfAnOrdinalBeyondTheFileIsForgotten) {
  PersistentState saved;
  saved.apps["web"].drained_ordinals = {5};
  saved.apps["web"].failures = {{7, 3}};
  Host host(spec_of({port_app("web", 2)}), RunMode::daemon, saved);
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(host.spawns().size(), 2U);
  EXPECT_EQ(host.app("web").slots.size(), 2U);
}

}  // namespace
}  // namespace muster::sim
