#include "lb/coalescing.h"

#include <gtest/gtest.h>

namespace muster::lb {
namespace {

using namespace std::chrono_literals;
using std::chrono::microseconds;

constexpr int always = 10'000;

class CoalescingTest : public testing::Test {
 protected:
  // Rounds of such a length until it is on; `always`: it never was.
  int rounds_until_on(microseconds length) {
    int rounds = 0;
    while (!coalescing.is_on() && rounds < always) {
      coalescing.came_round(now += length);
      ++rounds;
    }
    return rounds;
  }
  // Pauses, with so much work after each, until it is off; `always`: it stayed on.
  int pauses_until_off(microseconds work) {
    int pauses = 0;
    while (coalescing.should_pause(now += work) && pauses < always) {
      coalescing.went_on(now += Coalescing::pause);
      ++pauses;
    }
    return pauses;
  }
  // Of a thread that is busy for such a share of its time: what comes in while it pauses, and while it works on that.
  int pauses_until_off_at(double busy) {
    double work = 0;
    int pauses = 0;
    while (coalescing.should_pause(now += microseconds(static_cast<int>(work))) && pauses < always) {
      work = busy * (work + static_cast<double>(Coalescing::pause.count()));
      coalescing.went_on(now += Coalescing::pause);
      ++pauses;
    }
    return pauses;
  }

  Instant now{1h};
  Coalescing coalescing;
};

TEST_F(CoalescingTest, WhereEventsAreRareEachIsSeenAtOnce) {
  EXPECT_FALSE(coalescing.is_on());
  EXPECT_EQ(rounds_until_on(101us), always);
}

TEST_F(CoalescingTest, DenseRoundsTurnItOnAndMuchWorkKeepsItOn) {
  EXPECT_LT(rounds_until_on(50us), 100);
  EXPECT_EQ(pauses_until_off(200us), always);
}

TEST_F(CoalescingTest, AThreadBusyForTwoThirdsPausesFromItsFirstTrialOn) {
  rounds_until_on(50us);
  EXPECT_EQ(pauses_until_off_at(0.67), always);
}

TEST_F(CoalescingTest, AThreadBusyForHalfDoesNot) {
  rounds_until_on(50us);
  EXPECT_LT(pauses_until_off_at(0.5), 20);
}

TEST_F(CoalescingTest, ALongRoundAmongDenseOnesIsNoSilence) {
  for (int i = 0; i < 1000 && !coalescing.is_on(); ++i)
    coalescing.came_round(now += i % 10 == 0 ? 500us : 20us);
  EXPECT_TRUE(coalescing.is_on());
}

TEST_F(CoalescingTest, ASilenceIsNotMadeUpForByWhatWasDenseBefore) {
  rounds_until_on(10us);
  while (coalescing.should_pause(now)) coalescing.went_on(now);
  for (int i = 0; i < 63; ++i) coalescing.came_round(now += 10us);
  coalescing.came_round(now += 1s);
  EXPECT_FALSE(coalescing.is_on());
}

TEST_F(CoalescingTest, TimeWithoutWorkIsNoWork) {
  rounds_until_on(50us);
  int pauses = 0;
  while (coalescing.should_pause(now) && pauses < always) {
    coalescing.went_on(now += 10s);  // nobody asked for anything
    ++pauses;
  }
  EXPECT_LT(pauses, 10);
}

TEST_F(CoalescingTest, LittleWorkTurnsItOffSoonAndEachTrialIsTwiceAsFarAway) {
  rounds_until_on(50us);
  EXPECT_LT(pauses_until_off(10us), 10);
  int before = rounds_until_on(50us);
  for (int trial = 0; trial < 6; ++trial) {
    EXPECT_LT(pauses_until_off(10us), 10);
    const int rounds = rounds_until_on(50us);
    EXPECT_EQ(rounds, 2 * before);
    before = rounds;
  }
  pauses_until_off(10us);
  EXPECT_EQ(rounds_until_on(50us), before) << "there is a most";
}

TEST_F(CoalescingTest, AfterATimeThatItWasOfUseItIsTriedSoonAgain) {
  rounds_until_on(50us);
  for (int trial = 0; trial < 4; ++trial) {
    pauses_until_off(10us);
    rounds_until_on(50us);
  }
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(coalescing.should_pause(now += 300us));
    coalescing.went_on(now += Coalescing::pause);
  }
  pauses_until_off(0us);
  EXPECT_LT(rounds_until_on(50us), 100);
}

}  // namespace
}  // namespace muster::lb
