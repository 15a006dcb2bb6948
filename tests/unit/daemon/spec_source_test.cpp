#include "supervisor/spec_source.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::supervisor {
namespace {

using testing::ElementsAre;

spec::App named(const std::string& name, std::vector<std::string> after = {}) {
  spec::App app;
  app.name = name;
  for (std::string& other : after)
    app.after.push_back(spec::Dependency{.app = std::move(other), .condition = {}});
  return app;
}

spec::Spec stack() {
  spec::Spec made;
  made.apps = {named("cache"), named("db"), named("other"), named("web", {"cache"})};
  made.apps[0].after = {spec::Dependency{.app = "db", .condition = {}}};
  for (const char* name : {"other", "web"}) {
    made.listeners.emplace_back();
    made.listeners.back().name = made.listeners.back().app = name;
  }
  return made;
}

std::vector<std::string> names(const spec::Spec& made) {
  std::vector<std::string> all;
  for (const spec::App& app : made.apps) all.push_back(app.name);
  return all;
}

TEST(OnlyApps, NoNameMeansAll) {
  EXPECT_EQ(names(only_apps(stack(), {}).value()).size(), 4U);
}

TEST(OnlyApps, WhatAnAppNeedsComesWithIt) {
  const auto chosen = only_apps(stack(), {"web"});
  ASSERT_TRUE(chosen.ok());
  EXPECT_THAT(names(chosen.value()), ElementsAre("cache", "db", "web"));
  ASSERT_EQ(chosen.value().listeners.size(), 1U);
  EXPECT_EQ(chosen.value().listeners[0].name, "web");
}

TEST(OnlyApps, AnAddressInATemplateIsANeed) {
  spec::Spec made = stack();
  made.apps[2].run = {spec::Template(
      std::vector<spec::Template::Part>{spec::TemplateVariable{.name = "addr", .argument = "db"}})};
  EXPECT_THAT(names(only_apps(std::move(made), {"other"}).value()), ElementsAre("db", "other"));
}

TEST(OnlyApps, ANameThatIsNoAppIsAnError) {
  const auto chosen = only_apps(stack(), {"wbe"});
  ASSERT_FALSE(chosen.ok());
  EXPECT_EQ(chosen.error().code, ExitCode::usage);
}

}  // namespace
}  // namespace muster::supervisor
