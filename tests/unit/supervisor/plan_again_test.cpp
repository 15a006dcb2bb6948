// One daemon after the other, over the state file.
#include "unit/supervisor/host.h"

namespace muster::sim {
namespace {

TEST(Again, AnOrderlyEndKeepsTheBackoff) {
  Host host(spec_of({app("web")}));
  ASSERT_TRUE(host.settle());
  host.kill("web", 0);
  host.advance(10ms);
  host.kill("web", 0);
  ASSERT_EQ(host.slot("web", 0).failures, 2);
  host.restart_daemon(true);
  ASSERT_TRUE(host.until_ready("web", 1));
  host.kill("web", 0);
  EXPECT_EQ(host.phase("web", 0), Phase::backoff);
  host.advance(1900ms);
  EXPECT_EQ(host.running("web"), 0);
  host.advance(200ms);
  EXPECT_EQ(host.running("web"), 1);
}

TEST(Again, AReplicaThatIsStoppedByHandHoldsNobodyUp) {
  spec::App web = app("web");
  set_after(web, "db");
  Host host(spec_of({web, port_app("db", 2)}));
  ASSERT_TRUE(host.settle());
  static_cast<void>(host.stop({"db", 1}));
  ASSERT_TRUE(host.settle());
  host.restart_daemon(true);
  EXPECT_TRUE(host.until_ready("web", 1));
  EXPECT_EQ(host.running("db"), 1);
}

TEST(Again, AnAppThatIsStoppedByHandIsWaitedFor) {
  spec::App web = app("web");
  set_after(web, "db");
  Host host(spec_of({web, port_app("db", 2)}));
  ASSERT_TRUE(host.settle());
  static_cast<void>(host.stop({"db", 0}));
  static_cast<void>(host.stop({"db", 1}));
  ASSERT_TRUE(host.settle());
  host.restart_daemon(false);
  host.advance(10s);
  EXPECT_EQ(host.slot("web", 0).reason, "waits for db to be ready (0 of 1)");
}

TEST(Again, WhatIsScaledAwayIsGoneFromTheStateFile) {
  Host host(spec_of({port_app("web", 3)}));
  ASSERT_TRUE(host.settle());
  static_cast<void>(host.drain({"web", 2}));
  static_cast<void>(host.scale("web", 2));
  ASSERT_TRUE(host.settle());
  EXPECT_TRUE(host.saved().apps.at("web").drained_ordinals.empty());
}

TEST(Again, AClockThatIsFarOffMakesAStateThatCanBeRead) {
  Host host(spec_of({app("web")}));
  host.set_clock(-24h * 365 * 100);
  ASSERT_TRUE(host.settle());
  host.restart_daemon(true);
  EXPECT_TRUE(host.until_ready("web", 1));
}

// An edit and its taking back in one rollout: the old number of the text that failed is no other revision.
TEST(Again, ARevisionDoesNotGoBackToItself) {
  spec::App web = port_app("web", 2);
  web.update.deadline = Millis{5000};
  spec::App other = web;
  set_run(other, "./other");
  Host host(spec_of({web}));
  ASSERT_TRUE(host.settle());
  host.conduct = [](const Spawn&) {
    Conduct conduct;
    conduct.never_healthy = true;
    return conduct;
  };
  host.load(spec_of({other}));
  host.advance(1s);
  host.load(spec_of({web}));
  host.advance(20s);
  EXPECT_EQ(host.app("web").revision, Revision{3});
  EXPECT_TRUE(host.notes("rollout").empty());
}

}  // namespace
}  // namespace muster::sim
