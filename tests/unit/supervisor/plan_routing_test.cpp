#include "unit/supervisor/host.h"

namespace muster::sim {
namespace {

std::shared_ptr<const spec::Spec> balanced(int replicas) {
  return spec_of({port_app("web", replicas)}, {listener("front", "web")});
}

TEST(Routing, OnlyReadyReplicasAreInTheSnapshot) {
  Host host(balanced(3));
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(host.routed("web").size(), 3U);
  host.process("web", 1)->healthy = false;
  ASSERT_TRUE(host.until_ready("web", 2));
  EXPECT_EQ(host.routed("web").size(), 2U);
  EXPECT_EQ(host.running("web"), 3);  // readiness never kills
  EXPECT_EQ(host.phase("web", 1), Phase::unready);
  host.process("web", 1)->healthy = true;
  ASSERT_TRUE(host.until_ready("web", 3));
}

TEST(Routing, APausedAppKeepsItsReplicasAndGetsNothing) {
  Host host(balanced(2));
  ASSERT_TRUE(host.settle());
  const SnapshotVersion before = host.world().published;
  const CommandId paused = host.pause("web");
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(host.code(paused), ExitCode::ok);
  EXPECT_GT(host.world().published, before);
  EXPECT_EQ(host.routed("web").size(), 2U);
  EXPECT_EQ(host.state("web"), AppState::paused);
  EXPECT_EQ(hold_text(host.app("web")), "paused by hand");
  static_cast<void>(host.pause("web", false));
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(raw(host.world().published), raw(before) + 2);
  EXPECT_EQ(host.state("web"), AppState::ready);
}

TEST(Routing, NoSignalBeforeEveryWorkerHasSwapped) {
  Host host(balanced(2));
  ASSERT_TRUE(host.settle());
  host.acknowledge_takes = [] { return Nanos{45s}; };  // longer than `drain`
  static_cast<void>(host.stop({"web", 0}));
  host.advance(44s);
  EXPECT_EQ(host.count<Signal>(), 0);
  host.advance(2s);
  EXPECT_EQ(host.count<Signal>(), 1);
}

TEST(Routing, InFlightRequestsFinishBeforeTheSignal) {
  Host host(balanced(1));
  host.conduct = [](const Spawn&) {
    Conduct conduct;
    conduct.in_flight = 5s;
    return conduct;
  };
  ASSERT_TRUE(host.settle());
  static_cast<void>(host.stop({"web", 0}));
  host.advance(4900ms);
  EXPECT_EQ(host.count<Signal>(), 0);
  EXPECT_EQ(host.phase("web", 0), Phase::draining);
  host.advance(200ms);
  EXPECT_EQ(host.count<Signal>(), 1);
}

TEST(Routing, DrainHasAnEnd) {
  Host host(balanced(1));
  host.conduct = [](const Spawn&) {
    Conduct conduct;
    conduct.in_flight.reset();
    return conduct;
  };
  ASSERT_TRUE(host.settle());
  static_cast<void>(host.stop({"web", 0}));
  host.advance(29s);
  EXPECT_EQ(host.count<Signal>(), 0);
  host.advance(2s);
  EXPECT_EQ(host.count<Signal>(), 1);
  EXPECT_EQ(host.notes("drain").size(), 1U);
}

TEST(Routing, WhatWasNeverRoutedIsSignalledAtOnce) {
  Host host(spec_of({app("worker")}));
  ASSERT_TRUE(host.settle());
  static_cast<void>(host.stop({"worker", std::nullopt}));
  host.advance(0ms);
  EXPECT_EQ(host.count<Signal>(), 1);
}

TEST(Routing, DrainByHandKeepsTheProcessAndUndrainReturnsIt) {
  Host host(balanced(2));
  ASSERT_TRUE(host.settle());
  const int pid = host.pid("web", 0);
  const CommandId id = host.drain({"web", 0});
  host.advance(10ms);
  EXPECT_EQ(host.code(id), ExitCode::ok);
  EXPECT_EQ(host.routed("web").size(), 1U);
  EXPECT_EQ(host.phase("web", 0), Phase::draining);
  host.advance(1min);
  EXPECT_EQ(host.pid("web", 0), pid);
  static_cast<void>(host.drain({"web", 0}, false));
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(host.routed("web").size(), 2U);
}

TEST(Routing, ADrainedOrdinalStaysDrainedOverRestart) {
  Host host(balanced(2));
  static_cast<void>(host.drain({"web", 0}));
  ASSERT_TRUE(host.settle());
  static_cast<void>(host.restart({"web", std::nullopt}));
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(host.spawns().size(), 4U);
  EXPECT_EQ(host.routed("web").size(), 1U);
}

TEST(Routing, AListenerThatMovesTakesTheOtherAppsReplicas) {
  Host host(spec_of({port_app("a", 2), port_app("b", 3)}, {listener("front", "a")}));
  ASSERT_TRUE(host.settle());
  host.load(spec_of({port_app("a", 2), port_app("b", 3)}, {listener("front", "b")}));
  ASSERT_TRUE(host.settle());
  EXPECT_TRUE(host.routed("a").empty());
  EXPECT_EQ(host.routed("b").size(), 3U);
  EXPECT_EQ(host.spawns().size(), 5U);
}

TEST(Routing, NothingIsPublishedWhileNothingChanges) {
  Host host(balanced(2));
  ASSERT_TRUE(host.settle());
  const auto version = host.world().published;
  host.advance(5min);
  EXPECT_EQ(host.world().published, version);
  EXPECT_EQ(host.idle_steps(), 0U);
}

}  // namespace
}  // namespace muster::sim
