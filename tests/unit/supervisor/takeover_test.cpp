// What living processes say about the revisions that are in force.
#include "supervisor/takeover.h"
#include "gtest/gtest.h"
#include "sim/spec_builder.h"
#include "spec/load.h"
#include "supervisor/planner.h"

namespace muster::supervisor {
namespace {

LivingProcess living(std::uint32_t revision, const std::string& program = "./web") {
  auto app = std::make_shared<spec::App>();
  app->name = "web";
  app->run = {spec::Template(program)};
  LivingProcess process;
  process.instance = InstanceId{revision};
  process.replica = {"web", 0};
  process.revision = Revision{revision};
  process.app = app;
  process.started = WallTime{} + Millis{17};
  process.mark = {.started = true, .was_ready = true, .fit = true};
  return process;
}

PersistentState knows(std::uint32_t revision) {
  PersistentState state;
  PersistentApp& web = state.apps["web"];
  web.revision = web.file_revision = revision;
  web.revision_hash = 1;
  return state;
}

TEST(Takeover, WhatRunsIsInForceWhereTheStateIsLost) {
  const LivingProcess process = living(7);
  const PersistentApp web = with_living({}, {process}).apps.at("web");
  EXPECT_EQ(web.revision, 7U);
  EXPECT_EQ(web.file_revision, 7U);
  EXPECT_EQ(web.revision_hash, fingerprint(spec::revision_text(*process.app)));
  ASSERT_EQ(web.history.size(), 1U);
  EXPECT_EQ(web.history[0].number, Revision{7});
  EXPECT_TRUE(web.history[0].was_ready);
  EXPECT_EQ(web.history[0].since, process.started);
}

TEST(Takeover, TheNewestProcessWinsOverAnOlderState) {
  const PersistentApp web = with_living(knows(6), {living(6), living(8, "./new"), living(7)}).apps.at("web");
  EXPECT_EQ(web.revision, 8U);
  EXPECT_EQ(web.history.size(), 3U);
}

TEST(Takeover, AnOlderProcessChangesNoNewerState) {
  PersistentState state = knows(9);
  state.apps["web"].undone = true;
  const PersistentApp web = with_living(state, {living(8)}).apps.at("web");
  EXPECT_EQ(web.revision, 9U);
  EXPECT_EQ(web.revision_hash, 1U);
  EXPECT_TRUE(web.undone);
  EXPECT_EQ(web.history.size(), 1U);  // it is known
}

TEST(Takeover, ARevisionThatRunsWasAdmitted) {
  PersistentState state = knows(7);
  state.apps["web"].history.push_back(
      {.number = Revision{7}, .app = living(7).app, .since = {}, .was_ready = false, .admitted = false});
  EXPECT_TRUE(with_living(state, {living(7)}).apps.at("web").history[0].admitted);
}

TEST(Takeover, WhatIsOnItsWayOutOrOfAJobSaysNothing) {
  LivingProcess stopping = living(8);
  stopping.mark.stopping = true;
  LivingProcess unborn = living(9);
  unborn.mark.started = false;
  LivingProcess run = living(10);
  run.run = RunMemo{.why = "by hand"};
  const PersistentState after = with_living(knows(7), {stopping, unborn, run});
  EXPECT_EQ(after.apps.at("web").revision, 7U);
  EXPECT_TRUE(after.apps.at("web").history.empty());
  EXPECT_TRUE(with_living({}, {stopping, unborn, run}).apps.empty());
}

// What a planner does that finds this process, and a state from before it was started.
class Successor {
 public:
  Successor(spec::RestartPolicy policy, std::optional<ExitStatus> exit) {
    spec::App app = sim::app("web");
    app.restart.policy = policy;
    const auto spec = sim::spec_of({app});
    LivingProcess process = living(1);
    process.app = std::make_shared<const spec::App>(spec->apps.front());
    process.exit = exit;
    planner_.emplace(PlannerOptions{.mode = RunMode::daemon,
                                    .restored = with_living({}, {process}),
                                    .living = std::vector{process},
                                    .first_instance = InstanceId{2}});
    give(SpecLoaded{.spec = spec, .command = std::nullopt});
  }
  void give(Event event) {
    const std::vector<Event> events{std::move(event)};
    const Now now{.mono = Instant{} + Millis{5000}, .wall = WallTime{} + Millis{5000}};
    for (const Action& action : planner_->step(events, now)) {
      if (std::holds_alternative<Spawn>(action)) ++spawns;
      if (std::holds_alternative<KillTree>(action)) ++kills;
    }
  }
  [[nodiscard]] const Slot& slot() const { return planner_->world().apps.at("web").slots.at(0); }
  int spawns = 0;
  int kills = 0;

 private:
  std::optional<Planner> planner_;
};

constexpr ExitStatus success{.code = 0, .signal = std::nullopt};

TEST(Takeover, WhatHadEndedForGoodStaysEnded) {
  Successor next(spec::RestartPolicy::never, success);
  EXPECT_EQ(next.kills, 1) << "what is left of its tree";
  next.give(ProcessExited{.instance = InstanceId{1}, .status = {}});  // the host does not know how
  next.give(TreeGone{.instance = InstanceId{1}});
  EXPECT_EQ(next.slot().phase, Phase::completed);
  EXPECT_EQ(next.slot().last_exit->status.code, 0);
  EXPECT_EQ(next.spawns, 0);
}

TEST(Takeover, WhatHadEndedIsRestartedAsIfItHadBeenSeen) {
  Successor next(spec::RestartPolicy::always, ExitStatus{.code = 3, .signal = std::nullopt});
  EXPECT_EQ(next.slot().failures, 1);
  EXPECT_EQ(next.spawns, 0) << "its tree may hold the volume";
  next.give(TreeGone{.instance = InstanceId{1}});
  EXPECT_EQ(next.slot().last_exit->status.code, 3);
  EXPECT_EQ(next.spawns, 1);
}

// A planner of a next image: one replica that the one before had in its balancer.
class NextImage {
 public:
  NextImage(bool stopping, bool drained, std::optional<Instant> drain_until) {
    spec::App app = sim::app("web");
    app.stop.drain = Millis{60'000};
    const auto spec = sim::spec_of({app});
    LivingProcess process = living(1);
    process.app = std::make_shared<const spec::App>(spec->apps.front());
    process.mark.stopping = stopping;
    process.mark.fit = !stopping;
    PersistentState state = with_living({}, {process});
    if (drained) state.apps["web"].drained_ordinals = {0};
    PlannerOptions options{.mode = RunMode::daemon,
                           .restored = std::move(state),
                           .living = std::vector{process},
                           .first_instance = InstanceId{2},
                           .served = {InstanceId{1}}};
    if (drain_until) options.drains = {{InstanceId{1}, *drain_until}};
    planner_.emplace(std::move(options));
    give(SpecLoaded{.spec = spec, .command = std::nullopt});
  }
  void give(Event event) {
    const std::vector<Event> events{std::move(event)};
    give_all(events);
  }
  void pass(Millis time) {
    now_.mono += time;
    now_.wall += time;
    give_all({});
  }
  [[nodiscard]] Instant now() const { return now_.mono; }
  [[nodiscard]] std::optional<Instant> wakeup() const { return planner_->next_wakeup(); }
  bool asked_idle = false;
  int signals = 0;

 private:
  void give_all(std::span<const Event> events) {
    for (const Action& action : planner_->step(events, now_)) {
      if (std::holds_alternative<WatchIdle>(action)) asked_idle = true;
      if (std::holds_alternative<Signal>(action)) ++signals;
    }
  }
  Now now_{.mono = Instant{} + Millis{100'000}, .wall = WallTime{} + Millis{100'000}};
  std::optional<Planner> planner_;
};

constexpr SnapshotVersion first_snapshot{1};

TEST(Takeover, WhatIsStoppedWhileTheNextImageDrainsItWaitsForItsTunnels) {
  NextImage next(false, true, std::nullopt);
  next.give(StopCommand{.command = CommandId{1}, .target = {.app = "web", .ordinal = std::nullopt}});
  EXPECT_EQ(next.signals, 0) << "a thread may still pick it";
  EXPECT_FALSE(next.asked_idle);
  next.give(SnapshotInUse{.version = first_snapshot});
  EXPECT_TRUE(next.asked_idle);
  EXPECT_EQ(next.signals, 0);
  next.give(EndpointIdle{.instance = InstanceId{1}});
  EXPECT_EQ(next.signals, 1);
}

TEST(Takeover, AnEndThatHadBegunWaitsAsLongAsItWouldHave) {
  const Instant until = Instant{} + Millis{105'000};
  NextImage next(true, false, until);
  next.give(SnapshotInUse{.version = first_snapshot});
  EXPECT_TRUE(next.asked_idle);
  EXPECT_EQ(next.signals, 0);
  ASSERT_EQ(next.wakeup(), until);
  next.pass(Millis{4'999});
  EXPECT_EQ(next.signals, 0);
  next.pass(Millis{1});
  EXPECT_EQ(next.signals, 1);
}

TEST(Takeover, AnEndThatHadBegunMayBeOverBeforeItsTime) {
  NextImage next(true, false, Instant{} + Millis{105'000});
  next.give(SnapshotInUse{.version = first_snapshot});
  next.give(EndpointIdle{.instance = InstanceId{1}});
  EXPECT_EQ(next.signals, 1);
}

TEST(Takeover, AnEndThatWaitedForNothingAnyMoreGoesOn) {
  NextImage next(true, false, std::nullopt);
  EXPECT_EQ(next.signals, 1);
}

TEST(Takeover, WhatRunsRunsOn) {
  Successor next(spec::RestartPolicy::never, std::nullopt);
  EXPECT_EQ(next.spawns, 0);
  EXPECT_EQ(next.kills, 0);
  next.give(ProcessExited{.instance = InstanceId{1}, .status = success});
  EXPECT_EQ(next.slot().phase, Phase::completed);
}

}  // namespace
}  // namespace muster::supervisor
