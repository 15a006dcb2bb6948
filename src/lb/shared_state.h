// What traffic threads share: round-robin cursors and counters. It outlives snapshots, so a reload or a health flip
// that leaves the ready set as it was changes nothing in whose turn it is. No locks; counters have one writer each,
// on a cache line of its own, and are read by the control thread.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "lb/balancer.h"
#include "lb/capacity.h"
#include "lb/ejection.h"
#include "lb/histogram.h"
#include "lb/places.h"

namespace muster::lb {

inline constexpr std::size_t cache_line_bytes = 64;

// Written by one thread, read by others.
class Counter {
 public:
  void add(std::uint64_t amount = 1) noexcept { value_.store(get() + amount, std::memory_order_relaxed); }
  void subtract(std::uint64_t amount = 1) noexcept {
    value_.store(get() - amount, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t get() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

// Exact over all threads: turns are handed out by one counter. A retry takes the next turn like any request, so the
// replicas that are left share a dead one's turns evenly.
class RoundRobin {
 public:
  // `count` > 0.
  std::size_t next(std::size_t count) noexcept {
    return static_cast<std::size_t>(turn_.fetch_add(1, std::memory_order_relaxed) % count);
  }

 private:
  alignas(cache_line_bytes) std::atomic<std::uint64_t> turn_{0};
};

// By the first digit of the status.
class ResponseCounters {
 public:
  void add(int status) noexcept {
    classes_[static_cast<std::size_t>(std::clamp(status / 100, 1, 5) - 1)].add();
  }
  void add_to(StatusClasses& sum) const noexcept {
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += classes_[i].get();
  }

 private:
  std::array<Counter, std::tuple_size_v<StatusClasses>> classes_;
};

// A length with its place in a histogram, for what is counted in several.
struct PlacedLength {
  explicit PlacedLength(Nanos length) noexcept
      : bucket(Histogram::bucket_of(length)),
        nanos(static_cast<std::uint64_t>(std::max<Nanos::rep>(length.count(), 0))) {}
  std::size_t bucket;
  std::uint64_t nanos;
};

// A Histogram that one thread counts in while others read.
class LatencyCounters {
 public:
  void add(const PlacedLength& length) noexcept {
    buckets_[length.bucket].add();
    sum_.add(length.nanos);
  }
  void add_to(Histogram& sum) const noexcept {
    for (std::size_t i = 0; i < buckets_.size(); ++i) sum.add(i, buckets_[i].get(), Nanos::zero());
    sum.add(0, 0, Nanos(static_cast<Nanos::rep>(sum_.get())));
  }

 private:
  std::array<Counter, Histogram::bucket_count> buckets_;
  Counter sum_;  // nanoseconds
};

struct alignas(cache_line_bytes) InstanceCounters {
  Counter in_flight;
  Counter requests;
  Counter bytes_to;
  Counter bytes_from;
  Counter failures;
  Counter retries;
  ResponseCounters responses;
  LatencyCounters first_byte;
  LatencyCounters total;
};

struct SharedInstance {
  SharedInstance(Endpoint e, std::size_t threads) : endpoint(std::move(e)), per_thread(threads) {}
  const Endpoint endpoint;
  std::vector<InstanceCounters> per_thread;
  Ejection ejection;
  std::mutex admission;  // of requests that count against a limit: who looks at in_flight() to add to it

  [[nodiscard]] std::uint64_t in_flight() const noexcept {  // on all threads
    std::uint64_t sum = 0;
    for (const InstanceCounters& counters : per_thread) sum += counters.in_flight.get();
    return sum;
  }
};

struct alignas(cache_line_bytes) ListenerCounters {
  Counter connections;
  Counter requests;
  Counter bytes_in;
  Counter bytes_out;
  Counter retries;
  Counter queued;
  Counter refused;
  ResponseCounters responses;
  LatencyCounters first_byte;
  LatencyCounters total;
};

struct SharedListener {
  SharedListener(std::string n, std::size_t threads)
      : name(std::move(n)), per_thread(threads), places([this] { return connections(); }) {}
  const std::string name;
  std::vector<ListenerCounters> per_thread;
  Places places;

  [[nodiscard]] std::uint64_t connections() const noexcept {  // on all threads
    std::uint64_t sum = 0;
    for (const ListenerCounters& counters : per_thread) sum += counters.connections.get();
    return sum;
  }
  // Whose turn it is among the routes of a host and path. Of the control thread.
  std::shared_ptr<RoundRobin> turns_of(const std::string& host_and_path) {
    std::shared_ptr<RoundRobin>& turns = turns_[host_and_path];
    if (!turns) turns = std::make_shared<RoundRobin>();
    return turns;
  }
  // Where requests to an app wait for one of its replicas to be free. Of the control thread.
  std::shared_ptr<Capacity> capacity_of(const std::string& app) {
    std::shared_ptr<Capacity>& capacity = capacities_[app];
    if (!capacity) capacity = std::make_shared<Capacity>();
    return capacity;
  }
  alignas(cache_line_bytes) std::atomic<int> queued{0};  // requests that wait for a replica, on all threads

 private:
  std::map<std::string, std::shared_ptr<RoundRobin>> turns_;
  std::map<std::string, std::shared_ptr<Capacity>> capacities_;
};

// Calls `done` when every traffic thread has reported.
class Rendezvous {
 public:
  Rendezvous(std::size_t threads, std::function<void()> done) : left_(threads), done_(std::move(done)) {}
  void arrive() {
    if (left_.fetch_sub(1, std::memory_order_acq_rel) == 1) done_();
  }

 private:
  std::atomic<std::size_t> left_;
  const std::function<void()> done_;
};

// The same, with the sum of what they report.
class Tally {
 public:
  Tally(std::size_t threads, std::function<void(std::uint64_t)> done)
      : left_(threads), done_(std::move(done)) {}
  void arrive(std::uint64_t amount) {
    sum_.fetch_add(amount, std::memory_order_relaxed);
    if (left_.fetch_sub(1, std::memory_order_acq_rel) == 1) done_(sum_.load(std::memory_order_relaxed));
  }

 private:
  std::atomic<std::uint64_t> sum_{0};
  std::atomic<std::size_t> left_;
  const std::function<void(std::uint64_t)> done_;
};

}  // namespace muster::lb
