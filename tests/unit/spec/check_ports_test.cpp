#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fmt/core.h"
#include "rig.h"

namespace muster::spec {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Ports, OverlappingRangesNameBothPlaces) {
  EXPECT_THAT(
      complaints("[app.a]\nrun='x'\nport=6000\nreplicas=3\n[app.b]\nrun='x'\nport=6002"),
      ElementsAre(
          "7:6 port 6002 of app 'b' and ports 6000-6002 of app 'a' at /spec/muster.toml:3:6 overlap"));
  EXPECT_THAT(complaints("[app.a]\nrun='x'\nport=6000\nreplicas=3\n[app.b]\nrun='x'\nport=6003"), IsEmpty());
}

TEST(Ports, NamedPortsCountToo) {
  EXPECT_THAT(complaints("[app.a]\nrun='x'\nreplicas=2\nport=6000\nports={admin=6001}"),
              ElementsAre("5:14 ports 6001-6002 of app 'a' (admin) and ports 6000-6001 of app 'a' at "
                          "/spec/muster.toml:4:6 overlap"));
}

TEST(Ports, ALongRangeIsHeldAgainstAllThatFollow) {
  EXPECT_EQ(complaints("[app.a]\nrun='x'\nport=6000\nreplicas=100\n[app.b]\nrun='x'\nport=6010\n[app.c]\nrun="
                       "'x'\nport=6050")
                .size(),
            2U);
}

TEST(Ports, AChosenAutomaticRangeIsNobodyElses) {
  EXPECT_THAT(complaints("[app.a]\nrun='x'\nport=19999\nreplicas=2"), IsEmpty());  // the default: passed over
  EXPECT_THAT(
      complaints("[daemon]\nport_range='6000-6100'\n[app.a]\nrun='x'\nport=6050"),
      ElementsAre(
          "5:6 port 6050 of app 'a' and daemon.port_range 6000-6100 at /spec/muster.toml:2:12 overlap | "
          "automatic ports are taken from there"));
  EXPECT_THAT(complaints("[daemon]\nport_range='6000-6100'\n[app.a]\nrun='x'\nport=20000"), IsEmpty());
}

TEST(Ports, AListenerOnAnAppsPort) {
  for (const char* host : {"127.0.0.1", "0.0.0.0", "[::]", "[::1]"})
    EXPECT_THAT(
        complaints(fmt::format("[app.a]\nrun='x'\nport=6000\nreplicas=2\nlisten='{}:6001'", host)),
        ElementsAre(
            "5:8 port 6001 of listener 'a' and ports 6000-6001 of app 'a' at /spec/muster.toml:3:6 overlap"))
        << host;
  EXPECT_THAT(complaints("[app.a]\nrun='x'\nport=6000\nlisten='10.0.0.1:6000'"), IsEmpty());
}

TEST(Ports, NoReplicasStillHoldTheFirst) {
  EXPECT_EQ(complaints("[app.a]\nrun='x'\nport=6000\nreplicas=0\n[app.b]\nrun='x'\nport=6000").size(), 1U);
}

TEST(Daemon, EveryKeyReachesTheModel) {
  const Spec spec = good(
      "[daemon]\nthreads=3\nport_range='1000-2000'\nlog_level='warn'\nlog_budget='5MiB'\nwatch_spec=true\non_"
      "crash='stop'");
  EXPECT_EQ(spec.daemon, (Daemon{3, 1000, 2000, LogLevel::warn, 5242880, true, OnCrash::stop}));
  EXPECT_EQ(good("").daemon, Daemon{});
  EXPECT_TRUE(good("", up).daemon.watch_spec);
  EXPECT_FALSE(good("[daemon]\nwatch_spec=false\nthreads='auto'", up).daemon.watch_spec);
}

TEST(Daemon, WrongValues) {
  EXPECT_THAT(
      complaints("[daemon]\nthreads=0\nport_range='5-1'\nlog_level='trace'\nlog_budget='1KiB'\nwatch_spec=1\n"
                 "on_crash='restart'\nmetrics='127.0.0.1:1'\ndashboard=1\nthread=1"),
      ElementsAre("2:9 0 is not in 1..1024", "3:12 '5-1' is no range of ports | write \"20000-29999\"",
                  "4:11 'trace' is not one of \"debug\", \"info\", \"warn\", \"error\"",
                  "5:12 the logs need room for 1MiB", "6:12 expected true or false, found an integer",
                  "7:10 'restart' is not one of \"stop\", \"keep\"", "8:1 'metrics' is not in this version",
                  "9:1 'dashboard' is not in this version",
                  "10:1 unknown key 'thread' | did you mean 'threads'?"));
}

}  // namespace
}  // namespace muster::spec
