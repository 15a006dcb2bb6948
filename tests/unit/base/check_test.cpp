#include "base/check.h"

#include <gtest/gtest.h>

namespace muster {
namespace {

TEST(Check, PassesWhatHoldsAndEvaluatesItOnce) {
  int evaluations = 0;
  MUSTER_CHECK(++evaluations == 1);
  EXPECT_EQ(evaluations, 1);
}

TEST(CheckDeathTest, EndsTheProcessWithConditionFileAndLine) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const bool holds = false;
  EXPECT_DEATH(MUSTER_CHECK(holds), "bug: check failed at .*check_test\\.cpp:[0-9]+: holds");
}

}  // namespace
}  // namespace muster
