#include "supervisor/revision_codec.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "spec/load.h"

namespace muster::supervisor {
namespace {

spec::App everything() {
  spec::App app;
  app.name = "web";
  app.run = {spec::Template("./web"), spec::Template(std::vector<spec::Template::Part>{
                                          "--port=", spec::TemplateVariable{"port", "admin"}})};
  app.shell = true;
  app.port = {.kind = spec::PortKind::numbered, .base = 65000};
  app.ports = {{"admin", {.kind = spec::PortKind::automatic, .base = 0}}};
  app.health.http = spec::Template("/healthz");
  app.health.log = "^listening$";
  app.health.expect = {{200, 204}, {301, 301}};
  app.live = spec::HealthCheck{};
  app.live->cmd = {spec::Template("true")};
  app.watchdog = Millis{5000};
  app.stop = {.drain = Millis{1},
              .drain_given = true,
              .signal = 2,
              .timeout = Millis{3},
              .exec = {spec::Template("x")}};
  app.env = {{"A", spec::Template("1")}, {"TOKEN", spec::Template("s3cr3t")}};
  app.env_files = {"/etc/web.env"};
  app.env_file_vars = {{"B", "2"}};
  app.dir = spec::Template("/srv");
  app.inherit_env.names = {"LANG"};
  app.user = "www";
  app.group = "www";
  app.umask = 027;
  app.nice = -5;
  app.no_new_privs = true;
  app.volumes = {{.key = "data", .name = "d", .mode = 0750, .path = "/vol"},
                 {.key = "x", .name = "x", .mode = 0700, .path = {}}};
  app.limits = {.files = 1024, .core = std::uint64_t{1} << 40U};
  return app;
}

spec::App reread(const spec::App& app) {
  const std::string text = boost::json::serialize(settings_to_json(app));
  auto read = settings_from_json(app.name, boost::json::parse(text));
  EXPECT_TRUE(read.ok()) << read.error().message;
  return read ? read.value() : spec::App{};
}

TEST(RevisionCodec, AnAppComesBackAsItWas) {
  EXPECT_EQ(reread(everything()), everything());
  EXPECT_EQ(spec::revision_text(reread(everything())), spec::revision_text(everything()));
  spec::App plain;
  plain.name = "web";
  plain.run = {spec::Template("x")};
  plain.inherit_env.all = true;
  EXPECT_EQ(reread(plain), plain);
}

TEST(RevisionCodec, WhatIsWrongIsNamed) {
  for (const auto& [key, value] : std::vector<std::pair<std::string, boost::json::value>>{
           {"run", 5}, {"umask", "x"}, {"port", boost::json::array{9, 1}}, {"health", nullptr}, {"env", 1}}) {
    boost::json::object settings = settings_to_json(everything());
    settings[key] = value;
    const auto read = settings_from_json("web", settings);
    ASSERT_FALSE(read.ok()) << key;
    EXPECT_THAT(read.error().message, testing::HasSubstr(key));
    settings.erase(key);
    EXPECT_FALSE(settings_from_json("web", settings).ok()) << key;
  }
}

TEST(RevisionCodec, ChangesAreNamedWithoutTheirValues) {
  spec::App after = everything();
  after.run.emplace_back("-v");
  after.env[1].value = spec::Template("other");
  after.env_file_vars[0].second = "3";
  after.live.reset();
  EXPECT_THAT(changed_keys(everything(), after),
              testing::UnorderedElementsAre("run", "env", "env_file", "live"));
  EXPECT_TRUE(changed_keys(after, after).empty());
}

}  // namespace
}  // namespace muster::supervisor
