#include "lb/retry.h"

#include <gtest/gtest.h>

namespace muster::lb {
namespace {

using namespace std::chrono_literals;

TEST(TryAgain, AnIdempotentRequestEvenWhenItWasWritten) {
  EXPECT_TRUE(may_try_again({.idempotent = true, .wrote_anything = true}));
  EXPECT_TRUE(may_try_again({.idempotent = true}));
}

TEST(TryAgain, AnyOtherOnlyWhileNoByteOfItWasWritten) {
  EXPECT_TRUE(may_try_again({.idempotent = false, .wrote_anything = false}));
  EXPECT_FALSE(may_try_again({.idempotent = false, .wrote_anything = true}));
}

TEST(TryAgain, NeverWhatIsNoLongerThere) {
  EXPECT_FALSE(may_try_again({.idempotent = true, .replayable = false}));
}

TEST(TryAgain, NeverAfterTheClientHasHeardOfIt) {
  EXPECT_FALSE(may_try_again({.idempotent = true, .answer_begun = true}));
  EXPECT_FALSE(may_try_again({.idempotent = true, .interim_sent = true}));
}

TEST(Reuse, ARequestThatMustNotBeSentTwiceNeverRidesAConnectionIdleForFourSeconds) {
  EXPECT_EQ(reuse_limit(60s, false), 4s);
  EXPECT_EQ(reuse_limit(60s, true), 60s);
  EXPECT_EQ(reuse_limit(1s, false), 1s);
  EXPECT_EQ(reuse_limit(4s, true), 4s);
}

}  // namespace
}  // namespace muster::lb
