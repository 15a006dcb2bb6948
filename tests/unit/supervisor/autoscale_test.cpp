#include "supervisor/autoscale.h"

#include <cmath>
#include <random>

#include "gmock/gmock.h"
#include "unit/supervisor/host.h"

namespace muster::sim {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr Nanos look_every = autoscale_every;
const HostRoom all_room{.more = 1'000'000, .why = ""};

spec::Scale scale_of(int min, int max, Millis window = Millis{300'000}) {
  return spec::Scale{
      .min = min, .max = max, .cpu = 50, .in_flight = std::nullopt, .window = window, .cooldown = Millis{0}};
}

MetricLoad cpu(const std::vector<std::optional<double>>& values, int unready = 0, double target = 50) {
  MetricLoad metric{
      .name = "cpu", .unit = " %", .target = target, .missing_down = std::max(100.0, target), .replicas = {}};
  for (const auto& value : values) metric.replicas.push_back({.ready = true, .value = value});
  for (int index = 0; index < unready; ++index)
    metric.replicas.push_back({.ready = false, .value = std::nullopt});
  return metric;
}

constexpr std::optional<double> none = std::nullopt;

TEST(Autoscale, ReplicasRiseAndFallWithTheRatio) {
  EXPECT_EQ(recommended(cpu({100, 100}), 2), 4);
  EXPECT_EQ(recommended(cpu({25, 25, 25, 25}), 4), 2);
  EXPECT_EQ(recommended(cpu({60, 60}), 2), 3);   // ceil(2.4)
  EXPECT_EQ(recommended(cpu({90, 10}), 2), 2);   // the average counts
  EXPECT_EQ(recommended(cpu({0, 0, 0}), 3), 0);  // min is the caller's
}

TEST(Autoscale, WithinATenthNothingChanges) {
  EXPECT_EQ(recommended(cpu({55, 55}), 2), 2);
  EXPECT_EQ(recommended(cpu({45, 45}), 2), 2);
  EXPECT_EQ(recommended(cpu({56, 56}), 2), 3);
  EXPECT_EQ(recommended(cpu({44.9, 44.9, 44.9, 44.9, 44.9, 44.9, 44.9, 44.9, 44.9, 44.9}), 10), 9);
}

TEST(Autoscale, WhatIsNotMeasuredTurnsNoDirection) {
  // Up: as if idle.
  EXPECT_EQ(recommended(cpu({150, 150, none}), 3), 6);
  EXPECT_EQ(recommended(cpu({60, 60, none}), 3), 3);
  EXPECT_EQ(recommended(cpu({150}, 1), 2), 3);
  EXPECT_EQ(recommended(cpu({60}, 3), 4), 4);
  // Down: as if fully loaded; those that are not ready do not count.
  EXPECT_EQ(recommended(cpu({10, 10, none}), 3), 3);
  EXPECT_EQ(recommended(cpu({10, 10, 10, 10, none}), 5), 3);
  EXPECT_EQ(recommended(cpu({10, 10}, 2), 4), 1);
  EXPECT_EQ(recommended(cpu({none, none}), 2), std::nullopt);
  EXPECT_EQ(recommended(cpu({}, 2), 2), std::nullopt);
}

TEST(Autoscale, TheLargestOfAllMetricsWins) {
  MetricLoad flight = cpu({8, 8}, 0, 2);
  flight.name = "in_flight";
  flight.unit = "";
  Autoscaler scaler;
  const auto verdict = scaler.look(scale_of(1, 20), {cpu({60, 60}), flight}, 2, all_room, Instant{});
  EXPECT_EQ(verdict.replicas, 6);  // 8 by in_flight, 4 more at once
  EXPECT_EQ(verdict.why, "in_flight is 8 on average of 2 ready, target 2");
}

TEST(Autoscale, OneMetricWithoutAMeasurementKeepsWhatThereIs) {
  Autoscaler scaler;
  MetricLoad flight = cpu({none, none, none, none}, 0, 2);
  EXPECT_EQ(
      scaler.look(scale_of(1, 20, Millis{0}), {cpu({1, 1, 1, 1}), flight}, 4, all_room, Instant{}).replicas,
      4);
  EXPECT_EQ(scaler.look(scale_of(1, 20), {flight}, 4, all_room, Instant{}).why, "nothing was measured");
}

TEST(Autoscale, UpByAsManyAsThereAreOrFourInFifteenSeconds) {
  Autoscaler scaler;
  const spec::Scale scale = scale_of(1, 100);
  std::vector<int> course;
  int replicas = 1;
  Instant now{};
  for (int look = 0; look < 5; ++look, now += look_every) {
    replicas = scaler
                   .look(scale,
                         {cpu(std::vector<std::optional<double>>(static_cast<std::size_t>(replicas),
                                                                 5000.0 / replicas))},
                         replicas, all_room, now)
                   .replicas;
    course.push_back(replicas);
  }
  EXPECT_THAT(course, ElementsAre(5, 10, 20, 40, 80));
}

TEST(Autoscale, TwoLooksWithinFifteenSecondsShareTheRate) {
  Autoscaler scaler;
  const spec::Scale scale = scale_of(1, 100);
  EXPECT_EQ(scaler.look(scale, {cpu({5000})}, 1, all_room, Instant{}).replicas, 5);
  EXPECT_EQ(scaler.look(scale, {cpu({1000, 1000, 1000, 1000, 1000})}, 5, all_room, Instant{} + 5s).replicas,
            5);
}

TEST(Autoscale, DownOnlyWhenTheWholeWindowNeededFewer) {
  Autoscaler scaler;
  const spec::Scale scale = scale_of(1, 10, Millis{60'000});
  Instant now{};
  EXPECT_EQ(scaler.look(scale, {cpu({50, 50, 50, 50})}, 4, all_room, now).replicas, 4);
  for (int look = 1; look <= 4; ++look) {
    const auto verdict = scaler.look(scale, {cpu({5, 5, 5, 5})}, 4, all_room, now + look * look_every);
    EXPECT_EQ(verdict.replicas, 4) << look;
    EXPECT_THAT(verdict.why, HasSubstr("more were needed within the last 60 s"));
  }
  EXPECT_EQ(scaler.look(scale, {cpu({5, 5, 5, 5})}, 4, all_room, now + 5 * look_every).replicas, 1);
}

TEST(Autoscale, NothingWithinTheCooldown) {
  Autoscaler scaler;
  spec::Scale scale = scale_of(1, 100);
  scale.cooldown = Millis{60'000};
  EXPECT_EQ(scaler.look(scale, {cpu({100})}, 1, all_room, Instant{}).replicas, 2);
  const auto soon = scaler.look(scale, {cpu({100, 100})}, 2, all_room, Instant{} + 30s);
  EXPECT_EQ(soon.replicas, 2);
  EXPECT_THAT(soon.why, HasSubstr("cooldown"));
  EXPECT_EQ(scaler.look(scale, {cpu({100, 100})}, 2, all_room, Instant{} + 60s).replicas, 4);
}

TEST(Autoscale, MinAndMaxHold) {
  Autoscaler scaler;
  const auto most = scaler.look(scale_of(2, 3), {cpu({500, 500})}, 2, all_room, Instant{});
  EXPECT_EQ(most.replicas, 3);
  EXPECT_THAT(most.why, HasSubstr("`max` is 3"));
  EXPECT_EQ(scaler.look(scale_of(2, 3, Millis{0}), {cpu({0, 0, 0})}, 3, all_room, Instant{} + 1h).replicas,
            2);
}

TEST(Autoscale, WhatWasNeededIsRememberedWithoutTheBounds) {
  Autoscaler scaler;
  const auto held = scaler.look(scale_of(3, 8, Millis{60'000}), {cpu({5, 5, 5})}, 3, all_room, Instant{});
  EXPECT_EQ(held.replicas, 3);
  EXPECT_THAT(held.why, Not(HasSubstr("more were needed")));
  const auto after =
      scaler.look(scale_of(1, 8, Millis{60'000}), {cpu({5, 5, 5})}, 3, all_room, Instant{} + 15s);
  EXPECT_EQ(after.replicas, 1);
}

TEST(Autoscale, TheHostsMemoryBoundsTheWayUp) {
  constexpr std::uint64_t mib = 1U << 20U;
  const HostLoad host{.memory_total = 1000 * mib, .memory_available = 350 * mib, .memory_pressure = 0};
  const HostRoom room = host_room(host, 100 * mib, 0);
  EXPECT_EQ(room.more, 2);  // 350 - 100 that are kept
  Autoscaler scaler;
  const auto verdict = scaler.look(scale_of(1, 100), {cpu({500})}, 1, room, Instant{});
  EXPECT_EQ(verdict.replicas, 3);
  EXPECT_TRUE(verdict.is_held_back);
  EXPECT_THAT(verdict.why, HasSubstr("; 5 are needed, but the host has 350 MiB of memory available, a "
                                     "replica takes 100 MiB and a tenth"));
  // Those that are wanted already will take theirs.
  EXPECT_EQ(host_room(host, 100 * mib, 1).more, 1);
  EXPECT_THAT(host_room(host, 100 * mib, 1).why,
              HasSubstr("a replica takes 100 MiB, 1 are not ready yet and"));
  EXPECT_EQ(host_room(host, 100 * mib, 7).more, 0);
  EXPECT_EQ(
      host_room({.memory_total = 1000 * mib, .memory_available = 50 * mib, .memory_pressure = 0}, mib, 0)
          .more,
      0);
  EXPECT_EQ(
      host_room({.memory_total = 1000 * mib, .memory_available = 900 * mib, .memory_pressure = 25}, mib, 0)
          .more,
      0);
  // What is not known bounds nothing.
  EXPECT_GT(host_room(HostLoad{}, 100 * mib, 0).more, 1000);
  EXPECT_GT(host_room(host, 0, 0).more, 1000);
}

// A reference that is as short as the documents: without rates, windows and what is not measured.
int reference(double total, int replicas, double target, int min, int max) {
  const double ratio = total / replicas / target;
  const int wanted =
      std::abs(ratio - 1) <= 0.1 ? replicas : static_cast<int>(std::ceil(ratio * replicas - 1e-9));
  return std::clamp(wanted, min, max);
}

TEST(Autoscale, ReachesAndKeepsWhatTheFormulaSays) {
  std::mt19937_64 random(3);
  for (int run = 0; run < 500; ++run) {
    const auto pick = [&](int low, int high) {
      return low + static_cast<int>(random() % static_cast<std::uint64_t>(high - low + 1));
    };
    const int min = pick(1, 4);
    const int max = min + pick(0, 30);
    const double total = pick(0, 4000);
    spec::Scale scale = scale_of(min, max, Millis{pick(0, 8) * 15'000});
    Autoscaler scaler;
    int replicas = pick(min, max);
    int still = 0;
    for (int look = 0; look < 60; ++look) {
      const std::vector<std::optional<double>> values(static_cast<std::size_t>(replicas), total / replicas);
      const int next =
          scaler.look(scale, {cpu(values)}, replicas, all_room, Instant{} + look * look_every).replicas;
      ASSERT_GE(next, min);
      ASSERT_LE(next, max);
      still = next == replicas ? still + 1 : 0;
      replicas = next;
    }
    // Constant load: it has come to rest, where the formula rests.
    EXPECT_GT(still, 20) << "run " << run;
    EXPECT_EQ(replicas, reference(total, replicas, 50, min, max)) << "run " << run << ", total " << total;
  }
}

TEST(Autoscale, MoreLoadNeverMeansFewer) {
  for (int replicas = 1; replicas < 12; ++replicas) {
    int before = 0;
    for (double total = 0; total < 3000; total += 7) {
      const std::vector<std::optional<double>> values(static_cast<std::size_t>(replicas), total / replicas);
      const int wanted = *recommended(cpu(values), replicas);
      EXPECT_GE(wanted, before) << replicas << " at " << total;
      before = wanted;
    }
  }
}

// Whatever is measured on so many cores, cpu never asks for more replicas than would bring all of them to the target.
TEST(Autoscale, TheCoresBoundWhatCpuAsksFor) {
  std::mt19937 random(11);
  for (int run = 0; run < 2000; ++run) {
    const int cores = std::uniform_int_distribution(1, 16)(random);
    const double target = std::uniform_int_distribution(1, 200)(random);
    const int most = static_cast<int>(std::ceil(cores * 100 / target));
    std::vector<std::optional<double>> values;
    double left = cores * 100.0;
    const int ready = std::uniform_int_distribution(1, 8)(random);
    for (int index = 0; index < ready; ++index) {
      values.emplace_back(std::uniform_real_distribution(0.0, left)(random));
      left -= *values.back();
    }
    if (run % 3 == 0) values.emplace_back(none);
    const int unready = run % 5 == 0 ? 2 : 0;
    const int current = static_cast<int>(values.size()) + unready;
    EXPECT_LE(*recommended(cpu(values, unready, target), current), std::max(most, current))
        << "run " << run << ": " << cores << " cores, target " << target;
  }
}

// --- with the planner

spec::App scaled_app() {
  spec::App web = port_app("web", 2);
  web.scale = scale_of(2, 8, Millis{30'000});
  return web;
}

LoadMeasured load(Host& host, double total) {
  LoadMeasured event;
  const int ready = host.ready("web");
  for (const Process* process : host.processes("web")) {
    LoadSample sample;
    sample.cpu_percent = total / ready;
    sample.memory_bytes = 1U << 20U;
    event.by_instance[process->id] = sample;
  }
  return event;
}

TEST(ScaledByLoad, RisesAndFallsWithIt) {
  Host host(spec_of({scaled_app()}, {listener("front", "web")}));
  ASSERT_TRUE(host.settle());
  EXPECT_TRUE(host.planner().wants_load());
  for (int look = 0; look < 3; ++look) {
    host.send(load(host, 300));
    host.advance(15s);
  }
  EXPECT_EQ(host.ready("web"), 6);
  EXPECT_EQ(host.routed("web").size(), 6U);
  EXPECT_THAT(host.notes("scale").front(),
              HasSubstr("2 -> 6 replicas: cpu is 150 % of a core on average of 2 ready"));
  for (int look = 0; look < 4; ++look) {
    host.send(load(host, 30));
    host.advance(15s);
  }
  EXPECT_EQ(host.ready("web"), 2);
}

TEST(ScaledByLoad, MemoryCountsInPercentOfItsLimit) {
  spec::App web = scaled_app();
  web.scale->cpu.reset();
  web.scale->memory = 50;
  web.limits.memory = 2U << 20U;
  Host host(spec_of({web}));
  ASSERT_TRUE(host.settle());
  EXPECT_TRUE(host.planner().wants_load());
  LoadMeasured event = load(host, 0);
  host.send(event);  // half of it: as it should be
  host.advance(15s);
  EXPECT_EQ(host.ready("web"), 2);
  for (auto& [id, sample] : event.by_instance) sample.memory_bytes = (2U << 20U) * 9U / 10U;
  host.send(event);
  host.advance(15s);
  EXPECT_EQ(host.ready("web"), 4);
  EXPECT_THAT(host.notes("scale").front(),
              HasSubstr("2 -> 4 replicas: memory is 90 % on average of 2 ready, target 50 %"));
}

TEST(ScaledByLoad, CpuCountsInPercentOfItsLimitWhereItHasOne) {
  spec::App web = scaled_app();
  web.limits.cpu = 0.5;
  Host host(spec_of({web}));
  ASSERT_TRUE(host.settle());
  host.send(load(host, 50));  // half of what they may have, as they should
  host.advance(15s);
  EXPECT_EQ(host.ready("web"), 2);
  host.send(load(host, 90));
  host.advance(15s);
  EXPECT_EQ(host.ready("web"), 4);
  EXPECT_THAT(host.notes("scale").front(), HasSubstr("cpu is 90 % of limits.cpu on average of 2 ready"));
}

TEST(ScaledByLoad, AHoldByHandWins) {
  Host host(spec_of({scaled_app()}));
  ASSERT_TRUE(host.settle());
  host.scale("web", 3);
  ASSERT_TRUE(host.settle());
  EXPECT_FALSE(host.planner().wants_load());
  host.send(load(host, 400));
  host.advance(15s);
  EXPECT_EQ(host.ready("web"), 3);
  EXPECT_EQ(hold_text(host.app("web")), "scaled to 3 by hand, the file says 2 to 8");
  host.scale("web", std::nullopt);
  ASSERT_TRUE(host.settle());
  host.send(load(host, 400));
  host.advance(15s);
  EXPECT_EQ(host.ready("web"), 6);
}

TEST(ScaledByLoad, ARestartOfTheDaemonKeepsTheNumber) {
  Host first(spec_of({scaled_app()}));
  ASSERT_TRUE(first.settle());
  first.send(load(first, 250));
  first.advance(15s);
  ASSERT_EQ(first.ready("web"), 5);
  Host second(spec_of({scaled_app()}), RunMode::daemon, first.saved());
  ASSERT_TRUE(second.settle());
  EXPECT_EQ(second.ready("web"), 5);
}

TEST(ScaledByLoad, AnEditOfTheBoundsHoldsAtOnceAndRestartsNothing) {
  Host host(spec_of({scaled_app()}));
  ASSERT_TRUE(host.settle());
  host.send(load(host, 250));
  host.advance(15s);
  ASSERT_EQ(host.ready("web"), 5);
  spec::App edited = scaled_app();
  edited.scale->max = 3;
  host.load(spec_of({edited}));
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(host.ready("web"), 3);
  EXPECT_EQ(host.spawns().size(), 5U);
  edited.scale.reset();
  host.load(spec_of({edited}));
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(host.ready("web"), 2);
}

// There are as many as before, until a look finds that fewer are needed.
TEST(ScaledByLoad, ALowerMinEndsNothingBeforeALook) {
  spec::App begun = scaled_app();
  begun.scale->min = begun.replicas = 4;  // as a file without `replicas` is read
  Host host(spec_of({begun}));
  ASSERT_TRUE(host.settle());
  ASSERT_EQ(host.ready("web"), 4);
  host.load(spec_of({scaled_app()}));
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(host.ready("web"), 4);
  host.send(load(host, 200));
  host.advance(15s);
  EXPECT_EQ(host.ready("web"), 4);
  host.send(load(host, 100));  // the look before is within the window
  host.advance(15s);
  EXPECT_EQ(host.ready("web"), 4);
  host.advance(16s);
  host.send(load(host, 100));
  host.advance(15s);
  EXPECT_EQ(host.ready("web"), 2);
  EXPECT_EQ(host.spawns().size(), 4U);
  host.load(spec_of({begun}));  // a higher one holds at once
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(host.ready("web"), 4);
}

TEST(ScaledByLoad, AnAppThatIsScaledFromNowOnKeepsWhatItHas) {
  spec::App fixed = port_app("web", 5);
  Host host(spec_of({fixed}));
  ASSERT_TRUE(host.settle());
  host.load(spec_of({scaled_app()}));
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(host.ready("web"), 5);
  EXPECT_EQ(host.spawns().size(), 5U);
}

TEST(ScaledByLoad, AHoldThatEndsWithAnEditLeavesItsNumber) {
  Host host(spec_of({scaled_app()}));
  ASSERT_TRUE(host.settle());
  host.scale("web", 7);
  ASSERT_TRUE(host.settle());
  spec::App edited = scaled_app();
  edited.scale->max = 6;
  host.load(spec_of({edited}));
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(host.ready("web"), 6);
  EXPECT_FALSE(host.app("web").scale);
}

TEST(ScaledByLoad, WhatTheHostHasNoRoomForIsToldOnce) {
  constexpr std::uint64_t mib = 1U << 20U;
  Host host(spec_of({scaled_app()}));
  ASSERT_TRUE(host.settle());
  LoadMeasured event = load(host, 300);
  event.host = {.memory_total = 1000 * mib, .memory_available = 100 * mib, .memory_pressure = 0};
  for (int look = 0; look < 3; ++look) {
    host.send(event);
    host.advance(15s);
  }
  EXPECT_EQ(host.ready("web"), 2);
  EXPECT_THAT(
      host.notes("scale"),
      ElementsAre(HasSubstr("held at 2 replicas: cpu is 150 % of a core on average of 2 ready, target "
                            "50 % of a core; 6 are needed, but the host has 100 MiB")));
  event.host.memory_available = 900 * mib;
  host.send(event);
  host.advance(15s);
  EXPECT_EQ(host.ready("web"), 6);
  event = load(host, 600);
  event.host = {.memory_total = 1000 * mib, .memory_available = 900 * mib, .memory_pressure = 40};
  host.send(event);
  host.advance(1s);
  EXPECT_THAT(host.notes("scale").back(),
              HasSubstr("held at 6 replicas: cpu is 100 % of a core on average of 6 ready, target 50 % of a "
                        "core; 8 are needed, but the host is short of memory: something waited for it 40 %"));
}

TEST(ScaledByLoad, TwoAppsShareTheRoomOfOneHost) {
  constexpr std::uint64_t mib = 1U << 20U;
  spec::App api = scaled_app();
  api.name = "api";
  Host host(spec_of({scaled_app(), api}));
  ASSERT_TRUE(host.settle());
  LoadMeasured event;
  for (const char* const app : {"web", "api"}) {
    for (const Process* process : host.processes(app)) {
      LoadSample sample;
      sample.cpu_percent = 150;
      sample.memory_bytes = 10 * mib;
      event.by_instance[process->id] = sample;
    }
  }
  event.host = {.memory_total = 1000 * mib, .memory_available = 150 * mib, .memory_pressure = 0};
  host.send(event);
  host.advance(10s);
  EXPECT_EQ(host.ready("api") + host.ready("web"), 4 + 5);  // 50 MiB are free to be taken
  EXPECT_EQ(host.ready("api"), 6);
}

// --- on demand

spec::App on_demand_app() {
  spec::App web = port_app("web", 0);
  spec::Scale scale;
  scale.min = 0;
  scale.max = 3;
  scale.window = Millis{60'000};
  web.scale = scale;
  return web;
}

std::shared_ptr<const spec::Spec> on_demand() {
  return spec_of({on_demand_app()}, {listener("front", "web")});
}

TrafficSeen requests_now(Host& host) {
  TrafficSeen seen;
  for (const Process* process : host.processes("web")) seen.last.emplace(process->id, host.now());
  return seen;
}

TEST(OnDemand, TheFirstRequestStartsItAndAWindowWithoutOneEndsIt) {
  Host host(on_demand());
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(host.spawns().size(), 0U);
  EXPECT_EQ(host.state("web"), AppState::stopped);
  EXPECT_EQ(app_reason(host.world(), host.app("web")), "idle: the first request starts it");
  EXPECT_FALSE(host.planner().wants_traffic());
  EXPECT_FALSE(host.planner().wants_load());
  host.send(Demanded{"web"});
  host.send(Demanded{"web"});
  ASSERT_TRUE(host.until_ready("web", 1));
  EXPECT_EQ(host.spawns().size(), 1U);
  EXPECT_EQ(host.notes("scale").back(), "0 -> 1 replicas: a request came");
  EXPECT_TRUE(host.planner().wants_traffic());
  EXPECT_FALSE(host.planner().wants_load());  // it has no metric
  host.advance(59s);
  host.send(TrafficSeen{});
  host.advance(Nanos{0});
  EXPECT_EQ(host.ready("web"), 1);
  host.advance(1s);
  host.send(TrafficSeen{});
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(host.processes("web").size(), 0U);
  EXPECT_EQ(host.notes("scale").back(), "1 -> 0 replicas: no request for 1m");
  host.send(Demanded{"web"});
  EXPECT_TRUE(host.until_ready("web", 1));
}

TEST(OnDemand, ItStaysAsLongAsRequestsCome) {
  Host host(on_demand());
  ASSERT_TRUE(host.settle());
  host.send(Demanded{"web"});
  ASSERT_TRUE(host.until_ready("web", 1));
  for (int i = 0; i < 10; ++i) {
    host.advance(40s);
    host.send(requests_now(host));
    host.advance(Nanos{0});
    EXPECT_EQ(host.ready("web"), 1);
  }
  EXPECT_EQ(host.spawns().size(), 1U);
}

// A request that comes while the last replica is on its way out is not lost: the next one starts behind it.
TEST(OnDemand, ARequestMeetsTheEnd) {
  Host host(on_demand());
  ASSERT_TRUE(host.settle());
  host.send(Demanded{"web"});
  ASSERT_TRUE(host.until_ready("web", 1));
  const int first = host.pid("web", 0);
  host.advance(60s);
  host.send(TrafficSeen{});
  host.advance(Nanos{0});
  ASSERT_EQ(host.ready("web"), 0);
  ASSERT_EQ(host.processes("web").size(), 1U);
  host.send(Demanded{"web"});
  ASSERT_TRUE(host.until_ready("web", 1));
  EXPECT_NE(host.pid("web", 0), first);
  EXPECT_EQ(host.processes("web").size(), 1U);
}

TEST(OnDemand, AHoldByHandWins) {
  Host host(on_demand());
  ASSERT_TRUE(host.settle());
  host.stop({.app = "web", .ordinal = std::nullopt});
  ASSERT_TRUE(host.settle());
  host.send(Demanded{"web"});
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(host.spawns().size(), 0U);
  host.start({.app = "web", .ordinal = std::nullopt});  // by hand: at once
  ASSERT_TRUE(host.until_ready("web", 1));
  host.scale("web", 2);
  ASSERT_TRUE(host.until_ready("web", 2));
  host.advance(5min);
  host.send(TrafficSeen{});
  host.advance(Nanos{0});
  EXPECT_EQ(host.ready("web"), 2);
  host.scale("web", std::nullopt);
  host.advance(1s);
  host.send(TrafficSeen{});
  host.advance(Nanos{0});
  EXPECT_EQ(host.app("web").desired(), 1);
}

// It is tried with backoff as long as somebody asks for it.
TEST(OnDemand, OneThatFailsEndsWithTheRequests) {
  Host host(on_demand());
  host.conduct = [](const Spawn&) {
    Conduct conduct;
    conduct.exits_after = Nanos{1ms};
    return conduct;
  };
  ASSERT_TRUE(host.settle());
  host.send(Demanded{"web"});
  host.advance(20s);
  const std::size_t starts = host.spawns().size();
  EXPECT_GT(starts, 1U);
  EXPECT_EQ(host.phase("web", 0), Phase::backoff);
  host.advance(40s);
  host.send(TrafficSeen{});
  ASSERT_TRUE(host.advance_until([&] { return host.processes("web").empty(); }));
  const std::size_t ended = host.spawns().size();
  host.advance(10min);
  EXPECT_EQ(host.spawns().size(), ended);
}

// One that takes longer to start than the window is not ended below the request that waits for it.
TEST(OnDemand, ASlowStartOutlastsTheWindow) {
  spec::App app = on_demand_app();
  app.scale->window = Millis{20'000};
  Host host(spec_of({app}, {listener("front", "web")}));
  host.conduct = [](const Spawn&) {
    Conduct conduct;
    conduct.healthy_after = Nanos{50s};
    return conduct;
  };
  ASSERT_TRUE(host.settle());
  host.send(Demanded{"web"});
  for (int i = 0; i < 9; ++i) {
    host.advance(5s);
    host.send(TrafficSeen{});
  }
  host.advance(10s);
  EXPECT_EQ(host.ready("web"), 1);
  EXPECT_EQ(host.spawns().size(), 1U);
}

// Nor is one that has to wait for the place of the last, which takes its time to go.
TEST(OnDemand, ASlowEndOutlastsTheWindow) {
  spec::App app = numbered_app("web", 0, 5440);  // nobody else may have it meanwhile
  app.scale = on_demand_app().scale;
  app.stop.timeout = 200s;
  Host host(spec_of({app}, {listener("front", "web")}));
  host.conduct = [](const Spawn&) {
    Conduct conduct;
    conduct.signal_takes = Nanos{100s};
    return conduct;
  };
  ASSERT_TRUE(host.settle());
  host.send(Demanded{"web"});
  ASSERT_TRUE(host.until_ready("web", 1));
  host.advance(60s);
  host.send(TrafficSeen{});
  host.advance(1s);
  EXPECT_EQ(host.ready("web"), 0);
  host.send(Demanded{"web"});
  for (int i = 0; i < 18; ++i) {
    host.advance(5s);
    host.send(TrafficSeen{});
  }
  EXPECT_TRUE(host.until_ready("web", 1));
  EXPECT_EQ(host.spawns().size(), 2U);
}

TEST(OnDemand, ARestartOfTheDaemonKeepsWhatRuns) {
  Host first(on_demand());
  ASSERT_TRUE(first.settle());
  first.send(Demanded{"web"});
  ASSERT_TRUE(first.until_ready("web", 1));
  Host second(on_demand(), RunMode::daemon, first.saved());
  ASSERT_TRUE(second.until_ready("web", 1));
  second.send(TrafficSeen{});  // nobody has asked yet: the window begins with the daemon
  second.advance(1s);
  EXPECT_EQ(second.ready("web"), 1);
}

TEST(OnDemand, WhoComesAfterItDoesNotWait) {
  spec::App later = port_app("later", 1);
  later.after = {{.app = "web", .condition = spec::AfterCondition::ready}};
  Host host(spec_of({on_demand_app(), later}, {listener("front", "web")}));
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(host.ready("later"), 1);
}

}  // namespace
}  // namespace muster::sim
