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

TEST(ProbePause, GrowsWithTheTimeOfTheStartUpToEvery) {
  const spec::HealthCheck tcp = check(3, 1);
  EXPECT_EQ(probe_pause(tcp, false, Nanos{0}), Millis{5});
  EXPECT_EQ(probe_pause(tcp, false, Millis{800}), Millis{100});
  EXPECT_EQ(probe_pause(tcp, false, Millis{60000}), tcp.every);
  EXPECT_EQ(probe_pause(tcp, true, Nanos{0}), tcp.every);
  spec::HealthCheck command;
  command.cmd = {spec::Template("./check")};
  EXPECT_EQ(probe_pause(command, false, Nanos{0}), Millis{50});
}

TEST(ProbePause, NeverExceedsAShortEvery) {
  spec::HealthCheck tcp = check(3, 1);
  tcp.every = Millis{2};
  EXPECT_EQ(probe_pause(tcp, false, Nanos{0}), Millis{2});
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
