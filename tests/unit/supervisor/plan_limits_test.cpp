// Limits of a replica as a whole: they apply live, and one that muster finds above them ends.
#include "unit/supervisor/host.h"

namespace muster::sim {
namespace {

using ::testing::HasSubstr;

spec::App bounded_app(std::uint64_t memory = 64U << 20U) {
  spec::App web = port_app("web");
  web.limits.memory = memory;
  return web;
}

LimitExceeded too_much(Host& host, const std::string& app = "web") {
  return LimitExceeded{.instance = host.process(app, 0)->id,
                       .kind = LimitKind::memory,
                       .used = 70U << 20U,
                       .limit = 64U << 20U};
}

TEST(Limits, OneAboveThemIsKilledOnceNoWorkerPicksIt) {
  Host host(spec_of({bounded_app()}, {listener("front", "web")}));
  host.conduct = [](const Spawn&) {
    Conduct conduct;
    conduct.ignores_signal = true;
    return conduct;
  };
  ASSERT_TRUE(host.until_ready("web", 1));
  host.send(too_much(host));
  host.advance(1s);
  EXPECT_EQ(host.count<Signal>(), 0);
  EXPECT_EQ(host.spawns().size(), 2U);  // the first restart is at once
  const Slot& slot = host.slot("web", 0);
  EXPECT_EQ(slot.last_exit->reason,
            "ended by muster: out of memory: 70.0 MiB in use, limit 64MiB; killed by SIGKILL");
  EXPECT_EQ(slot.failures, 1);
  ASSERT_EQ(host.notes("oom").size(), 1U);
  EXPECT_THAT(host.notes("oom").front(), HasSubstr("limit 64MiB"));
  ASSERT_TRUE(host.until_ready("web", 1));
  host.send(too_much(host));
  host.advance(900ms);
  EXPECT_EQ(host.phase("web", 0), Phase::backoff);  // the second one is not
}

TEST(Limits, OneThatIsOnItsWayOutIsNotWaitedFor) {
  spec::App web = bounded_app();
  web.stop.timeout = Millis{60'000};
  Host host(spec_of({web}));
  host.conduct = [](const Spawn&) {
    Conduct conduct;
    conduct.ignores_signal = true;
    return conduct;
  };
  ASSERT_TRUE(host.until_ready("web", 1));
  host.send(ShutdownRequested{.why = "SIGTERM"});
  host.advance(1s);
  EXPECT_EQ(host.count<KillTree>(), 0);
  host.send(too_much(host));
  host.send(too_much(host));
  host.advance(1s);
  EXPECT_GE(host.count<KillTree>(), 1);
  EXPECT_EQ(host.notes("oom").size(), 1U);
}

TEST(Limits, OfAnEditHoldForTheSameProcess) {
  Host host(spec_of({bounded_app()}));
  ASSERT_TRUE(host.settle());
  const int before = host.pid("web", 0);
  host.load(spec_of({bounded_app(128U << 20U)}));
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(host.pid("web", 0), before);
  EXPECT_EQ(host.spawns().size(), 1U);
  EXPECT_EQ(host.process("web", 0)->bounds.memory, 128U << 20U);
  host.load(spec_of({port_app("web")}));
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(host.pid("web", 0), before);
  EXPECT_EQ(host.process("web", 0)->bounds.memory, std::nullopt);
}

TEST(Limits, AreSetOnceMoreByTheNextDaemon) {
  Host host(spec_of({bounded_app()}));
  ASSERT_TRUE(host.settle());
  host.process("web", 0)->bounds = {};  // as when the controllers were switched off meanwhile
  host.crash_daemon(1s, spec_of({bounded_app(32U << 20U)}));
  ASSERT_TRUE(host.settle());
  EXPECT_EQ(host.spawns().size(), 1U);
  EXPECT_EQ(host.process("web", 0)->bounds.memory, 32U << 20U);
}

}  // namespace
}  // namespace muster::sim
