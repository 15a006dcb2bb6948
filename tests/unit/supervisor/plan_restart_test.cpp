#include <array>

#include "unit/supervisor/host.h"

namespace muster::sim {
namespace {

std::shared_ptr<const spec::Spec> one(spec::App app) {
  return spec_of({std::move(app)});
}

TEST(Restart, BacksOffAfterTheFirstImmediateRestart) {
  Host host(one(app("api", 2)));
  ASSERT_TRUE(host.until_ready("api", 2));
  host.kill("api", 1);
  host.advance(10ms);
  EXPECT_EQ(host.running("api"), 2);  // the first restart is at once
  host.kill("api", 1);
  host.advance(900ms);
  EXPECT_EQ(host.running("api"), 1);
  EXPECT_EQ(host.phase("api", 1), Phase::backoff);
  host.advance(200ms);
  EXPECT_EQ(host.running("api"), 2);
}

// What the planner does at these instants, given the events by hand.
class ByHand {
 public:
  explicit ByHand(std::shared_ptr<const spec::Spec> spec) {
    give({}, SpecLoaded{.spec = std::move(spec), .command = std::nullopt});
  }
  void give(Nanos at, Event event) {
    const std::vector<Event> events{std::move(event)};
    step(at, events);
  }
  void step(Nanos at, std::span<const Event> events) {
    const Instant now = begin + at;
    for (const Action& action : planner.step(events, Now{.mono = now, .wall = WallTime{}})) {
      if (const auto* spawn = std::get_if<Spawn>(&action)) last = *spawn;
    }
  }
  // From the start of the last process on, to when nothing is left of it.
  void crash(Nanos reaped, Nanos told) {
    give(reaped, ProcessStarted{.instance = last.instance, .pid = 7, .ports = {}, .socket = {}});
    give(told,
         ProcessExited{
             .instance = last.instance, .status = {.code = 1, .signal = std::nullopt}, .at = begin + reaped});
    give(told, TreeGone{.instance = last.instance});
  }
  static constexpr Instant begin{std::chrono::hours{1}};
  Planner planner{PlannerOptions{}};
  Spawn last{};
};

TEST(Restart, IsPreparedBeforeItIsDueWhichCountsFromTheEnd) {
  spec::App crashing = app("api");
  crashing.restart.jitter = 0;
  ByHand host(one(crashing));
  host.crash(Nanos{1s}, Nanos{1s});
  EXPECT_EQ(host.last.instance, InstanceId{2}) << "the first time at once";
  EXPECT_FALSE(host.last.not_before);
  host.crash(Nanos{2s}, Nanos{2s + 300ms});
  EXPECT_EQ(host.last.instance, InstanceId{2});
  EXPECT_EQ(host.planner.next_wakeup(), ByHand::begin + 3s - start_lead);
  host.step(Nanos{3s} - start_lead, {});
  EXPECT_EQ(host.last.instance, InstanceId{3});
  EXPECT_EQ(host.last.not_before, ByHand::begin + 3s);
}

TEST(Restart, GapsOfACrashLoopDouble) {
  spec::App looping = app("api");
  looping.restart.jitter = 0.25;
  Host host(one(looping));
  host.conduct = [](const Spawn&) {
    Conduct conduct;
    conduct.exits_after = 1200ms;
    conduct.exit = ExitStatus{.code = 1, .signal = std::nullopt};
    return conduct;
  };
  host.advance(40s);
  ASSERT_GE(host.spawns().size(), 6U);
  const std::array<Nanos, 5> gaps{0s, 1s, 2s, 4s, 8s};
  for (std::size_t index = 0; index < gaps.size(); ++index) {
    const Nanos gap = host.spawns()[index + 1].first - host.spawns()[index].first - 1201ms;
    EXPECT_GE(gap, gaps[index]) << index;
    EXPECT_LE(gap, gaps[index] + gaps[index] / 4 + 1ms) << index;
  }
}

TEST(Restart, PauseHasACeilingAndZeroStaysZero) {
  spec::Restart restart;
  EXPECT_EQ(backoff_pause(restart, 1), 0ms);
  EXPECT_EQ(backoff_pause(restart, 2), 1s);
  EXPECT_EQ(backoff_pause(restart, 5), 8s);
  EXPECT_EQ(backoff_pause(restart, 1'000'000'000), 60s);
  restart.backoff = Millis{0};
  EXPECT_EQ(backoff_pause(restart, 1'000'000'000), 0ms);
}

TEST(Restart, UnbrokenReadinessClearsTheBackoff) {
  Host host(one(app("api")));
  ASSERT_TRUE(host.until_ready("api", 1));
  host.kill("api", 0);
  host.advance(9min);
  EXPECT_EQ(host.slot("api", 0).failures, 1);
  host.advance(2min);
  EXPECT_EQ(host.slot("api", 0).failures, 0);
}

TEST(Restart, AFailedExecCountsLikeAnExit) {
  Host host(one(app("api")));
  host.conduct = [](const Spawn&) {
    Conduct conduct;
    conduct.fails = StartFault::no_program;
    return conduct;
  };
  host.advance(500ms);
  EXPECT_EQ(host.spawns().size(), 2U);
  EXPECT_EQ(host.slot("api", 0).failures, 2);
  EXPECT_EQ(host.slot("api", 0).reason, "exec ./app: No such file or directory");
}

TEST(Restart, ABusyPortCountsNothingAndIsTriedEachSecond) {
  Host host(one(numbered_app("db", 1, 5440)));
  host.strangers = {5440};
  host.advance(3500ms);
  EXPECT_EQ(host.slot("db", 0).failures, 0);
  EXPECT_EQ(host.phase("db", 0), Phase::backoff);
  EXPECT_EQ(host.slot("db", 0).reason, "port 5440 is held by pid 812 (redis-server)");
  EXPECT_EQ(host.spawns().size(), 4U);
  EXPECT_EQ(host.notes("port-busy").size(), 1U);  // said once
  host.strangers.clear();
  EXPECT_TRUE(host.until_ready("db", 1));
  EXPECT_EQ(host.slot("db", 0).starts, 1);
}

TEST(Restart, ABusyVolumeCountsNothingAndIsTriedEachSecond) {
  Host host(one(app("db")));
  host.conduct = [](const Spawn&) {
    Conduct conduct;
    conduct.fails = StartFault::volume_busy;
    return conduct;
  };
  host.advance(3500ms);
  EXPECT_EQ(host.slot("db", 0).failures, 0);
  EXPECT_EQ(host.phase("db", 0), Phase::backoff);
  EXPECT_FALSE(host.slot("db", 0).port_busy);
  EXPECT_EQ(host.spawns().size(), 4U);
  EXPECT_EQ(host.notes("volume-busy").size(), 1U);  // said once
  host.conduct = [](const Spawn&) { return Conduct{}; };
  EXPECT_TRUE(host.until_ready("db", 1));
  EXPECT_EQ(host.slot("db", 0).starts, 1);
}

TEST(Restart, OurOwnShortageIsTriedWithGrowingPauses) {
  Host host(one(app("api")));
  host.conduct = [](const Spawn&) {
    Conduct conduct;
    conduct.fails = StartFault::no_processes;
    return conduct;
  };
  host.advance(8s);
  EXPECT_EQ(host.slot("api", 0).failures, 0);
  EXPECT_EQ(host.spawns().size(), 4U);  // after 0, 1, 2, 4 s
}

TEST(Restart, PolicyNeverEndsAsFailedOrCompleted) {
  spec::App task = app("task", 2);
  task.restart.policy = spec::RestartPolicy::never;
  Host host(one(task));
  ASSERT_TRUE(host.until_ready("task", 2));
  host.end("task", 0, 0);
  host.end("task", 1, 3);
  host.advance(1min);
  EXPECT_EQ(host.phase("task", 0), Phase::completed);
  EXPECT_EQ(host.phase("task", 1), Phase::failed);
  EXPECT_EQ(host.state("task"), AppState::failed);
  EXPECT_EQ(host.spawns().size(), 2U);
}

TEST(Restart, OnFailureRestartsFailuresOnly) {
  spec::App task = app("task");
  task.restart.policy = spec::RestartPolicy::on_failure;
  task.restart.ok_codes = {0, 7};
  Host host(one(task));
  ASSERT_TRUE(host.until_ready("task", 1));
  host.end("task", 0, 1);
  ASSERT_TRUE(host.until_ready("task", 1));
  EXPECT_EQ(host.spawns().size(), 2U);
  host.end("task", 0, 7);
  host.advance(1min);
  EXPECT_EQ(host.phase("task", 0), Phase::completed);
}

TEST(Restart, AlwaysCountsACleanExitToo) {
  Host host(one(app("api")));
  ASSERT_TRUE(host.until_ready("api", 1));
  host.end("api", 0, 0);
  EXPECT_EQ(host.slot("api", 0).failures, 1);
}

TEST(Restart, MaxRestartsWithinTheWindowFails) {
  spec::App api = app("api");
  api.restart.backoff = Millis{0};
  api.restart.max_restarts = spec::RestartLimit{.count = 3, .window = Millis{60000}};
  Host host(one(api));
  for (int restart = 0; restart < 3; ++restart) {
    ASSERT_TRUE(host.until_ready("api", 1));
    host.kill("api", 0);
    host.advance(10ms);
    EXPECT_EQ(host.running("api"), 1) << restart;
  }
  host.kill("api", 0);
  host.advance(5min);
  EXPECT_EQ(host.phase("api", 0), Phase::failed);
}

TEST(Restart, MaxRestartsForgetsWhatIsOutsideTheWindow) {
  spec::App api = app("api");
  api.restart.backoff = Millis{0};
  api.restart.max_restarts = spec::RestartLimit{.count = 1, .window = Millis{10000}};
  Host host(one(api));
  for (int restart = 0; restart < 4; ++restart) {
    host.advance(11s);
    host.kill("api", 0);
  }
  EXPECT_TRUE(host.until_ready("api", 1));
}

TEST(Restart, WaitsUntilTheWholeTreeIsGone) {
  Host host(one(app("api")));
  host.conduct = [](const Spawn&) {
    Conduct conduct;
    conduct.tree_outlives = true;
    conduct.kill_takes = 3s;
    return conduct;
  };
  ASSERT_TRUE(host.until_ready("api", 1));
  host.kill("api", 0);
  host.advance(2900ms);
  EXPECT_EQ(host.spawns().size(), 1U);
  host.advance(200ms);
  EXPECT_EQ(host.spawns().size(), 2U);
}

TEST(Restart, KillsATreeAgainThatSurvives) {
  Host host(one(app("api")));
  host.conduct = [](const Spawn&) {
    Conduct conduct;
    conduct.tree_outlives = true;
    conduct.kills_needed = 3;
    return conduct;
  };
  ASSERT_TRUE(host.until_ready("api", 1));
  host.kill("api", 0);
  host.advance(1100ms);
  EXPECT_EQ(host.count<KillTree>(), 3);
}

TEST(Restart, ACrashLoopTouchesNoOtherApp) {
  Host host(spec_of({app("bad"), port_app("good", 2)}));
  host.conduct = [](const Spawn& spawn) {
    Conduct conduct;
    if (spawn.replica.app == "bad") conduct.exits_after = 10ms;
    return conduct;
  };
  ASSERT_TRUE(host.until_ready("good", 2));
  const int pid = host.pid("good", 0);
  host.advance(2min);
  EXPECT_EQ(host.ready("good"), 2);
  EXPECT_EQ(host.pid("good", 0), pid);
}

TEST(Restart, BackoffOutlivesTheDaemon) {
  Host first(one(app("api")));
  ASSERT_TRUE(first.until_ready("api", 1));
  first.kill("api", 0);
  first.advance(10ms);
  first.kill("api", 0);
  Host second(one(app("api")), RunMode::daemon, first.saved());
  second.advance(10ms);
  EXPECT_EQ(second.slot("api", 0).failures, 2);
}

}  // namespace
}  // namespace muster::sim
