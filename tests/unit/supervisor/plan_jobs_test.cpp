#include "spec/cron_text.h"
#include "supervisor/state_codec.h"
#include "unit/supervisor/host.h"

namespace muster::sim {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// The simulator's clock begins at 01:00 of 1970-01-01, UTC.
spec::Job job(const std::string& name, const std::string& schedule = "") {
  spec::Job made;
  made.task = app(name);
  made.task.health.always = true;
  if (schedule.empty()) return made;
  auto cron = spec::parse_cron(schedule);
  EXPECT_TRUE(cron.ok()) << schedule;
  made.schedule = cron.value();
  made.zone = std::make_shared<const spec::TimeZone>();
  return made;
}

std::shared_ptr<const spec::Spec> stack(std::vector<spec::Job> jobs, std::vector<spec::App> apps = {}) {
  spec::Spec made = *spec_of(std::move(apps));
  std::ranges::sort(jobs, {}, &spec::Job::name);
  made.jobs = std::move(jobs);
  return std::make_shared<const spec::Spec>(std::move(made));
}

// Runs take `length` and end with `code`.
auto runs_for(Nanos length, int code = 0) {
  return [=](const Spawn&) {
    Conduct conduct;
    conduct.exits_after = length;
    conduct.exit = ExitStatus{.code = code, .signal = std::nullopt};
    return conduct;
  };
}

const JobWorld& job_of(const Host& host, const std::string& name) {
  return host.world().jobs.at(name);
}

// Minutes of the simulator's day at which the job was started.
const WallTime midnight = WallTime{} + std::chrono::seconds(1767225600);  // when hosts begin

std::vector<long> starts(const Host& host, const std::string& name) {
  std::vector<long> minutes;
  for (const auto& [at, spawn] : host.spawns()) {
    if (spawn.replica.app == name)
      minutes.push_back(std::chrono::duration_cast<std::chrono::minutes>(at.time_since_epoch()).count());
  }
  return minutes;
}

CommandId run(Host& host, const std::string& name) {
  const CommandId id = host.command_id();
  host.send(RunCommand{id, name});
  return id;
}

TEST(Jobs, RunOncePerStartOfTheDaemon) {
  Host host(stack({job("init")}));
  host.conduct = runs_for(1s);
  host.advance(500ms);
  EXPECT_EQ(job_state(job_of(host, "init")), JobState::running);
  host.advance(1h);
  EXPECT_EQ(starts(host, "init").size(), 1U);
  EXPECT_EQ(job_state(job_of(host, "init")), JobState::completed);
  EXPECT_TRUE(job_of(host, "init").last->ok);
  host.load(stack({job("init")}));
  host.advance(1h);
  EXPECT_EQ(starts(host, "init").size(), 1U);
}

TEST(Jobs, RunByTheirSchedule) {
  Host host(stack({job("tick", "*/10 * * * *")}));
  host.conduct = runs_for(1s);
  host.advance(35min);
  EXPECT_THAT(starts(host, "tick"), ElementsAre(70, 80, 90));
  EXPECT_EQ(job_state(job_of(host, "tick")), JobState::waiting);
  EXPECT_EQ(job_of(host, "tick").next, midnight + 100min);
}

TEST(Jobs, RunByHandUntilTheyEnd) {
  Host host(stack({job("nightly", "0 3 * * *")}));
  host.conduct = runs_for(5s);
  const CommandId good = run(host, "nightly");
  host.advance(4s);
  EXPECT_FALSE(host.answer(good));
  host.advance(2s);
  EXPECT_EQ(host.code(good), ExitCode::ok);
  EXPECT_EQ(host.answer(good)->message, "nightly has completed: exited with status 0");
  host.conduct = runs_for(1s, 3);
  const CommandId bad = run(host, "nightly");
  host.advance(2s);
  EXPECT_EQ(host.code(bad), ExitCode::failed);
  EXPECT_EQ(host.answer(bad)->message, "nightly has failed: exited with status 3");
  EXPECT_EQ(job_of(host, "nightly").last->exit.status.code, 3);
}

TEST(Jobs, ThatAreNoneAreRefused) {
  Host host(stack({job("a")}, {app("web")}));
  host.conduct = runs_for(1h);
  ASSERT_TRUE(host.until_ready("web", 1));
  const CommandId none = run(host, "b");
  const CommandId an_app = run(host, "web");
  const CommandId stop = host.stop({"a", std::nullopt});
  host.advance(10ms);
  EXPECT_EQ(host.answer(none)->message, "no job 'b'; there are: a");
  EXPECT_THAT(host.answer(an_app)->message, HasSubstr("'web' is an app"));
  EXPECT_THAT(host.answer(stop)->message, HasSubstr("'a' is a job; `muster run a` runs it"));
}

TEST(Jobs, RetriesPauseAsRestartsDo) {
  spec::Job flaky = job("flaky");
  flaky.retries = 3;
  Host host(stack({flaky}));
  host.conduct = runs_for(10ms, 1);
  host.advance(500ms);
  EXPECT_EQ(starts(host, "flaky").size(), 2U);  // the first retry is at once
  EXPECT_EQ(job_state(job_of(host, "flaky")), JobState::backoff);
  host.advance(1s);
  EXPECT_EQ(starts(host, "flaky").size(), 3U);
  host.advance(1500ms);
  EXPECT_EQ(starts(host, "flaky").size(), 3U);
  host.advance(1h);
  EXPECT_EQ(starts(host, "flaky").size(), 4U);
  EXPECT_EQ(job_state(job_of(host, "flaky")), JobState::failed);
  EXPECT_THAT(host.notes("failed"), ElementsAre("exited with status 1, after 4 tries"));
}

TEST(Jobs, ARetryThatSucceedsIsASuccess) {
  spec::Job flaky = job("flaky");
  flaky.retries = 2;
  Host host(stack({flaky}));
  int tries = 0;
  host.conduct = [&](const Spawn& spawn) { return runs_for(10ms, ++tries < 3 ? 1 : 0)(spawn); };
  host.advance(1min);
  EXPECT_EQ(tries, 3);
  EXPECT_EQ(job_state(job_of(host, "flaky")), JobState::completed);
}

TEST(Jobs, ATimeoutStopsATryInOrderAndItHasFailed) {
  spec::Job slow = job("slow");
  slow.timeout = Millis(2000);
  slow.task.stop.timeout = Millis(1000);
  slow.retries = 1;
  Host host(stack({slow}));
  host.conduct = [](const Spawn&) {
    Conduct conduct;
    conduct.ignores_signal = true;
    return conduct;
  };
  host.advance(2500ms);
  EXPECT_EQ(job_state(job_of(host, "slow")), JobState::stopping);
  EXPECT_EQ(host.count<Signal>(), 1);
  host.advance(1s);
  EXPECT_EQ(starts(host, "slow").size(), 2U);
  host.conduct = runs_for(1h);
  host.advance(1min);
  EXPECT_EQ(job_state(job_of(host, "slow")), JobState::failed);
  EXPECT_THAT(job_of(host, "slow").last->exit.reason, HasSubstr("killed by SIGKILL"));
}

TEST(Jobs, AnExitWithSuccessAfterTheTimeoutIsAFailure) {
  spec::Job slow = job("slow");
  slow.timeout = Millis(2000);
  Host host(stack({slow}));
  host.conduct = [](const Spawn&) {
    Conduct conduct;
    conduct.signal_takes = 100ms;
    conduct.exit = ExitStatus{.code = 0, .signal = std::nullopt};
    return conduct;
  };
  host.advance(1min);
  EXPECT_EQ(job_state(job_of(host, "slow")), JobState::failed);
}

TEST(Overlap, ForbidLeavesOut) {
  Host host(stack({job("tick", "* * * * *")}));
  host.conduct = runs_for(150s);
  host.advance(170s);
  EXPECT_THAT(starts(host, "tick"), ElementsAre(61));
  EXPECT_EQ(host.notes("skipped").size(), 1U);
  const CommandId by_hand = run(host, "tick");
  host.advance(10ms);
  EXPECT_EQ(host.code(by_hand), ExitCode::failed);
  host.advance(4min);
  EXPECT_THAT(starts(host, "tick"), ElementsAre(61, 64));
}

TEST(Overlap, AllowRunsThemBesideEachOther) {
  spec::Job tick = job("tick", "* * * * *");
  tick.overlap = spec::Overlap::allow;
  Host host(stack({tick}));
  host.conduct = runs_for(150s);
  host.advance(185s);
  EXPECT_EQ(host.running("tick"), 3);
  EXPECT_EQ(host.start_order("tick"), (std::vector<int>{0, 1, 2}));
  host.advance(60s);  // the first has ended, its place is free
  EXPECT_EQ(host.start_order("tick"), (std::vector<int>{0, 1, 2, 0}));
}

TEST(Overlap, ReplaceEndsTheOldOneFirst) {
  spec::Job tick = job("tick", "* * * * *");
  tick.overlap = spec::Overlap::replace;
  Host host(stack({tick}));
  int most = 0;
  host.conduct = [&](const Spawn&) {
    most = std::max(most, host.running("tick"));
    Conduct conduct;
    conduct.signal_takes = 2s;
    return conduct;
  };
  host.advance(125s);
  EXPECT_EQ(host.running("tick"), 1);
  EXPECT_EQ(most, 0);
  EXPECT_THAT(starts(host, "tick"), ElementsAre(61, 62));
}

TEST(Schedule, MissedRunsCollapseIntoOneOverARestart) {
  PersistentState saved;
  {
    Host host(stack({job("tick", "*/10 * * * *")}));
    host.conduct = runs_for(1s);
    host.advance(15min);
    EXPECT_EQ(job_of(host, "tick").next, midnight + 80min);
    host.shutdown();
    host.advance(10s);
    auto read = decode_state(encode_state(host.saved()));
    ASSERT_TRUE(read.ok());
    saved = std::move(read.value());
  }
  ASSERT_TRUE(saved.jobs.at("tick").last);
  // The daemon was down for longer than the schedule's pauses.
  saved.jobs.at("tick").next = midnight + 10min;
  Host host(stack({job("tick", "*/10 * * * *")}), RunMode::daemon, saved);
  host.conduct = runs_for(1s);
  host.advance(10ms);
  EXPECT_TRUE(job_of(host, "tick").last);
  EXPECT_THAT(starts(host, "tick"), ElementsAre(60));
  EXPECT_THAT(host.notes("starting"), ElementsAre("due at 2026-01-01T00:10:00Z, missed then"));
  host.advance(11min);
  EXPECT_THAT(starts(host, "tick"), ElementsAre(60, 70));
}

TEST(Schedule, AnotherScheduleIsNotOwedWhatTheOldOneMissed) {
  PersistentState saved;
  saved.jobs["tick"] = {.schedule = "*/5 * * * *", .timezone = "", .next = midnight + 10min, .last = {}};
  Host host(stack({job("tick", "*/10 * * * *")}), RunMode::daemon, saved);
  host.conduct = runs_for(1s);
  host.advance(1min);
  EXPECT_TRUE(starts(host, "tick").empty());
}

// Steps of the planner itself, so that the wall clock can go its own way.
class Clock {
 public:
  explicit Clock(const std::string& schedule) : planner_(PlannerOptions{}) {
    step({SpecLoaded{stack({job("tick", schedule)}), std::nullopt}});
  }
  // How many runs were asked for in this step.
  int step(std::vector<Event> events = {}) {
    int starts = 0;
    for (const Action& action : planner_.step(events, {.mono = mono, .wall = wall})) {
      const auto* spawn = std::get_if<Spawn>(&action);
      if (spawn == nullptr) continue;
      ++starts;
      const InstanceId id = spawn->instance;
      std::vector<Event> end{ProcessStarted{.instance = id, .pid = 7, .ports = {}},
                             ProcessExited{.instance = id, .status = {.code = 0, .signal = {}}},
                             TreeGone{.instance = id}};
      planner_.step(end, {.mono = mono, .wall = wall});
    }
    return starts;
  }
  int advance(Nanos time) {
    mono += time;
    wall += std::chrono::duration_cast<WallTime::duration>(time);
    return step();
  }
  int set(std::chrono::minutes by) {
    wall += by;
    return step({ClockSet{}});
  }
  [[nodiscard]] std::optional<WallTime> next() const { return planner_.world().jobs.at("tick").next; }

  Instant mono = Instant{} + 1h;
  WallTime wall = WallTime{} + 12h;

 private:
  Planner planner_;
};

TEST(WallClock, AJumpForwardOwesOneRun) {
  Clock clock("*/10 * * * *");
  EXPECT_EQ(clock.advance(5min), 0);
  EXPECT_EQ(clock.set(95min), 1);  // the host slept, say
  EXPECT_EQ(clock.next(), WallTime{} + 13h + 50min);
  EXPECT_EQ(clock.step(), 0);
}

TEST(WallClock, ASmallStepBackRunsNothingAgain) {
  Clock clock("*/10 * * * *");
  EXPECT_EQ(clock.advance(10min), 1);
  clock.wall -= 2s;
  EXPECT_EQ(clock.step({ClockSet{}}), 0);
  EXPECT_EQ(clock.advance(2s), 0);
}

TEST(WallClock, SetBackSchedulesOfTheClockFollowIt) {
  Clock clock("*/10 * * * *");
  EXPECT_EQ(clock.advance(10min), 1);
  EXPECT_EQ(clock.set(-60min), 0);
  EXPECT_EQ(clock.next(), WallTime{} + 11h + 20min);
}

TEST(WallClock, SetBackFixedTimesDoNotRunTwice) {
  Clock clock("5 12 * * *");
  EXPECT_EQ(clock.advance(10min), 1);
  EXPECT_EQ(clock.set(-60min), 0);
  EXPECT_EQ(clock.next(), WallTime{} + 36h + 5min);
  EXPECT_EQ(clock.set(-180min), 0);  // a correction
  EXPECT_EQ(clock.next(), WallTime{} + 12h + 5min);
}

TEST(AfterJob, AnAppWaitsForItsEnd) {
  spec::App web = app("web");
  set_after(web, "init", spec::AfterCondition::completed_ok);
  Host host(stack({job("init")}, {web}));
  host.conduct = [](const Spawn& spawn) {
    return spawn.replica.app == "init" ? runs_for(2s, 1)(spawn) : Conduct{};
  };
  host.advance(1s);
  EXPECT_EQ(host.slot("web", 0).reason, "waits for job init to be completed with success");
  host.advance(2s);
  EXPECT_EQ(host.running("web"), 0);
  EXPECT_THAT(host.slot("web", 0).reason, HasSubstr("it failed; `muster run init` tries it again"));
  host.conduct = [](const Spawn& spawn) {
    return spawn.replica.app == "init" ? runs_for(10ms)(spawn) : Conduct{};
  };
  const CommandId again = run(host, "init");
  host.advance(100ms);
  EXPECT_EQ(host.code(again), ExitCode::ok);
  EXPECT_EQ(host.running("web"), 1);
}

TEST(AfterJob, AJobWaitsForAnApp) {
  spec::Job init = job("init");
  set_after(init.task, "db");
  Host host(stack({init}, {port_app("db")}));
  host.conduct = [](const Spawn& spawn) {
    Conduct conduct = spawn.replica.app == "init" ? runs_for(10ms)(spawn) : Conduct{};
    conduct.healthy_after = 2s;
    return conduct;
  };
  host.advance(1s);
  EXPECT_TRUE(starts(host, "init").empty());
  EXPECT_EQ(job_reason(job_of(host, "init")), "waits for db to be ready (0 of 1)");
  host.advance(5s);
  EXPECT_EQ(job_state(job_of(host, "init")), JobState::completed);
}

// `migrate` before `web`.
class Before : public testing::Test {
 protected:
  static std::shared_ptr<const spec::Spec> with(const std::string& run) {
    spec::Job migrate = job("migrate");
    migrate.before = {"web"};
    spec::App web = app("web", 2);
    set_run(web, run);
    return stack({migrate}, {web});
  }
  void migrations(Host& host, int code, Nanos length = 1s) {
    host.conduct = [=](const Spawn& spawn) {
      return spawn.replica.app == "migrate" ? runs_for(length, code)(spawn) : Conduct{};
    };
  }
  static Revision running(Host& host) { return host.processes("web").front()->revision; }
};

TEST_F(Before, TheFirstStartWaitsForTheJob) {
  Host host(with("./one"));
  migrations(host, 0);
  host.advance(500ms);
  EXPECT_EQ(host.running("web"), 0);
  EXPECT_EQ(host.state("web"), AppState::waiting);
  EXPECT_EQ(host.slot("web", 0).reason, "waits for job migrate");
  ASSERT_TRUE(host.until_ready("web", 2));
  EXPECT_EQ(starts(host, "migrate").size(), 1U);
  host.advance(1h);
  EXPECT_EQ(starts(host, "migrate").size(), 1U);
}

TEST_F(Before, AFirstStartWhoseJobFailsWaitsAndSaysWhy) {
  Host host(with("./one"));
  migrations(host, 1);
  const CommandId apply = host.apply(with("./one"));
  host.advance(5s);
  EXPECT_EQ(host.running("web"), 0);
  EXPECT_EQ(host.state("web"), AppState::waiting);
  EXPECT_THAT(app_reason(host.world(), host.app("web")),
              HasSubstr("job migrate before it failed: exited with status 1"));
  EXPECT_EQ(host.code(apply), ExitCode::failed);
  EXPECT_EQ(starts(host, "migrate").size(), 1U);
  migrations(host, 0);
  const CommandId again = run(host, "migrate");
  ASSERT_TRUE(host.until_ready("web", 2));
  EXPECT_EQ(host.code(again), ExitCode::ok);
}

TEST_F(Before, ARetryTriesTheJobOfAFirstStartAgain) {
  Host host(with("./one"));
  migrations(host, 1);
  host.advance(5s);
  migrations(host, 0);
  const CommandId apply = host.apply(with("./one"), true);
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(host.code(apply), ExitCode::ok);
  EXPECT_EQ(host.running("web"), 2);
}

TEST_F(Before, ANewRevisionComesAfterTheJob) {
  Host host(with("./one"));
  migrations(host, 0, 10ms);
  ASSERT_TRUE(host.until_ready("web", 2));
  migrations(host, 0, 5s);
  const CommandId apply = host.apply(with("./two"));
  host.advance(4s);
  EXPECT_EQ(host.state("web"), AppState::updating);
  EXPECT_EQ(app_reason(host.world(), host.app("web")), "revision 2 waits for job migrate");
  EXPECT_EQ(running(host), Revision{1});
  EXPECT_FALSE(host.answer(apply));
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(host.code(apply), ExitCode::ok);
  EXPECT_EQ(running(host), Revision{2});
  EXPECT_EQ(starts(host, "migrate").size(), 2U);
}

TEST_F(Before, AFailureKeepsTheOldRevision) {
  Host host(with("./one"));
  migrations(host, 0, 10ms);
  ASSERT_TRUE(host.until_ready("web", 2));
  const auto started = host.spawns().size();
  migrations(host, 1);
  const CommandId apply = host.apply(with("./two"));
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(host.code(apply), ExitCode::failed);
  EXPECT_EQ(host.answer(apply)->message,
            "web: revision 2 failed: job migrate before it failed: exited with status 1; revision 1 runs on");
  EXPECT_EQ(host.spawns().size(), started + 1);  // the job's
  EXPECT_EQ(host.app("web").revision, Revision{1});
  EXPECT_EQ(host.state("web"), AppState::ready);
  host.kill("web", 0);
  ASSERT_TRUE(host.until_ready("web", 2));
  EXPECT_EQ(running(host), Revision{1});
  // A success by hand is not asked for; only an edit or --retry tries the revision again.
  migrations(host, 0, 10ms);
  static_cast<void>(run(host, "migrate"));
  host.advance(10s);
  EXPECT_EQ(running(host), Revision{1});
  const CommandId again = host.apply(with("./two"), true);
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(host.code(again), ExitCode::ok);
  EXPECT_EQ(host.app("web").revision, host.app("web").file_revision);
}

TEST_F(Before, AnEditMeanwhileRunsTheJobForTheNewestRevision) {
  Host host(with("./one"));
  migrations(host, 0, 10ms);
  ASSERT_TRUE(host.until_ready("web", 2));
  migrations(host, 0, 5s);
  host.load(with("./two"));
  host.advance(3s);
  host.load(with("./three"));
  host.advance(4s);
  EXPECT_EQ(running(host), Revision{1});
  EXPECT_EQ(starts(host, "migrate").size(), 3U);
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(running(host), Revision{3});
}

TEST_F(Before, BackToTheOldTextNeedsNoJob) {
  Host host(with("./one"));
  migrations(host, 0, 10ms);
  ASSERT_TRUE(host.until_ready("web", 2));
  migrations(host, 0, 1min);
  host.load(with("./two"));
  host.advance(1s);
  const CommandId apply = host.apply(with("./one"));
  host.advance(2s);
  EXPECT_EQ(host.code(apply), ExitCode::ok);
  EXPECT_EQ(host.state("web"), AppState::ready);
}

TEST_F(Before, UndoByHandKeepsWhatRuns) {
  Host host(with("./one"));
  migrations(host, 0, 10ms);
  ASSERT_TRUE(host.until_ready("web", 2));
  migrations(host, 0, 5s);
  host.load(with("./two"));
  host.advance(1s);
  const CommandId undo = host.undo("web");
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(host.code(undo), ExitCode::ok);
  EXPECT_EQ(running(host), Revision{1});
  host.advance(1min);
  EXPECT_EQ(running(host), Revision{1});
}

TEST_F(Before, ARestartOfTheDaemonRunsItOnlyForWhatIsNew) {
  PersistentState saved;
  {
    Host host(with("./one"));
    migrations(host, 0, 10ms);
    ASSERT_TRUE(host.until_ready("web", 2));
    migrations(host, 0, 1h);
    host.load(with("./two"));
    host.advance(1s);
    host.shutdown();
    host.advance(1min);
    auto read = decode_state(encode_state(host.saved()));
    ASSERT_TRUE(read.ok()) << read.error().message;
    saved = std::move(read.value());
  }
  {
    Host host(with("./one"), RunMode::daemon, saved);
    migrations(host, 0, 10ms);
    ASSERT_TRUE(host.until_ready("web", 2));
    EXPECT_TRUE(starts(host, "migrate").empty());
  }
  Host host(with("./two"), RunMode::daemon, saved);
  migrations(host, 0, 5s);
  host.advance(3s);
  EXPECT_EQ(host.running("web"), 2);
  EXPECT_EQ(running(host), Revision{1});
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(running(host), Revision{2});
}

TEST(End, JobsAreStoppedAndTheirCommandsAnswered) {
  spec::Job slow = job("slow");
  set_after(slow.task, "db");
  Host host(stack({slow}, {app("db")}));
  host.conduct = [](const Spawn&) {
    Conduct conduct;
    conduct.signal_takes = 1s;
    return conduct;
  };
  host.advance(5s);
  ASSERT_EQ(host.running("slow"), 1);
  host.shutdown();
  host.advance(500ms);
  EXPECT_EQ(job_state(job_of(host, "slow")), JobState::stopping);
  EXPECT_EQ(host.phase("db", 0), Phase::ready);  // until nothing needs it
  host.advance(10s);
  EXPECT_TRUE(host.ended());
}

TEST(End, UpEndsWithTheLastOfItsJobs) {
  for (const int code : {0, 1}) {
    Host host(stack({job("a"), job("b")}), RunMode::up);
    host.conduct = runs_for(2s, code);
    host.advance(1s);
    EXPECT_FALSE(host.ended());
    host.advance(2s);
    ASSERT_TRUE(host.ended());
    EXPECT_EQ(host.ended()->code, code);
  }
}

TEST(Edit, AJobThatIsRemovedIsStopped) {
  Host host(stack({job("a")}, {app("web")}));
  host.advance(1s);
  ASSERT_EQ(host.running("a"), 1);
  host.load(stack({}, {app("web"), app("a")}));
  host.advance(100ms);
  EXPECT_FALSE(host.world().jobs.contains("a"));
  EXPECT_TRUE(host.until_ready("a", 1));
  host.load(stack({job("a")}, {app("web")}));
  host.advance(100ms);
  EXPECT_EQ(host.running("a"), 1);
  EXPECT_EQ(job_state(job_of(host, "a")), JobState::running);
}

TEST(Faults, OfTheHostAreNoTries) {
  Host host(stack({job("a")}));
  int starts_left = 3;
  host.conduct = [&](const Spawn& spawn) {
    Conduct conduct = runs_for(10ms)(spawn);
    if (starts_left-- > 0) conduct.fails = StartFault::no_processes;
    return conduct;
  };
  host.advance(5min);
  EXPECT_EQ(job_state(job_of(host, "a")), JobState::completed);
}

TEST(Faults, AStartThatFailsIsATry) {
  spec::Job a = job("a");
  a.retries = 1;
  Host host(stack({a}));
  host.conduct = [](const Spawn&) {
    Conduct conduct;
    conduct.fails = StartFault::no_program;
    return conduct;
  };
  const CommandId by_hand = run(host, "a");
  host.advance(5min);
  EXPECT_EQ(job_state(job_of(host, "a")), JobState::failed);
  EXPECT_EQ(host.code(by_hand), ExitCode::failed);
  EXPECT_EQ(starts(host, "a").size(), 2U);
}

}  // namespace
}  // namespace muster::sim
