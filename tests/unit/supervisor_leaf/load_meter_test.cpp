#include "supervisor/load_meter.h"

#include <gtest/gtest.h>

namespace muster::supervisor {
namespace {

using namespace std::chrono_literals;
constexpr InstanceId one{1};

LoadMeter::Use used(Nanos cpu) {
  return {.cpu = cpu, .memory_bytes = 5};
}

TEST(LoadMeter, CpuIsARateSinceTheLastLook) {
  LoadMeter meter;
  meter.meet(one, 100ms, Instant{});
  auto load = meter.measure({{one, used(8100ms)}}, {}, Instant{} + 16s);
  EXPECT_DOUBLE_EQ(load.by_instance.at(one).cpu_percent.value(), 50);
  EXPECT_EQ(load.by_instance.at(one).memory_bytes, 5U);
  load = meter.measure({{one, used(9100ms)}}, {}, Instant{} + 26s);
  EXPECT_DOUBLE_EQ(load.by_instance.at(one).cpu_percent.value(), 10);
}

TEST(LoadMeter, WhatIsYoungIsNotMeasured) {
  LoadMeter meter;
  meter.meet(one, 0ms, Instant{} + 12s);
  EXPECT_EQ(meter.measure({{one, used(4s)}}, {}, Instant{} + 15s).by_instance.at(one).cpu_percent,
            std::nullopt);
  // Its first seconds count at the next look.
  EXPECT_DOUBLE_EQ(
      meter.measure({{one, used(9s)}}, {}, Instant{} + 30s).by_instance.at(one).cpu_percent.value(), 50);
}

TEST(LoadMeter, InFlightIsAnAverageOfTheSeconds) {
  LoadMeter meter;
  for (const std::uint64_t count : {0U, 4U, 8U}) meter.count_in_flight({{one, count}});
  EXPECT_DOUBLE_EQ(meter.measure({{one, used(0s)}}, {}, Instant{}).by_instance.at(one).in_flight.value(), 4);
  EXPECT_EQ(meter.measure({{one, used(0s)}}, {}, Instant{} + 1s).by_instance.at(one).in_flight, std::nullopt);
}

TEST(LoadMeter, TheLastRequestIsWhenOneWasCountedOrInFlight) {
  LoadMeter meter;
  const auto last = [&](std::uint64_t all, std::uint64_t in_flight, Nanos at) {
    return meter.see_requests({{one, {.all = all, .in_flight = in_flight}}}, Instant{} + at).last.at(one) -
           Instant{};
  };
  EXPECT_EQ(last(0, 0, 1s), 1s);  // from when it is known
  EXPECT_EQ(last(0, 0, 2s), 1s);
  EXPECT_EQ(last(5, 0, 3s), 3s);
  EXPECT_EQ(last(5, 1, 4s), 4s);
  EXPECT_EQ(last(5, 0, 5s), 4s);
  EXPECT_TRUE(meter.see_requests({}, Instant{} + 6s).last.empty());
  EXPECT_EQ(last(5, 0, 7s), 7s);
}

TEST(LoadMeter, ThoseThatAreGoneAreForgotten) {
  LoadMeter meter;
  meter.meet(one, 0s, Instant{});
  EXPECT_TRUE(meter.measure({}, {}, Instant{} + 15s).by_instance.empty());
  EXPECT_FALSE(meter.knows(one));
}

TEST(HostLoad, WhatTheKernelSays) {
  const HostLoad load =
      host_load("MemTotal:       24684960 kB\nMemFree:         1 kB\nMemAvailable:   1024 kB\n",
                "some avg10=1.50 avg60=0.00 avg300=0.00 total=5\nfull avg10=9.00\n");
  EXPECT_EQ(load.memory_total, 24684960ULL * 1024);
  EXPECT_EQ(load.memory_available, 1024ULL * 1024);
  EXPECT_DOUBLE_EQ(load.memory_pressure.value(), 1.5);
  const HostLoad nothing = host_load("", "");
  EXPECT_EQ(nothing.memory_total, 0U);
  EXPECT_EQ(nothing.memory_pressure, std::nullopt);
}

}  // namespace
}  // namespace muster::supervisor
