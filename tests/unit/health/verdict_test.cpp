#include "health/verdict.h"

#include "gtest/gtest.h"
#include "health/outcome.h"

namespace muster::health {
namespace {

using Change = Verdict::Change;

spec::HealthCheck check(int fall, int rise) {
  spec::HealthCheck result;
  result.tcp = true;
  result.fall = fall;
  result.rise = rise;
  return result;
}

TEST(Verdict, RisesWithTheFirstSuccessAndFallsAfterFailuresInARow) {
  Verdict verdict(check(3, 1), false);
  EXPECT_EQ(verdict.record(false), Change::none);
  EXPECT_EQ(verdict.record(true), Change::rose);
  EXPECT_EQ(verdict.record(false), Change::none);
  EXPECT_EQ(verdict.record(false), Change::none);
  EXPECT_EQ(verdict.record(true), Change::none);  // the row is broken
  EXPECT_EQ(verdict.record(false), Change::none);
  EXPECT_EQ(verdict.record(false), Change::none);
  EXPECT_EQ(verdict.record(false), Change::fell);
  EXPECT_FALSE(verdict.healthy());
}

TEST(Verdict, NeedsTwoSuccessesAfterAFall) {
  Verdict verdict(check(1, 1), true);
  EXPECT_EQ(verdict.record(false), Change::fell);
  EXPECT_EQ(verdict.record(true), Change::none);
  EXPECT_EQ(verdict.record(true), Change::rose);
}

TEST(Verdict, NeedsRiseSuccessesWhenThatIsMore) {
  Verdict verdict(check(1, 3), false);
  EXPECT_EQ(verdict.record(true), Change::none);
  EXPECT_EQ(verdict.record(true), Change::none);
  EXPECT_EQ(verdict.record(true), Change::rose);
}

TEST(StartPause, IsAnEighthOfTheTimeOnceTheAppAnswers) {
  const auto pause = [](const spec::HealthCheck& check, Nanos running) {
    return start_pause(check, {.running_for = running, .refused = false});
  };
  const spec::HealthCheck tcp = check(3, 1);
  EXPECT_EQ(pause(tcp, Nanos{0}), Millis{5});
  EXPECT_EQ(pause(tcp, Millis{800}), Millis{100});
  EXPECT_EQ(pause(tcp, Millis{60000}), tcp.every);
}

TEST(StartPause, IsShortWhileNothingListens) {
  const auto pause = [](Nanos running) { return start_pause(check(3, 1), {.running_for = running}); };
  EXPECT_EQ(pause(Nanos{0}), Millis{1});
  EXPECT_EQ(pause(Millis{24}), Millis{3});
  EXPECT_EQ(pause(Millis{40}), Millis{5});
  EXPECT_EQ(pause(Millis{1000}), Millis{5});
  EXPECT_EQ(pause(Millis{5120}), Millis{20});
  EXPECT_EQ(pause(Millis{1'000'000}), check(3, 1).every);
}

TEST(StartPause, GrowsWithTheNumberThatStartUpToTheEighth) {
  const auto pause = [](Nanos running, int starting) {
    return start_pause(check(3, 1), {.running_for = running, .refused = true, .starting = starting});
  };
  EXPECT_EQ(pause(Nanos{0}, 1000), Millis{5});
  EXPECT_EQ(pause(Millis{800}, 5), Millis{5});
  EXPECT_EQ(pause(Millis{800}, 30), Millis{30});
  EXPECT_EQ(pause(Millis{800}, 1000), Millis{100});
}

TEST(StartPause, ACommandIsNoQuickQuestion) {
  spec::HealthCheck command;
  command.cmd = {spec::Template("./check")};
  EXPECT_EQ(start_pause(command, {}), Millis{50});
  EXPECT_EQ(start_pause(command, {.running_for = Millis{800}}), Millis{100});
  command.tcp = true;
  EXPECT_EQ(start_pause(command, {}), Millis{50});
}

TEST(StartPause, NeverExceedsAShortEvery) {
  spec::HealthCheck tcp = check(3, 1);
  tcp.every = Millis{2};
  EXPECT_EQ(start_pause(tcp, {.running_for = Millis{800}}), Millis{2});
  EXPECT_EQ(start_pause(tcp, {.running_for = Millis{800}, .refused = false}), Millis{2});
}

TEST(Probed, NotifyLogAndLifeAreSeenWithoutAsking) {
  spec::HealthCheck silent;
  silent.notify = true;
  silent.log = "ready";
  EXPECT_FALSE(probed(silent));
  EXPECT_TRUE(probed(check(3, 1)));
}

TEST(Outcome, EveryCodeHasItsRow) {
  for (int code = 0; code <= static_cast<int>(ProbeCode::error); ++code) {
    const OutcomeRow& row = outcome_row(static_cast<ProbeCode>(code));
    EXPECT_EQ(static_cast<int>(row.code), code);
    EXPECT_FALSE(row.word.empty());
    EXPECT_TRUE(row.counts || !row.healthy);
  }
}

}  // namespace
}  // namespace muster::health
