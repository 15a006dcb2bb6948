#include "lb/histogram.h"

#include <cmath>

namespace muster::lb {

namespace {
// Off by the same share at both ends of the bucket [a, b): (b - a) / (a + b), which is 1/9 for the widest, b = 5a/4.
Nanos middle_of(std::size_t bucket) {
  const std::size_t doubling = (bucket - 1) / 4 + 9;
  const double step = std::ldexp(1.0, static_cast<int>(doubling) - 2);
  const double a = step * static_cast<double>(4 + (bucket - 1) % 4);
  const double b = a + step;
  return Nanos(std::llround(2 * a * b / (a + b)));
}
}  // namespace

void Histogram::merge(const Histogram& other) noexcept {
  for (std::size_t i = 0; i < bucket_count; ++i) buckets_[i] += other.buckets_[i];
  count_ += other.count_;
  sum_ += other.sum_;
}

std::optional<Nanos> Histogram::quantile(double q) const noexcept {
  if (count_ == 0) return std::nullopt;
  const double share = std::clamp(q, 0.0, 1.0) * static_cast<double>(count_);
  const auto rank = std::clamp(static_cast<std::uint64_t>(std::ceil(share)), std::uint64_t{1}, count_);
  std::uint64_t seen = buckets_[0];
  std::size_t bucket = 0;
  while (seen < rank) seen += buckets_[++bucket];
  if (bucket == 0) return finest;
  if (bucket == bucket_count - 1) return coarsest;
  return middle_of(bucket);
}

}  // namespace muster::lb
