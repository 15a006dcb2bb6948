#include "unit/supervisor/host.h"

namespace muster::sim {
namespace {

TEST(After, WaitsUntilAllReplicasAreReady) {
  spec::App web = app("web");
  set_after(web, "db");
  Host host(spec_of({web, port_app("db", 3)}));
  host.conduct = [](const Spawn& spawn) {
    Conduct conduct;
    conduct.healthy_after = spawn.replica.ordinal == 2 ? 5s : 0s;
    return conduct;
  };
  host.advance(4s);
  EXPECT_EQ(host.running("web"), 0);
  EXPECT_EQ(host.state("web"), AppState::waiting);
  EXPECT_EQ(host.slot("web", 0).reason, "waits for db to be ready (2 of 3)");
  host.advance(2s);
  EXPECT_EQ(host.running("web"), 1);
}

TEST(After, HoldsForTheFirstStartOnly) {
  spec::App web = app("web");
  set_after(web, "db");
  Host host(spec_of({web, port_app("db")}));
  ASSERT_TRUE(host.until_ready("web", 1));
  static_cast<void>(host.stop({"db", std::nullopt}));
  host.advance(1s);
  host.kill("web", 0);
  host.advance(10ms);
  EXPECT_EQ(host.running("web"), 1);
}

TEST(After, StartedDoesNotWaitForReadiness) {
  spec::App web = app("web");
  set_after(web, "db", spec::AfterCondition::started);
  Host host(spec_of({web, port_app("db")}));
  host.conduct = [](const Spawn&) {
    Conduct conduct;
    conduct.healthy_after = 1h;
    return conduct;
  };
  host.advance(100ms);
  EXPECT_EQ(host.running("web"), 1);
}

class AfterTask : public testing::TestWithParam<spec::AfterCondition> {};

TEST_P(AfterTask, CompletedAndCompletedOkDifferInAFailure) {
  for (const int code : {0, 1}) {
    spec::App task = app("task");
    task.restart.policy = spec::RestartPolicy::never;
    spec::App web = app("web");
    set_after(web, "task", GetParam());
    Host host(spec_of({task, web}));
    host.advance(2s);
    EXPECT_EQ(host.running("web"), 0);
    host.end("task", 0, code);
    host.advance(1s);
    const bool may = code == 0 || GetParam() == spec::AfterCondition::completed;
    EXPECT_EQ(host.running("web"), may ? 1 : 0) << code;
  }
}
INSTANTIATE_TEST_SUITE_P(Both, AfterTask,
                         testing::Values(spec::AfterCondition::completed,
                                         spec::AfterCondition::completed_ok));

TEST(After, AnAppWithoutReplicasHoldsNobodyUp) {
  spec::App web = app("web");
  set_after(web, "db");
  Host host(spec_of({web, port_app("db", 0)}));
  host.advance(100ms);
  EXPECT_EQ(host.running("web"), 1);
}

TEST(After, TheEndRunsInReverse) {
  spec::App web = app("web");
  set_after(web, "api");
  spec::App api = app("api");
  set_after(api, "db");
  Host host(spec_of({web, api, app("db")}));
  host.conduct = [](const Spawn&) {
    Conduct conduct;
    conduct.signal_takes = 1s;
    return conduct;
  };
  ASSERT_TRUE(host.until_ready("web", 1));
  host.shutdown();
  host.advance(500ms);
  EXPECT_EQ(host.phase("web", 0), Phase::stopping);
  EXPECT_EQ(host.phase("api", 0), Phase::ready);
  host.advance(1s);
  EXPECT_EQ(host.running("web"), 0);
  EXPECT_EQ(host.phase("api", 0), Phase::stopping);
  EXPECT_EQ(host.phase("db", 0), Phase::ready);
  host.advance(10s);
  EXPECT_TRUE(host.ended());
}

TEST(After, AddressesOfTheNeededAppsAreGiven) {
  spec::App web = app("web");
  set_after(web, "api");
  set_after(web, "db");
  set_after(web, "cache");
  Host host(spec_of({web, port_app("api"), numbered_app("db", 2, 5440), port_app("cache", 2)},
                    {listener("front", "api", 8080)}));
  ASSERT_TRUE(host.until_ready("web", 1));
  const auto& addresses = host.spawns().back().second.addresses;
  ASSERT_EQ(addresses.size(), 3U);
  EXPECT_EQ(addresses[0], (std::pair<std::string, std::string>{"api", "127.0.0.1:8080"}));
  EXPECT_EQ(addresses[1].first, "cache");
  EXPECT_THAT(addresses[1].second, testing::MatchesRegex("127\\.0\\.0\\.1:[0-9]+,127\\.0\\.0\\.1:[0-9]+"));
  EXPECT_EQ(addresses[2], (std::pair<std::string, std::string>{"db", "127.0.0.1:5440,127.0.0.1:5441"}));
}

}  // namespace
}  // namespace muster::sim
