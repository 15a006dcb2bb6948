#include "unit/supervisor/host.h"

namespace muster::sim {
namespace {

spec::App live_app(int replicas) {
  spec::App result = port_app("web", replicas);
  result.live = spec::HealthCheck{};
  result.live->tcp = true;
  result.live->every = Millis{1000};
  return result;
}

TEST(Health, WithoutACheckOneSecondOfLifeIsReady) {
  Host host(spec_of({app("web")}));
  host.advance(990ms);
  EXPECT_EQ(host.phase("web", 0), Phase::starting);
  EXPECT_EQ(host.slot("web", 0).tenants.front().reason, "counts as ready once it has run for 1.0 s");
  host.advance(20ms);
  EXPECT_EQ(host.phase("web", 0), Phase::ready);
}

TEST(Health, NoneIsReadyAsSoonAsItRuns) {
  spec::App web = app("web");
  web.health.always = true;
  Host host(spec_of({web}));
  host.advance(1ms);
  EXPECT_EQ(host.phase("web", 0), Phase::ready);
}

TEST(Health, AllThatIsGivenMustHold) {
  spec::App web = port_app("web");
  web.health.notify = true;
  web.health.log = "listening";
  Host host(spec_of({web}));
  host.conduct = [](const Spawn&) {
    Conduct conduct;
    conduct.never_healthy = true;
    return conduct;
  };
  host.advance(10ms);
  Process* process = host.process("web", 0);
  process->healthy = true;
  host.advance(100ms);
  EXPECT_EQ(host.slot("web", 0).tenants.front().reason, "waits for READY=1 from the app");
  Notified notified{};
  notified.instance = process->id;
  notified.ready = true;
  host.send(notified);
  host.advance(0ms);
  EXPECT_EQ(host.slot("web", 0).tenants.front().reason, "waits for a line of output that matches listening");
  host.send(LogMatched{.instance = process->id});
  host.advance(0ms);
  EXPECT_EQ(host.phase("web", 0), Phase::ready);
}

TEST(Health, NotReadyInTimeIsShownAndNeverAKill) {
  spec::App web = port_app("web");
  web.health.start = Millis{5000};
  Host host(spec_of({web}));
  host.conduct = [](const Spawn&) {
    Conduct conduct;
    conduct.healthy_after = 20s;
    return conduct;
  };
  const CommandId id = host.restart({"web", std::nullopt});
  host.advance(0ms);
  host.advance(6s);
  EXPECT_EQ(host.phase("web", 0), Phase::unready);
  EXPECT_EQ(host.slot("web", 0).tenants.front().reason, "connection refused");
  EXPECT_TRUE(host.answer(id).has_value());
  EXPECT_TRUE(host.until_ready("web", 1));
  EXPECT_EQ(host.spawns().size(), 1U);
}

TEST(Health, AFallenLivenessRestarts) {
  Host host(spec_of({live_app(1)}));
  ASSERT_TRUE(host.until_ready("web", 1));
  host.process("web", 0)->alive = false;
  host.advance(3500ms);
  EXPECT_EQ(host.spawns().size(), 2U);
  EXPECT_EQ(host.slot("web", 0).failures, 1);  // counts for the backoff
  EXPECT_EQ(host.slot("web", 0).last_exit->reason, "not alive: connection refused; killed by SIGTERM");
}

TEST(Health, LivenessTakesOnlyAFewAtOnce) {
  Host host(spec_of({live_app(8)}));  // 25 % of 8 = 2
  host.conduct = [](const Spawn&) {
    Conduct conduct;
    conduct.healthy_after = 30s;
    return conduct;
  };
  ASSERT_TRUE(host.until_ready("web", 8));
  for (Process* process : host.processes("web")) process->alive = false;
  host.advance(10s);
  EXPECT_EQ(host.spawns().size(), 10U);
  EXPECT_EQ(host.ready("web"), 6);
}

TEST(Health, AMissedWatchdogKillsOnceNoWorkerPicksIt) {
  spec::App web = port_app("web");
  web.watchdog = Millis{2000};
  Host host(spec_of({web}, {listener("front", "web")}));
  host.conduct = [](const Spawn&) {
    Conduct conduct;
    conduct.in_flight.reset();
    conduct.ignores_signal = true;
    return conduct;
  };
  ASSERT_TRUE(host.until_ready("web", 1));
  host.advance(1min);
  EXPECT_EQ(host.spawns().size(), 1U);
  host.process("web", 0)->hung = true;
  host.advance(3s);
  EXPECT_EQ(host.spawns().size(), 2U);
  EXPECT_EQ(host.count<Signal>(), 0);  // neither drained nor asked: it hangs
  EXPECT_EQ(host.slot("web", 0).last_exit->reason, "no watchdog ping within 2.0 s; killed by SIGKILL");
}

// A container that was frozen: neither muster nor its replica has had a moment.
TEST(Health, AMissWhileMusterStoodStillIsNone) {
  spec::App web = port_app("web");
  web.watchdog = Millis{2000};
  Host host(spec_of({web}));
  ASSERT_TRUE(host.until_ready("web", 1));
  host.process("web", 0)->hung = true;
  host.stall(1min);
  host.advance(1s);
  host.process("web", 0)->hung = false;
  host.advance(10s);
  EXPECT_EQ(host.spawns().size(), 1U);
  host.process("web", 0)->hung = true;
  host.advance(3s);
  EXPECT_EQ(host.spawns().size(), 2U);
}

TEST(Health, AShorterWatchdogByEditDoesNotKillWhoKnowsTheOldOne) {
  spec::App web = port_app("web");
  web.watchdog = Millis{20000};
  Host host(spec_of({web}));
  ASSERT_TRUE(host.until_ready("web", 1));
  web.watchdog = Millis{1000};
  host.load(spec_of({web}));
  host.advance(5min);
  EXPECT_EQ(host.spawns().size(), 1U);
}

TEST(Health, StoppingByNotifyTakesNoNewTraffic) {
  Host host(spec_of({port_app("web", 2)}, {listener("front", "web")}));
  ASSERT_TRUE(host.settle());
  Notified notified{};
  notified.instance = host.process("web", 0)->id;
  notified.stopping = true;
  host.send(notified);
  host.advance(1ms);
  EXPECT_EQ(host.routed("web").size(), 1U);
  EXPECT_EQ(host.slot("web", 0).tenants.front().reason, "the app says that it is stopping");
}

TEST(Health, ANewCheckAppliesLive) {
  Host host(spec_of({port_app("web")}));
  ASSERT_TRUE(host.settle());
  spec::App edited = port_app("web");
  edited.health.tcp = false;
  edited.health.notify = true;  // the running process was never asked for it: it is believed
  host.load(spec_of({edited}));
  host.advance(1min);
  EXPECT_EQ(host.phase("web", 0), Phase::ready);
  EXPECT_EQ(host.spawns().size(), 1U);
}

TEST(Health, AFrozenProcessGetsNoTrafficUntilItIsContinued) {
  Host host(spec_of({port_app("web", 2)}, {listener("front", "web")}));
  ASSERT_TRUE(host.settle());
  const InstanceId id = host.process("web", 1)->id;
  host.send(ProcessFrozen{.instance = id, .signal = SIGSTOP});
  host.advance(1ms);
  EXPECT_EQ(host.routed("web").size(), 1U);
  EXPECT_EQ(host.phase("web", 1), Phase::unready);
  EXPECT_EQ(host.slot("web", 1).tenants.front().reason,
            "stopped by SIGSTOP: it answers nothing until SIGCONT");
  host.advance(1min);  // nothing is done about it unasked
  EXPECT_EQ(host.spawns().size(), 2U);
  EXPECT_EQ(host.notes("frozen").size(), 1U);
  host.send(ProcessThawed{.instance = id});
  host.advance(1ms);
  EXPECT_EQ(host.phase("web", 1), Phase::ready);
  EXPECT_EQ(host.routed("web").size(), 2U);
}

TEST(Health, AFrozenProcessIsContinuedForItsEnd) {
  Host host(spec_of({port_app("web", 1)}));
  ASSERT_TRUE(host.settle());
  const InstanceId id = host.process("web", 0)->id;
  host.send(ProcessFrozen{.instance = id, .signal = SIGSTOP});
  host.advance(1ms);
  host.restart({"web", 0});
  ASSERT_TRUE(host.settle());
  std::vector<int> signals;
  for (const Action& action : host.log()) {
    if (const auto* sent = std::get_if<Signal>(&action); sent != nullptr && sent->instance == id)
      signals.push_back(sent->signal);
  }
  EXPECT_EQ(signals, (std::vector<int>{SIGTERM, SIGCONT}));
}

TEST(Health, OneThatIsFrozenInItsFirstSecondWaits) {
  Host host(spec_of({app("web")}));
  host.advance(100ms);
  const InstanceId id = host.process("web", 0)->id;
  host.send(ProcessFrozen{.instance = id, .signal = SIGTSTP});
  const std::uint64_t steps = host.steps();
  host.advance(10s);
  EXPECT_EQ(host.phase("web", 0), Phase::starting);
  EXPECT_LT(host.steps() - steps, 20U);
  host.send(ProcessThawed{.instance = id});
  host.advance(1ms);
  EXPECT_EQ(host.phase("web", 0), Phase::ready);
}

}  // namespace
}  // namespace muster::sim
