#include "base/result.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

namespace muster {
namespace {

Result<int> half(int number) {
  if (number % 2 != 0) return Error{.message = "odd", .code = ExitCode::usage};
  return number / 2;
}

TEST(Result, CarriesTheValue) {
  const Result<int> result = half(8);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result.value(), 4);
}

TEST(Result, CarriesTheError) {
  const Result<int> result = half(7);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message, "odd");
  EXPECT_EQ(result.error().code, ExitCode::usage);
}

TEST(Result, MovesItsValueOut) {
  Result<std::unique_ptr<int>> result = std::make_unique<int>(3);
  const std::unique_ptr<int> taken = std::move(result).value();
  EXPECT_EQ(*taken, 3);
}

TEST(Result, StatusIsOkWithUnit) {
  const Status status = Unit{};
  EXPECT_TRUE(status.ok());
}

TEST(ResultDeathTest, ValueOfAnErrorIsABug) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Result<int> result = half(7);
  EXPECT_DEATH((void)result.value(), "check failed");
}

TEST(ResultDeathTest, ErrorOfAValueIsABug) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Result<int> result = half(8);
  EXPECT_DEATH((void)result.error(), "check failed");
}

}  // namespace
}  // namespace muster
