#include "supervisor/status_json.h"

#include "boost/json.hpp"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "supervisor/job_json.h"
#include "supervisor/text.h"
#include "support/certificates.h"

namespace muster::supervisor {
namespace {

namespace json = boost::json;
using testing::HasSubstr;

struct Fixture {
  World world;
  StatusInput input;

  Fixture() {
    auto spec = std::make_shared<spec::Spec>();
    spec->path = "/srv/muster.toml";
    spec->listeners.resize(1);
    spec->listeners[0].name = "web";
    spec->listeners[0].app = "web";
    spec->listeners[0].bind = {spec::BindAddress{
        .text = "127.0.0.1:8080", .kind = {}, .host = "127.0.0.1", .port = 8080, .path = ""}};
    world.spec = spec;
    world.spec_revision = 3;
    auto app = std::make_shared<spec::App>();
    app->name = "web";
    app->replicas = 2;
    AppWorld& web = world.apps["web"];
    web.app = app;
    web.gate_open = true;
    web.revision = Revision{2};
    Slot& first = web.slots[0];
    first.replica = ReplicaId{.app = "web", .ordinal = 0};
    first.starts = 3;
    Tenant tenant;
    tenant.id = InstanceId{11};
    tenant.replica = first.replica;
    tenant.revision = Revision{2};
    tenant.app = app;
    tenant.phase = Phase::ready;
    tenant.started = true;
    tenant.was_ready = true;
    tenant.routed = true;
    tenant.pid = 123;
    tenant.ports = {{"", 20001}};
    tenant.started_at = Instant{std::chrono::seconds{10}};
    first.tenants.push_back(tenant);
    Slot& second = web.slots[1];
    second.replica = ReplicaId{.app = "web", .ordinal = 1};
    second.phase = Phase::backoff;
    second.reason = "exited with status 1";
    second.failures = 2;
    second.starts = 2;
    second.next_start = Instant{std::chrono::seconds{21}};
    ExitStatus killed;
    killed.signal = 9;
    second.last_exit = LastExit{.status = killed, .reason = "killed by SIGKILL", .at = WallTime{}};
    input.world = &world;
    input.stats.listeners = {lb::ListenerStats{.name = "web", .connections = 3, .requests = 168}};
    input.stats.instances = {lb::InstanceStats{.instance = InstanceId{11}, .in_flight = 1, .requests = 42}};
    input.usage[InstanceId{11}] =
        UsageView{.cpu_percent = 0.31, .memory_bytes = 1048576, .memory_over_counts = true};
    input.now = Now{.mono = Instant{std::chrono::milliseconds{19100}}, .wall = WallTime{}};
    input.daemon_started = Instant{std::chrono::milliseconds{6600}};
    input.pid = 1;
    input.version = "0.1.0";
  }
};

TEST(StatusJson, HasTheStableShape) {
  Fixture fixture;
  const json::object body = json::parse(status_json(fixture.input)).as_object();
  EXPECT_EQ(body.at("schema"), 1);
  const json::object& daemon = body.at("daemon").as_object();
  EXPECT_EQ(daemon.at("pid"), 1);
  EXPECT_EQ(daemon.at("uptime_s").as_double(), 12.5);
  EXPECT_EQ(daemon.at("spec").at("revision"), 3U);
  EXPECT_TRUE(daemon.at("spec").at("error").is_null());
  const json::object& app = body.at("apps").at(0).as_object();
  EXPECT_EQ(app.at("name"), "web");
  EXPECT_EQ(app.at("desired"), 2);
  EXPECT_EQ(app.at("ready"), 1);
  EXPECT_EQ(app.at("state"), "degraded");
  EXPECT_EQ(app.at("reason"), "web/1: exited with status 1");
  EXPECT_TRUE(app.at("hold").is_null());
  const json::object& ready = app.at("replicas").at(0).as_object();
  EXPECT_EQ(ready.at("id"), "web/0");
  EXPECT_EQ(ready.at("pid"), 123);
  EXPECT_EQ(ready.at("port"), 20001);
  EXPECT_EQ(ready.at("address"), "127.0.0.1:20001");
  EXPECT_EQ(ready.at("port"), 20001);
  EXPECT_EQ(ready.at("restarts"), 2);
  EXPECT_EQ(ready.at("uptime_s").as_double(), 9.1);
  EXPECT_EQ(ready.at("cpu_percent").as_double(), 0.3);
  EXPECT_EQ(ready.at("memory_bytes"), 1048576U);
  EXPECT_EQ(ready.at("in_flight"), 1U);
  EXPECT_EQ(ready.at("requests"), 42U);
  EXPECT_TRUE(ready.at("next_start_s").is_null());
  EXPECT_TRUE(ready.at("last_exit").is_null());
  const json::object& pausing = app.at("replicas").at(1).as_object();
  EXPECT_EQ(pausing.at("state"), "backoff");
  EXPECT_TRUE(pausing.at("pid").is_null());
  EXPECT_EQ(pausing.at("next_start_s").as_double(), 1.9);
  EXPECT_TRUE(pausing.at("last_exit").at("code").is_null());
  EXPECT_EQ(pausing.at("last_exit").at("signal"), "SIGKILL");
  EXPECT_EQ(pausing.at("last_exit").at("at"), "1970-01-01T00:00:00Z");
  const json::object& listener = body.at("listeners").at(0).as_object();
  EXPECT_EQ(listener.at("bind"), "127.0.0.1:8080");
  EXPECT_EQ(listener.at("mode"), "http");
  EXPECT_EQ(listener.at("connections"), 3U);
  EXPECT_EQ(listener.at("requests"), 168U);
  EXPECT_TRUE(listener.at("tls").is_null());
  EXPECT_TRUE(listener.at("reason").is_null());
  EXPECT_TRUE(body.at("jobs").as_array().empty());
}

TEST(StatusJson, AJobHasItsNextRunAndItsLastEnd) {
  Fixture fixture;
  auto nightly = std::make_shared<spec::Job>();
  nightly->task.name = "nightly";
  nightly->timezone = "Europe/Berlin";
  nightly->schedule = spec::Cron{};
  nightly->schedule->text = "30 2 * * *";
  JobWorld& job = fixture.world.jobs["nightly"];
  job.job = nightly;
  job.next = WallTime{} + std::chrono::hours(24);
  const auto row = [&] { return json::parse(status_json(fixture.input)).at("jobs").at(0).as_object(); };
  EXPECT_EQ(row().at("name"), "nightly");
  EXPECT_EQ(row().at("state"), "waiting");
  EXPECT_EQ(row().at("next"), "1970-01-02T00:00:00Z");
  EXPECT_EQ(row().at("schedule"), "30 2 * * *");
  EXPECT_EQ(row().at("timezone"), "Europe/Berlin");
  EXPECT_TRUE(row().at("last").is_null());
  EXPECT_TRUE(row().at("runs").as_array().empty());
  job.last =
      JobEnd{.exit = {.status = {.code = std::nullopt, .signal = 9}, .reason = "killed by SIGKILL", .at = {}},
             .ok = false};
  EXPECT_EQ(row().at("last").at("signal"), "SIGKILL");
  EXPECT_EQ(row().at("last").at("ok"), false);
  EXPECT_EQ(row().at("reason"), "due at 1970-01-02T00:00:00Z; the last run failed: killed by SIGKILL");
  WhyInput why;
  why.world = &fixture.world;
  why.app = "nightly";
  const auto told = job_why_json(why);
  ASSERT_TRUE(told);
  EXPECT_THAT(*told, HasSubstr("its schedule is 30 2 * * * by the clocks of Europe/Berlin"));
  why.app = "web";
  EXPECT_FALSE(job_why_json(why));
}

TEST(StatusJson, AListenersCertificatesAndWhatIsWrongWithTheNewOnes) {
  Fixture fixture;
  const auto pair = testing_support::make_certificate({.names = {"a.example", "*.a.example"}});
  auto chain = spec::parse_certificates(pair.cert);
  auto key = spec::parse_private_key(pair.key);
  auto joined = spec::Certificate::join(std::move(chain).value(), std::move(key).value());
  auto tls = std::make_shared<spec::Tls>();
  tls->certificates.push_back(joined.value());
  auto spec = std::make_shared<spec::Spec>(*fixture.world.spec);
  spec->listeners[0].tls = tls;
  fixture.world.spec = spec;
  fixture.world.listener_errors["web"] = "the key does not belong to the certificate";
  const json::value body = json::parse(status_json(fixture.input));
  const json::object& listener = body.at("listeners").at(0).as_object();
  EXPECT_EQ(listener.at("reason"), "the key does not belong to the certificate");
  EXPECT_EQ(listener.at("tls").at("min"), "1.2");
  EXPECT_EQ(listener.at("tls").at("client_certificates"), false);
  const json::value& certificate = listener.at("tls").at("certificates").at(0);
  EXPECT_EQ(certificate.at("names"), json::array({"a.example", "*.a.example"}));
  EXPECT_EQ(certificate.at("not_after"), json::value(rfc3339_s(joined.value()->not_after())));
}

TEST(StatusJson, BytesOfAnAppsOutputStayValidJson) {
  Fixture fixture;
  fixture.world.apps["web"].slots[1].reason = "said \x1b[31m\xff\n";
  const std::string body = status_json(fixture.input);
  EXPECT_EQ(body.find('\x1b'), std::string::npos);
  EXPECT_NO_THROW(static_cast<void>(json::parse(body)));
}

WhyInput why(const Fixture& fixture) {
  WhyInput input;
  input.world = &fixture.world;
  input.app = "web";
  input.now = fixture.input.now;
  return input;
}

std::string told(const std::string& body) {
  std::string text;
  const json::value parsed = json::parse(body);
  for (const json::value& sentence : parsed.at("chain").as_array())
    text += std::string(sentence.as_string()) + "\n";
  return text;
}

TEST(WhyJson, TellsTheChainOfOneReplica) {
  Fixture fixture;
  WhyInput input = why(fixture);
  input.ordinal = 1;
  input.logs = {StoredLine{
      .replica = {.app = "web", .ordinal = 1}, .time = WallTime{}, .stream = Stream::err, .text = "boom"}};
  const auto body = why_json(input);
  ASSERT_TRUE(body);
  EXPECT_EQ(json::parse(*body).at("state"), "backoff");
  EXPECT_EQ(json::parse(*body).at("logs").at(0).at("text"), "boom");
  const std::string text = told(*body);
  EXPECT_THAT(text, HasSubstr("web/1 is backoff: exited with status 1"));
  EXPECT_THAT(text, HasSubstr("next start in 1.9 s"));
  EXPECT_THAT(text, HasSubstr("last end: killed by SIGKILL"));
  EXPECT_THAT(text, HasSubstr("2 ends in a row"));
  EXPECT_THAT(text, HasSubstr("1 of 2 replicas in rotation behind listener web"));
}

TEST(WhyJson, AnAppTellsOfThoseThatAreNotReady) {
  Fixture fixture;
  const std::string text = told(*why_json(why(fixture)));
  EXPECT_THAT(text, HasSubstr("web is degraded: 1 of 2 ready"));
  EXPECT_THAT(text, HasSubstr("web/1 is backoff"));
  EXPECT_THAT(text, testing::Not(HasSubstr("web/0 is ready")));
}

TEST(WhyJson, WhatIsNotThereHasNoStory) {
  Fixture fixture;
  WhyInput input = why(fixture);
  input.app = "nobody";
  EXPECT_FALSE(why_json(input));
  input.app = "web";
  input.ordinal = 9;
  EXPECT_FALSE(why_json(input));
}

}  // namespace
}  // namespace muster::supervisor
