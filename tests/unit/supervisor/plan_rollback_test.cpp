// Revisions that fail, what they go back to, and going back by hand.
#include <algorithm>

#include "supervisor/state_codec.h"
#include "supervisor/status_json.h"
#include "unit/supervisor/host.h"

namespace muster::sim {
namespace {

using testing::HasSubstr;

spec::App web(const std::string& text, int replicas = 4) {
  spec::App app = port_app("web", replicas);
  app.update.deadline = Millis{20000};
  set_run(app, text);
  return app;
}

std::shared_ptr<const spec::Spec> stack(const spec::App& app) {
  return spec_of({app}, {listener("front", "web")});
}

// What runs "./bad" never becomes ready.
Conduct never_bad(const Spawn& spawn) {
  Conduct conduct;
  conduct.healthy_after = 50ms;
  conduct.never_healthy = spawn.app->run.front().text() == "./bad";
  return conduct;
}

bool answered(Host& host, CommandId id) {
  return host.advance_until([&] { return host.answer(id).has_value(); });
}

std::set<Revision> revisions(Host& host) {
  std::set<Revision> found;
  for (const Process* process : host.processes("web")) found.insert(process->revision);
  return found;
}

TEST(Rollback, ARevisionThatIsNotReadyInTimeGoesBack) {
  Host host(stack(web("./good")));
  host.conduct = never_bad;
  ASSERT_TRUE(host.until_ready("web", 4));
  const Instant before = host.now();
  const CommandId id = host.apply(stack(web("./bad")));
  int fewest = 4;
  ASSERT_TRUE(host.advance_until([&] {
    fewest = std::min(fewest, host.ready("web"));
    return host.answer(id).has_value();
  }));
  EXPECT_EQ(host.code(id), ExitCode::failed);
  EXPECT_THAT(host.answer(id)->message,
              HasSubstr("web: revision 2 failed: no further replica became ready within 20.0 s, 0 of 4 are"));
  EXPECT_THAT(host.answer(id)->message, HasSubstr("back to revision 1"));
  EXPECT_GE(host.now() - before, 20s);
  EXPECT_EQ(fewest, 4);
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(revisions(host), (std::set{Revision{1}}));
  EXPECT_EQ(host.state("web"), AppState::ready);
  EXPECT_THAT(app_reason(host.world(), host.app("web")), HasSubstr("revision 2 failed"));
}

TEST(Rollback, WhatFailedIsNotTriedAgainUntilItIsEdited) {
  Host host(stack(web("./good")));
  host.conduct = never_bad;
  ASSERT_TRUE(host.until_ready("web", 4));
  ASSERT_TRUE(answered(host, host.apply(stack(web("./bad")))));
  ASSERT_TRUE(host.settle());
  const std::size_t starts = host.spawns().size();
  const CommandId again = host.apply(stack(web("./bad")));
  ASSERT_TRUE(answered(host, again));
  host.advance(10min);
  EXPECT_EQ(host.spawns().size(), starts);
  EXPECT_EQ(host.code(again), ExitCode::failed);
  EXPECT_THAT(host.answer(again)->message, HasSubstr("`apply --retry` tries it again"));
  const CommandId edited = host.apply(stack(web("./better")));
  ASSERT_TRUE(answered(host, edited));
  EXPECT_EQ(host.code(edited), ExitCode::ok);
  EXPECT_EQ(revisions(host), (std::set{Revision{3}}));
}

TEST(Rollback, RetryTriesItAgain) {
  Host host(stack(web("./good")));
  host.conduct = never_bad;
  ASSERT_TRUE(host.until_ready("web", 4));
  ASSERT_TRUE(answered(host, host.apply(stack(web("./bad")))));
  ASSERT_TRUE(host.settle());
  host.conduct = [](const Spawn&) { return Conduct{}; };
  const CommandId again = host.apply(stack(web("./bad")), true);
  ASSERT_TRUE(answered(host, again));
  EXPECT_EQ(host.code(again), ExitCode::ok);
  EXPECT_EQ(revisions(host), (std::set{Revision{3}}));
  EXPECT_EQ(failure_text(host.app("web")), "");
}

TEST(Rollback, AFileThatSaysTheOldTextAgainStartsNothing) {
  Host host(stack(web("./good")));
  host.conduct = never_bad;
  ASSERT_TRUE(host.until_ready("web", 4));
  ASSERT_TRUE(answered(host, host.apply(stack(web("./bad")))));
  ASSERT_TRUE(host.settle());
  const std::size_t starts = host.spawns().size();
  const CommandId mended = host.apply(stack(web("./good")));
  ASSERT_TRUE(answered(host, mended));
  EXPECT_EQ(host.code(mended), ExitCode::ok);
  EXPECT_EQ(host.spawns().size(), starts);
  EXPECT_EQ(failure_text(host.app("web")), "");
}

TEST(Rollback, OutlivesTheDaemon) {
  PersistentState saved;
  {
    Host host(stack(web("./good")));
    host.conduct = never_bad;
    ASSERT_TRUE(host.until_ready("web", 4));
    ASSERT_TRUE(answered(host, host.apply(stack(web("./bad")))));
    ASSERT_TRUE(host.settle());
    auto read = decode_state(encode_state(host.saved()));
    ASSERT_TRUE(read.ok()) << read.error().message;
    saved = std::move(read.value());
  }
  Host same(stack(web("./bad")), RunMode::daemon, saved);
  ASSERT_TRUE(same.settle());
  EXPECT_EQ(revisions(same), (std::set{Revision{1}}));
  EXPECT_EQ(same.process("web", 0)->app->run.front().text(), "./good");
  EXPECT_THAT(failure_text(same.app("web")), HasSubstr("revision 2 failed"));
  Host edited(stack(web("./better")), RunMode::daemon, saved);
  ASSERT_TRUE(edited.settle());
  EXPECT_EQ(revisions(edited), (std::set{Revision{3}}));
}

TEST(Rollback, ProgressMovesTheDeadline) {
  Host host(stack(web("./good")));
  host.conduct = [](const Spawn& spawn) {
    Conduct conduct;
    if (spawn.revision == Revision{2}) conduct.healthy_after = 15s;
    return conduct;
  };
  ASSERT_TRUE(host.until_ready("web", 4));
  const CommandId id = host.apply(stack(web("./slow")));
  ASSERT_TRUE(answered(host, id));  // a minute, with a deadline of 20 s
  EXPECT_EQ(host.code(id), ExitCode::ok);
}

TEST(Rollback, AnExclusiveAppGoesBackInOrder) {
  spec::App db = numbered_app("web", 3, 5440);
  db.update.deadline = Millis{5000};
  set_run(db, "./good");
  Host host(stack(db));
  host.conduct = never_bad;
  ASSERT_TRUE(host.until_ready("web", 3));
  set_run(db, "./bad");
  const CommandId id = host.apply(stack(db));
  int fewest = 3;
  ASSERT_TRUE(host.advance_until([&] {
    fewest = std::min(fewest, host.ready("web"));
    return host.answer(id).has_value();
  }));
  EXPECT_EQ(fewest, 2);
  EXPECT_EQ(host.code(id), ExitCode::failed);
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(host.start_order("web", 3), (std::vector{2, 2}));
}

TEST(Rollback, WithoutItTheRevisionStaysAsItIs) {
  spec::App app = web("./good");
  app.update.rollback = false;
  Host host(stack(app));
  host.conduct = never_bad;
  ASSERT_TRUE(host.until_ready("web", 4));
  set_run(app, "./bad");
  const CommandId id = host.apply(stack(app));
  ASSERT_TRUE(answered(host, id));
  EXPECT_EQ(host.code(id), ExitCode::failed);
  EXPECT_EQ(host.state("web"), AppState::failed);
  const std::size_t starts = host.spawns().size();
  host.conduct = [](const Spawn&) { return Conduct{}; };
  for (Process* process : host.processes("web")) process->healthy = true;
  host.advance(5min);
  EXPECT_EQ(host.spawns().size(), starts) << "a step of a rollout that has failed";
  EXPECT_EQ(host.ready("web"), 4);
  EXPECT_EQ(revisions(host), (std::set{Revision{1}, Revision{2}}));
  const CommandId again = host.apply(stack(app), true);
  ASSERT_TRUE(answered(host, again));
  EXPECT_EQ(host.code(again), ExitCode::ok);
  EXPECT_EQ(revisions(host), (std::set{Revision{2}}));
}

// The new revision of an app whose ports the file has given to another cannot go back: its ports are taken.
TEST(Rollback, NeedsThePortsThatItHad) {
  spec::App db = numbered_app("web", 2, 5440);
  db.update.deadline = Millis{5000};
  set_run(db, "./good");
  Host host(spec_of({db}));
  host.conduct = never_bad;
  ASSERT_TRUE(host.until_ready("web", 2));
  set_run(db, "./bad");
  db.port.base = 5540;
  const CommandId id = host.apply(spec_of({db, numbered_app("other", 2, 5441)}));
  ASSERT_TRUE(answered(host, id));
  EXPECT_EQ(host.code(id), ExitCode::failed);
  ASSERT_TRUE(host.advance_until([&] { return !failure_text(host.app("web")).empty(); }));
  EXPECT_THAT(failure_text(host.app("web")), HasSubstr("the ports of revision 1 are now those of other"));
  EXPECT_EQ(host.app("web").revision, Revision{2});
}

TEST(Rollback, ANewerEditTakesTheRolloutOver) {
  Host host(stack(web("./good")));
  host.conduct = never_bad;
  ASSERT_TRUE(host.until_ready("web", 4));
  host.load(stack(web("./bad")));
  host.advance(10s);
  const CommandId id = host.apply(stack(web("./better")));
  ASSERT_TRUE(answered(host, id));
  EXPECT_EQ(host.code(id), ExitCode::ok);
  host.advance(10min);
  EXPECT_EQ(revisions(host), (std::set{Revision{3}}));
  EXPECT_EQ(host.ready("web"), 4);
}

TEST(Rollback, AFirstRevisionHasNothingToGoBackTo) {
  Host host(stack(web("./bad")));
  host.conduct = never_bad;
  host.advance(30min);
  EXPECT_EQ(host.app("web").revision, Revision{1});
  EXPECT_EQ(failure_text(host.app("web")), "");
}

TEST(Rollback, AHeldAppLosesNoTime) {
  Host host(stack(web("./good")));
  host.conduct = never_bad;
  ASSERT_TRUE(host.until_ready("web", 4));
  static_cast<void>(host.stop({"web", std::nullopt}));
  host.load(stack(web("./bad")));
  host.advance(10min);
  EXPECT_EQ(failure_text(host.app("web")), "");
}

// The balancer's counts: each replica of a revision has answered so often.
void count(Host& host, std::map<std::uint32_t, Answers> by_revision) {
  AnswersCounted counted;
  for (const Process* process : host.processes("web"))
    counted.by_instance[process->id] = by_revision[raw(process->revision)];
  host.send(std::move(counted));
  host.advance(Nanos{0});
}

Answers of(std::uint64_t all, std::uint64_t errors) {
  return Answers{.all = all, .errors = errors};
}

struct Release : testing::Test {
  Release() : host(stack(held_up("./good"))) {}
  // Ready at once; counts for the rollout after a minute.
  static spec::App held_up(const std::string& text) {
    spec::App app = web(text, 2);
    app.update.min_ready = Millis{60000};
    app.update.deadline = Millis{600000};
    return app;
  }
  void release() {
    ASSERT_TRUE(host.settle());
    host.advance(2min);
    id = host.apply(stack(held_up("./worse")));
    host.advance(1s);
    ASSERT_EQ(host.running("web"), 3);
  }
  Host host;
  CommandId id{};
};

TEST_F(Release, ThatAnswersWorseGoesBack) {
  release();
  count(host, {{1, of(1000, 500)}});  // before the rollout: not counted
  count(host, {{1, of(1030, 503)}, {2, of(60, 12)}});
  EXPECT_TRUE(host.planner().world().apps.at("web").revision == Revision{1});
  EXPECT_THAT(failure_text(host.app("web")),
              HasSubstr("it answers worse: 12 of 60 with 5xx (20.0 %), the old one 6 of 60 (10.0 %)"));
  ASSERT_TRUE(answered(host, id));
  EXPECT_EQ(host.code(id), ExitCode::failed);
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(revisions(host), (std::set{Revision{1}}));
}

TEST_F(Release, ThatAnswersAsTheOldOneStays) {
  release();
  count(host, {{1, of(1000, 0)}});
  count(host, {{1, of(1100, 10)}, {2, of(100, 15)}});  // 10 % before, 15 % now: not more than 5 points
  EXPECT_EQ(failure_text(host.app("web")), "");
  ASSERT_TRUE(answered(host, id));
  EXPECT_EQ(host.code(id), ExitCode::ok);
}

TEST_F(Release, IsNotJudgedByFewAnswers) {
  release();
  count(host, {{1, of(1000, 0)}});
  count(host, {{1, of(1100, 0)}, {2, of(49, 49)}});
  EXPECT_EQ(failure_text(host.app("web")), "");
  EXPECT_TRUE(host.planner().wants_answers());
  count(host, {{1, of(1100, 0)}, {2, of(50, 50)}});
  EXPECT_NE(failure_text(host.app("web")), "");
  EXPECT_FALSE(host.planner().wants_answers());
}

TEST(Undo, GoesBackAndHolds) {
  Host host(stack(web("./one")));
  ASSERT_TRUE(host.settle());
  ASSERT_TRUE(answered(host, host.apply(stack(web("./two")))));
  ASSERT_TRUE(host.settle());
  const CommandId id = host.undo("web");
  ASSERT_TRUE(answered(host, id));
  EXPECT_EQ(host.code(id), ExitCode::ok);
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(revisions(host), (std::set{Revision{1}}));
  EXPECT_EQ(hold_text(host.app("web")), "rolled back by hand to revision 1, the file says 2");
  const std::size_t starts = host.spawns().size();
  ASSERT_TRUE(answered(host, host.apply(stack(web("./two")))));  // the same text: the hold stays
  EXPECT_EQ(host.spawns().size(), starts);
  Host again(stack(web("./two")), RunMode::daemon, host.saved());
  ASSERT_TRUE(again.settle());
  EXPECT_EQ(revisions(again), (std::set{Revision{1}}));
  EXPECT_NE(hold_text(again.app("web")), "");
  host.load(stack(web("./three")));
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(revisions(host), (std::set{Revision{3}}));
  EXPECT_EQ(hold_text(host.app("web")), "");
}

TEST(Undo, IsEndedByResume) {
  Host host(stack(web("./one")));
  ASSERT_TRUE(host.settle());
  ASSERT_TRUE(answered(host, host.apply(stack(web("./two")))));
  ASSERT_TRUE(answered(host, host.undo("web")));
  const CommandId id = host.pause("web", false);
  ASSERT_TRUE(answered(host, id));
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(revisions(host), (std::set{Revision{2}}));
  EXPECT_EQ(hold_text(host.app("web")), "");
}

TEST(Undo, GoesToAnotherTextNotToAnotherNumberOfTheSame) {
  Host host(stack(web("./one")));
  ASSERT_TRUE(host.settle());
  ASSERT_TRUE(answered(host, host.apply(stack(web("./two")))));
  ASSERT_TRUE(answered(host, host.undo("web")));
  // An edit of something else ends the hold: the file's text comes again, as revision 3.
  ASSERT_TRUE(answered(host, host.apply(stack(web("./two", 3)))));
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(revisions(host), (std::set{Revision{3}}));
  ASSERT_TRUE(answered(host, host.undo("web")));
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(revisions(host), (std::set{Revision{1}}));
  EXPECT_EQ(hold_text(host.app("web")), "rolled back by hand to revision 1, the file says 3");
  Host again(stack(web("./two", 3)), RunMode::daemon, host.saved());
  ASSERT_TRUE(again.settle());
  EXPECT_EQ(hold_text(again.app("web")), "rolled back by hand to revision 1, the file says 3");
}

TEST(Undo, NeedsARevisionBefore) {
  Host host(stack(web("./one")));
  ASSERT_TRUE(host.settle());
  const CommandId id = host.undo("web");
  ASSERT_TRUE(answered(host, id));
  EXPECT_EQ(host.answer(id)->message, "web has no revision before 1 to go back to");
}

TEST(Undo, KeepsTheNumbersOfTheFile) {
  Host host(stack(web("./one", 2)));
  ASSERT_TRUE(host.settle());
  ASSERT_TRUE(answered(host, host.apply(stack(web("./two", 3)))));
  ASSERT_TRUE(answered(host, host.undo("web")));
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(host.ready("web"), 3);
}

TEST(History, NamesWhatChangedAndNoValues) {
  spec::App app = web("./one", 2);
  app.env = {{"API_TOKEN", spec::Template("s3cr3t")}};
  Host host(stack(app));
  ASSERT_TRUE(host.settle());
  app.env = {{"API_TOKEN", spec::Template("0ther")}};
  host.conduct = [](const Spawn&) {
    Conduct conduct;
    conduct.never_healthy = true;
    return conduct;
  };
  host.load(stack(app));
  host.advance(1s);
  const auto body = rollout_json(host.world(), "web", host.now());
  ASSERT_TRUE(body);
  EXPECT_THAT(*body, HasSubstr(R"("changed":["env"])"));
  EXPECT_THAT(*body, HasSubstr(R"("waits_for":"web/0: )"));
  EXPECT_THAT(*body, HasSubstr(R"({"revision":1,"in_force":false,"processes":2,"ready":2})"));
  EXPECT_THAT(*body, testing::Not(HasSubstr("s3cr3t")));
  EXPECT_THAT(*body, testing::Not(HasSubstr("0ther")));
  EXPECT_FALSE(rollout_json(host.world(), "nosuch", host.now()));
}

TEST(History, KeepsTen) {
  Host host(stack(web("./0", 1)));
  for (int edit = 1; edit < 15; ++edit) {
    host.load(stack(web("./" + std::to_string(edit), 1)));
    ASSERT_TRUE(host.settle());
  }
  const auto& history = host.app("web").history;
  ASSERT_EQ(history.size(), 10U);
  EXPECT_EQ(history.front().number, Revision{6});
  EXPECT_EQ(history.back().number, Revision{15});
}

}  // namespace
}  // namespace muster::sim
