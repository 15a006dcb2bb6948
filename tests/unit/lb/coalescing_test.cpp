#include "lb/coalescing.h"

#include <gtest/gtest.h>

namespace muster::lb {
namespace {

using namespace std::chrono_literals;

class CoalescingTest : public testing::Test {
 protected:
  // Rounds of such a length until it is on. 10,000: it never was.
  int rounds_until_on(std::chrono::microseconds length) {
    int rounds = 0;
    while (!coalescing.is_on() && rounds < 10'000) {
      coalescing.came_round(now += length);
      ++rounds;
    }
    return rounds;
  }
  // Pauses that bring so many events, until it is off. 10,000: it always stayed on.
  int pauses_until_off(std::size_t events) {
    int pauses = 0;
    while (coalescing.is_on() && pauses < 10'000) {
      coalescing.paused(events, now += Coalescing::pause);
      ++pauses;
    }
    return pauses;
  }

  Instant now{1h};
  Coalescing coalescing;
};

TEST_F(CoalescingTest, WhereEventsAreRareEachIsSeenAtOnce) {
  EXPECT_FALSE(coalescing.is_on());
  EXPECT_EQ(rounds_until_on(101us), 10'000);
}

TEST_F(CoalescingTest, DenseRoundsTurnItOnAndManyEventsKeepItOn) {
  rounds_until_on(50us);
  EXPECT_TRUE(coalescing.is_on());
  EXPECT_EQ(pauses_until_off(8), 10'000);
}

TEST_F(CoalescingTest, OneLongRoundAmongDenseOnesIsNoSilence) {
  for (int i = 0; i < 1000 && !coalescing.is_on(); ++i)
    coalescing.came_round(now += i % 10 == 0 ? 500us : 20us);
  EXPECT_TRUE(coalescing.is_on());
}

TEST_F(CoalescingTest, ASilenceIsNotMadeUpForByWhatWasDenseBefore) {
  for (int i = 0; i < 31; ++i) coalescing.came_round(now += 10us);
  coalescing.came_round(now += 1s);
  EXPECT_FALSE(coalescing.is_on());
}

TEST_F(CoalescingTest, APauseMayBringFewEventsAtFirst) {
  rounds_until_on(50us);
  // What a busy thread sees: each pause also gathers what came while the last ones' events were worked on.
  for (const std::size_t events : {5U, 8U, 9U, 10U, 12U, 13U}) coalescing.paused(events, now += 100us);
  EXPECT_TRUE(coalescing.is_on());
}

TEST_F(CoalescingTest, FewEventsTurnItOffSoonAndEachTrialIsTwiceAsFarAway) {
  rounds_until_on(50us);
  EXPECT_LE(pauses_until_off(1), 3);
  int before = rounds_until_on(50us);
  for (int trial = 0; trial < 6; ++trial) {
    EXPECT_LE(pauses_until_off(1), 3);
    const int rounds = rounds_until_on(50us);
    EXPECT_GE(rounds, 2 * before);
    before = rounds;
  }
  pauses_until_off(1);
  EXPECT_LE(rounds_until_on(50us), before) << "there is a most";
}

TEST_F(CoalescingTest, AfterATimeThatItWasOfUseItIsTriedSoonAgain) {
  const int first = rounds_until_on(50us);
  for (int trial = 0; trial < 4; ++trial) {
    pauses_until_off(1);
    rounds_until_on(50us);
  }
  for (int i = 0; i < 100; ++i) coalescing.paused(30, now += 300us);
  EXPECT_TRUE(coalescing.is_on());
  pauses_until_off(0);
  EXPECT_LE(rounds_until_on(50us), first);
}

}  // namespace
}  // namespace muster::lb
