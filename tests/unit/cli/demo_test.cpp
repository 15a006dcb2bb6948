#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "cli/demo_host.h"
#include "cli/demo_leftovers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "spec/load.h"

namespace muster::cli {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

constexpr DemoPorts ports{.first = 12000};

TEST(Demo, ItsSpecIsValidAndSaysWhatTheDemoProves) {
  std::string pattern = testing::TempDir() + "muster-demo-spec-XXXXXX";
  const fs::path folder = fs::canonical(::mkdtemp(pattern.data()));
  std::ofstream(folder / "muster.toml") << demo_spec(ports, "hello from");
  const spec::Loaded loaded = spec::load((folder / "muster.toml").string(), spec::real_world({}),
                                         {.mode = spec::Mode::up, .root = false});
  for (const spec::Diagnostic& found : loaded.diagnostics) ADD_FAILURE() << spec::render(found);
  ASSERT_TRUE(loaded.spec);
  EXPECT_EQ(loaded.spec->find_app("api")->replicas, demo_api_replicas);
  EXPECT_EQ(loaded.spec->find_app("storage")->replicas, demo_storage_replicas);
  EXPECT_EQ(loaded.spec->find_app("storage")->port.base, ports.storage(0));
  EXPECT_EQ(loaded.spec->listeners.front().bind.front().port, ports.listener());
  EXPECT_EQ(loaded.spec->daemon.port_range_last, ports.range_last());
  fs::remove_all(folder);
}

TEST(Demo, AnotherGreetingIsANewRevisionOfTheApiAlone) {
  std::string before = demo_spec(ports, "one");
  const std::string after = demo_spec(ports, "two");
  EXPECT_NE(before, after);
  before.replace(before.find("\"one\""), 5, "\"two\"");
  EXPECT_EQ(before, after);
}

TEST(Demo, ItsPortsDoNotMeet) {
  EXPECT_LT(ports.storage(demo_storage_replicas - 1), ports.claim());
  EXPECT_LT(ports.claim(), ports.range_first());
  // Rolling surges by one replica: room for twice as many.
  EXPECT_GE(ports.range_last() - ports.range_first() + 1, 2 * demo_api_replicas);
}

const std::string body = R"({"schema":1,"daemon":{"spec":{"revision":2,"error":null}},"apps":[
  {"name":"storage","state":"ready","revision":1,"replicas":[{"id":"storage/0","state":"ready","pid":5},
    {"id":"storage/1","state":"backoff","pid":null,"reason":"port 7 is held by pid 9"
}]
}]
})";

TEST(Demo, ReadsTheStatus) {
  const DemoStatus status = parse_demo_status(body).value();
  EXPECT_EQ(status.spec_revision, 2);
  EXPECT_EQ(status.find("storage/1")->state, "backoff");
  EXPECT_EQ(status.find("storage/2"), nullptr);
  EXPECT_EQ(status.find_app("storage")->revision, 1);
  EXPECT_THAT(status.pids_of("storage"), ElementsAre(Pair("storage/0", 5)));
  EXPECT_FALSE(status.all_ready());
  EXPECT_TRUE(status.port_taken());
  EXPECT_FALSE(parse_demo_status("x"));
}

TEST(Demo, ReadyMeansEveryReplicaAndNoMore) {
  DemoStatus status;
  for (const char* app : {"api", "storage", "worker"})
    status.apps.push_back({.name = app, .state = "ready", .revision = 1});
  for (int i = 0; i < demo_api_replicas + demo_storage_replicas + 1; ++i)
    status.replicas.push_back(
        {.app = "x", .id = std::to_string(i), .state = "ready", .pid = i + 1, .reason = ""});
  EXPECT_TRUE(status.all_ready());
  status.replicas.push_back(status.replicas.back());
  EXPECT_FALSE(status.all_ready()) << "an old process of a rollout is still there";
  status.replicas.pop_back();
  status.replicas.back().state = "starting";
  EXPECT_FALSE(status.all_ready());
}

TEST(Demo, FindsWhatIsLeftBehind) {
  const int self = ::getpid();
  const std::string start = process_start(self);
  ASSERT_NE(start, "");
  EXPECT_EQ(processes_left({{self, start}}, "/nowhere"), "pid " + std::to_string(self));
  EXPECT_EQ(processes_left({{self, start + "1"}}, "/nowhere"), "") << "another process with the same number";
  EXPECT_THAT(processes_left({}, fs::current_path().string()), HasSubstr("pid " + std::to_string(self)));
  EXPECT_EQ(process_start(0x7fffffff), "");
}

}  // namespace
}  // namespace muster::cli
