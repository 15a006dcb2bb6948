// How long things took, in fixed memory: a log-linear histogram, four buckets to each doubling. Pure.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/time.h"

namespace muster::lb {

class Histogram {
 public:
  static constexpr Nanos finest{512};                       // all below are alike
  static constexpr Nanos coarsest{std::int64_t{1} << 37U};  // 137 s; all from here on are alike
  static constexpr std::size_t bucket_count = 1 + 28 * 4 + 1;

  static constexpr std::size_t bucket_of(Nanos length) noexcept {
    const auto n = static_cast<std::uint64_t>(std::max<Nanos::rep>(length.count(), 0));
    if (n < static_cast<std::uint64_t>(finest.count())) return 0;
    if (n >= static_cast<std::uint64_t>(coarsest.count())) return bucket_count - 1;
    // The leading bit is the doubling, the next two the bucket in it.
    const auto leading_zeros = static_cast<unsigned>(std::countl_zero(n));  // 27 to 54
    return 1 + std::size_t{54 - leading_zeros} * 4 + ((n << leading_zeros) >> 61U & 3U);
  }

  void add(Nanos length) noexcept { add(bucket_of(length), 1, length); }
  // `count` lengths of one bucket whose sum is `sum`.
  void add(std::size_t bucket, std::uint64_t count, Nanos sum) noexcept {
    buckets_[bucket] += count;
    count_ += count;
    sum_ += sum;
  }
  void merge(const Histogram& other) noexcept;

  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
  [[nodiscard]] Nanos sum() const noexcept { return sum_; }
  // The length that a share of `q` (0 to 1) does not exceed, by nearest rank, off by at most 1/9 of itself between
  // `finest` and `coarsest`; outside of them one of the two. None when nothing was counted.
  [[nodiscard]] std::optional<Nanos> quantile(double q) const noexcept;

 private:
  std::array<std::uint64_t, bucket_count> buckets_{};
  std::uint64_t count_ = 0;
  Nanos sum_{0};
};

}  // namespace muster::lb
