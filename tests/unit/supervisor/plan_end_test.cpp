#include "unit/supervisor/host.h"

namespace muster::sim {
namespace {

spec::App task(const std::string& name) {
  spec::App result = app(name);
  result.restart.policy = spec::RestartPolicy::never;
  return result;
}

TEST(End, UpEndsWhenEveryAppIsCompletedOrFailed) {
  for (const int code : {0, 1}) {
    Host host(spec_of({task("one"), task("two"), app("none", 0)}), RunMode::up);
    ASSERT_TRUE(host.until_ready("two", 1));
    host.end("one", 0, 0);
    EXPECT_FALSE(host.ended());
    host.end("two", 0, code);
    ASSERT_TRUE(host.ended());
    EXPECT_EQ(host.ended()->code, code);
  }
}

TEST(End, TheDaemonStaysWhenEverythingIsCompleted) {
  Host host(spec_of({task("one")}));
  ASSERT_TRUE(host.until_ready("one", 1));
  host.end("one", 0, 0);
  host.advance(1h);
  EXPECT_FALSE(host.ended());
}

TEST(End, UpStaysWithAHeldAppAndWithAnEmptySpec) {
  Host held(spec_of({task("one")}), RunMode::up);
  static_cast<void>(held.stop({"one", std::nullopt}));
  held.advance(1h);
  EXPECT_FALSE(held.ended());
  Host empty(spec_of({}), RunMode::up);
  empty.advance(1h);
  EXPECT_FALSE(empty.ended());
}

TEST(End, StubbornProcessesAreKilledAfterTheTimeout) {
  Host host(spec_of({app("web")}));
  host.conduct = [](const Spawn&) {
    Conduct conduct;
    conduct.ignores_signal = true;
    return conduct;
  };
  ASSERT_TRUE(host.settle());
  host.shutdown();
  host.advance(9900ms);
  EXPECT_EQ(host.count<KillTree>(), 0);
  host.advance(200ms);
  EXPECT_EQ(host.count<KillTree>(), 1);
  EXPECT_TRUE(host.ended());
}

TEST(End, TheSecondRequestKillsAtOnce) {
  spec::App web = port_app("web", 2);
  set_after(web, "db");
  Host host(spec_of({web, app("db")}, {listener("front", "web")}));
  host.conduct = [](const Spawn&) {
    Conduct conduct;
    conduct.ignores_signal = true;
    conduct.in_flight.reset();
    return conduct;
  };
  ASSERT_TRUE(host.settle());
  host.shutdown();
  host.advance(100ms);
  host.shutdown();
  host.advance(10ms);
  EXPECT_TRUE(host.ended());
}

TEST(End, AProcessThatIsJustBeingSpawnedIsStoppedToo) {
  for (const bool at_once : {false, true}) {
    Host host(spec_of({app("web")}));
    host.conduct = [](const Spawn&) {
      Conduct conduct;
      conduct.start_takes = 1s;
      return conduct;
    };
    host.advance(100ms);
    host.shutdown(at_once);
    host.advance(800ms);
    EXPECT_EQ(host.ended().has_value(), at_once);  // killed before it became the app
    host.advance(1s);
    EXPECT_TRUE(host.ended());
    EXPECT_EQ(host.count<Signal>(), at_once ? 0 : 1);
  }
}

// A user database or a folder on a dead file system: nobody knows when the start goes on.
TEST(End, AStartThatHangsIsKilledAfterTheTimeOfItsStop) {
  Host host(spec_of({app("web")}));
  host.conduct = [](const Spawn&) {
    Conduct conduct;
    conduct.start_takes = 1h;
    return conduct;
  };
  host.advance(100ms);
  host.shutdown();
  host.advance(9s);
  EXPECT_FALSE(host.ended());
  host.advance(2s);
  EXPECT_TRUE(host.ended());
}

TEST(End, AStartThatHangsIsTriedAgain) {
  Host host(spec_of({app("web")}));
  host.conduct = [&host](const Spawn&) {
    Conduct conduct;
    if (host.count<Spawn>() <= 1) conduct.start_takes = 1h;
    return conduct;
  };
  host.advance(59s);
  EXPECT_EQ(host.count<Spawn>(), 1);
  EXPECT_EQ(host.running("web"), 0);
  host.advance(10s);
  EXPECT_EQ(host.count<Spawn>(), 2);
  EXPECT_EQ(host.running("web"), 1);
  EXPECT_EQ(host.count<KillTree>(), 1);
}

TEST(End, WaitingCommandsAreAnswered) {
  Host host(spec_of({port_app("web")}));
  host.conduct = [](const Spawn&) {
    Conduct conduct;
    conduct.never_healthy = true;
    return conduct;
  };
  const CommandId waiting = host.apply(spec_of({port_app("web", 2)}));
  host.advance(1s);
  EXPECT_FALSE(host.answer(waiting).has_value());
  host.shutdown();
  const CommandId late = host.apply(spec_of({}));
  host.advance(1ms);
  EXPECT_EQ(host.answer(waiting)->message, "the daemon is stopping");
  EXPECT_EQ(host.code(late), ExitCode::failed);
}

TEST(End, TheStopCommandComesBeforeTheSignal) {
  spec::App web = app("web");
  web.stop.exec = {spec::Template("./stop")};
  web.stop.timeout = Millis{3000};
  Host host(spec_of({web}));
  host.conduct = [](const Spawn&) {
    Conduct conduct;
    conduct.stop_command_takes = 2s;
    return conduct;
  };
  ASSERT_TRUE(host.settle());
  static_cast<void>(host.stop({"web", std::nullopt}));
  host.advance(1900ms);
  EXPECT_EQ(host.count<RunStopCommand>(), 1);
  EXPECT_EQ(host.count<Signal>(), 0);
  host.advance(200ms);
  EXPECT_EQ(host.count<Signal>(), 1);
}

TEST(End, NothingStartsDuringTheEnd) {
  spec::App web = app("web");
  set_after(web, "db");
  Host host(spec_of({web, app("db", 2)}));
  host.conduct = [](const Spawn&) {
    Conduct conduct;
    conduct.signal_takes = 5s;
    return conduct;
  };
  ASSERT_TRUE(host.settle());
  host.shutdown();
  host.advance(1s);
  host.kill("db", 0);
  host.advance(1s);
  EXPECT_EQ(host.running("db"), 1);
  EXPECT_EQ(host.spawns().size(), 3U);
}

TEST(End, AThousandReplicasSettle) {
  Host host(spec_of({port_app("web", 1000)}, {listener("front", "web")}));
  ASSERT_TRUE(host.until_ready("web", 1000));
  EXPECT_LT(host.steps(), 200U);  // what happens together is decided together
}

}  // namespace
}  // namespace muster::sim
