#include "lb/histogram.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace muster::lb {
namespace {

constexpr Nanos second = std::chrono::seconds{1};

double off_by(Nanos found, Nanos really) {
  return std::abs(static_cast<double>((found - really).count())) / static_cast<double>(really.count());
}

// Rounding to whole nanoseconds is in it.
constexpr double error_max = 1.0 / 9 + 0.001;

Nanos of_one(Nanos length) {
  Histogram one;
  one.add(length);
  return *one.quantile(0.5);
}

TEST(Histogram, IsOffByANinthAtMostFromAMicrosecondToAHundredSeconds) {
  double worst = 0;
  for (double length = 1000; length <= 100e9; length *= 1.0007)
    worst = std::max(worst, off_by(of_one(Nanos(std::llround(length))), Nanos(std::llround(length))));
  for (std::int64_t power = 1024; power < (std::int64_t{1} << 37); power *= 2) {
    for (const std::int64_t edge : {power, power - 1, power / 4 * 5, power / 4 * 5 - 1, power / 4 * 7})
      worst = std::max(worst, off_by(of_one(Nanos(edge)), Nanos(edge)));
  }
  EXPECT_LE(worst, error_max);
  EXPECT_GT(worst, 0.1);  // the bound is no wider than it has to be
}

TEST(Histogram, EveryLengthHasABucketAndTheyAreInOrder) {
  EXPECT_EQ(Histogram::bucket_of(Nanos(-5)), 0U);
  EXPECT_EQ(Histogram::bucket_of(Nanos(0)), 0U);
  EXPECT_EQ(Histogram::bucket_of(Histogram::finest - Nanos(1)), 0U);
  EXPECT_EQ(Histogram::bucket_of(Histogram::finest), 1U);
  EXPECT_EQ(Histogram::bucket_of(Histogram::coarsest - Nanos(1)), Histogram::bucket_count - 2);
  EXPECT_EQ(Histogram::bucket_of(Histogram::coarsest), Histogram::bucket_count - 1);
  EXPECT_EQ(Histogram::bucket_of(Nanos::max()), Histogram::bucket_count - 1);
  std::size_t before = 0;
  for (double length = 1; length < 200e9; length *= 1.01) {
    const std::size_t bucket = Histogram::bucket_of(Nanos(std::llround(length)));
    EXPECT_GE(bucket, before);
    EXPECT_LE(bucket, before + 1);
    before = bucket;
  }
}

TEST(Histogram, OutsideOfItsRangeItSaysTheEnds) {
  EXPECT_EQ(of_one(Nanos(3)), Histogram::finest);
  EXPECT_EQ(of_one(1000 * second), Histogram::coarsest);
}

TEST(Histogram, QuantilesAreThoseOfTheSortedLengths) {
  std::mt19937_64 random(42);  // NOLINT: the same each time
  std::lognormal_distribution<double> distribution(14, 2);
  Histogram histogram;
  std::vector<Nanos> lengths;
  Nanos sum{0};
  for (int i = 0; i < 20000; ++i) {
    const Nanos length(std::llround(std::clamp(distribution(random), 1e3, 1e11)));
    histogram.add(length);
    lengths.push_back(length);
    sum += length;
  }
  std::ranges::sort(lengths);
  EXPECT_EQ(histogram.count(), lengths.size());
  EXPECT_EQ(histogram.sum(), sum);
  for (const double q : {0.0, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0}) {
    const auto rank = std::max<std::size_t>(static_cast<std::size_t>(std::ceil(q * 20000)), 1);
    EXPECT_LE(off_by(*histogram.quantile(q), lengths[rank - 1]), error_max) << q;
  }
}

TEST(Histogram, MergedIsAsIfCountedInOne) {
  Histogram fast;
  Histogram slow;
  for (int i = 0; i < 90; ++i) fast.add(Millis(1));
  for (int i = 0; i < 10; ++i) slow.add(second);
  fast.merge(slow);
  EXPECT_EQ(fast.count(), 100U);
  EXPECT_EQ(fast.sum(), 90 * Millis(1) + 10 * second);
  EXPECT_LE(off_by(*fast.quantile(0.9), Millis(1)), error_max);
  EXPECT_LE(off_by(*fast.quantile(0.91), second), error_max);
}

TEST(Histogram, OfNothingHasNoQuantile) {
  EXPECT_FALSE(Histogram().quantile(0.5).has_value());
}

}  // namespace
}  // namespace muster::lb
