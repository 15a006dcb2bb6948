// What living processes say about the revisions that are in force.
#include "supervisor/takeover.h"
#include "gtest/gtest.h"
#include "spec/load.h"

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

}  // namespace
}  // namespace muster::supervisor
