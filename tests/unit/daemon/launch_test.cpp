#include "supervisor/launch.h"

#include <algorithm>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::supervisor {
namespace {

using spec::Template;
using spec::TemplateVariable;
using testing::Contains;
using testing::ElementsAre;
using testing::Not;
using testing::StartsWith;

Template variable(std::string name, std::string argument = "") {
  return Template(std::vector<Template::Part>{TemplateVariable{std::move(name), std::move(argument)}});
}

LaunchContext context() {
  LaunchContext made;
  made.replica = ReplicaId{.app = "web", .ordinal = 2};
  made.replicas = 4;
  made.ports = {{"", 20001}, {"admin", 20002}};
  made.volumes = {{"data", "/var/lib/x y"}};
  made.addresses = {{"db", "127.0.0.1:5440,127.0.0.1:5441"}};
  made.folder = "/srv/stack";
  made.daemon_environment = {"PATH=/bin",    "HOME=/root",       "SECRET=1",        "NOTIFY_SOCKET=/x",
                             "LISTEN_FDS=1", "MUSTER_SOCKET=/s", "WATCHDOG_USEC=5", "LANG=C.UTF-8"};
  made.account = AccountInfo{.name = "app", .home = "/srv/app", .shell = "/bin/sh"};
  return made;
}

TEST(Launch, APortMayBeAPath) {
  LaunchContext known = context();
  known.ports = {{"admin", 20002}};
  known.socket = "/run/x/sock";
  EXPECT_EQ(value_of({"port", ""}, known), "/run/x/sock");
  EXPECT_EQ(value_of({"port", "admin"}, known), "20002");
  spec::App app;
  app.run = {Template("x")};
  EXPECT_THAT(main_order(app, known).environment, Contains("PORT=/run/x/sock"));
}

TEST(Launch, EveryTemplateVariableHasItsValue) {
  const LaunchContext known = context();
  const std::pair<TemplateVariable, std::string> rows[] = {{{"port", ""}, "20001"},
                                                           {{"port", "admin"}, "20002"},
                                                           {{"addr", ""}, "127.0.0.1"},
                                                           {{"addr", "db"}, "127.0.0.1:5440,127.0.0.1:5441"},
                                                           {{"ordinal", ""}, "2"},
                                                           {{"replicas", ""}, "4"},
                                                           {{"app", ""}, "web"},
                                                           {{"volume", ""}, "/var/lib/x y"},
                                                           {{"volume", "data"}, "/var/lib/x y"}};
  for (const auto& [asked, wanted] : rows)
    EXPECT_EQ(value_of(asked, known), wanted) << asked.name << "." << asked.argument;
}

TEST(Launch, AValueNeverSplitsAnArgument) {
  spec::App app;
  app.run = {Template("db"), Template("--data"), variable("volume")};
  EXPECT_THAT(main_order(app, context()).argv, ElementsAre("db", "--data", "/var/lib/x y"));
}

TEST(Launch, AShellGetsValuesAsOneWord) {
  spec::App app;
  app.shell = true;
  app.run = {Template(
      std::vector<Template::Part>{"ls ", TemplateVariable{"volume", ""}, " ", TemplateVariable{"port", ""}})};
  EXPECT_THAT(main_order(app, context()).argv, ElementsAre("/bin/sh", "-c", "ls '/var/lib/x y' 20001"));
  EXPECT_EQ(shell_quoted("it's"), "'it'\\''s'");
  EXPECT_EQ(shell_quoted(""), "''");
  EXPECT_EQ(shell_quoted("a/b.c:1,d"), "a/b.c:1,d");
}

TEST(Launch, WithoutInheritanceOnlyWhatTheAppsUserNeedsIsThere) {
  spec::App app;
  const auto environment = main_order(app, context()).environment;
  EXPECT_THAT(environment, Contains("PATH=/bin"));
  EXPECT_THAT(environment, Contains("HOME=/srv/app"));
  EXPECT_THAT(environment, Contains("USER=app"));
  EXPECT_THAT(environment, Contains("SHELL=/bin/sh"));
  EXPECT_THAT(environment, Contains("LANG=C.UTF-8"));
  EXPECT_THAT(environment, Not(Contains(StartsWith("SECRET="))));
}

TEST(Launch, NamesThatAreInheritedComeThrough) {
  spec::App app;
  app.inherit_env.names = {"SECRET"};
  EXPECT_THAT(main_order(app, context()).environment, Contains("SECRET=1"));
}

TEST(Launch, WhatTheServiceManagerToldMusterStaysWithIt) {
  spec::App app;
  app.inherit_env.all = true;
  const auto environment = main_order(app, context()).environment;
  EXPECT_THAT(environment, Contains("SECRET=1"));
  EXPECT_THAT(environment, Contains("HOME=/root"));
  for (const char* name : {"NOTIFY_SOCKET=", "LISTEN_FDS=", "WATCHDOG_USEC=", "MUSTER_SOCKET="})
    EXPECT_THAT(environment, Not(Contains(StartsWith(name)))) << name;
}

TEST(Launch, WhereCredentialsAreIsToldToWhomTheSpecNamesItFor) {
  LaunchContext with = context();
  with.daemon_environment.emplace_back("CREDENTIALS_DIRECTORY=/run/credentials/muster.service");
  spec::App app;
  app.inherit_env.all = true;
  EXPECT_THAT(main_order(app, with).environment, Not(Contains(StartsWith("CREDENTIALS_DIRECTORY="))));
  app.inherit_env = {.all = false, .names = {"CREDENTIALS_DIRECTORY"}};
  EXPECT_THAT(main_order(app, with).environment,
              Contains("CREDENTIALS_DIRECTORY=/run/credentials/muster.service"));
}

TEST(Launch, AnotherUsersHomeIsNotTheDaemons) {
  spec::App app;
  app.inherit_env.all = true;
  LaunchContext other = context();
  other.other_user = true;
  EXPECT_THAT(main_order(app, other).environment, Contains("HOME=/srv/app"));
}

TEST(Launch, WhoAReplicaIsStandsInItsEnvironment) {
  spec::App app;
  app.after = {spec::Dependency{.app = "db", .condition = spec::AfterCondition::ready}};
  app.env = {spec::EnvVar{"MUSTER_ORDINAL", Template("99")}, spec::EnvVar{"PORT", Template("7")}};
  const auto environment = main_order(app, context()).environment;
  for (const char* wanted :
       {"MUSTER_APP=web", "MUSTER_ORDINAL=2", "MUSTER_REPLICAS=4", "MUSTER_VOLUME_DATA=/var/lib/x y",
        "MUSTER_ADDR_DB=127.0.0.1:5440,127.0.0.1:5441", "PORT=7"})
    EXPECT_THAT(environment, Contains(wanted));
}

TEST(Launch, TheFileWinsOverEnvFilesAndBothOverTheDaemons) {
  spec::App app;
  app.inherit_env.all = true;
  app.env_file_vars = {{"SECRET", "2"}, {"A", "file"}};
  app.env = {spec::EnvVar{"A", Template("spec")}};
  const auto environment = main_order(app, context()).environment;
  EXPECT_THAT(environment, Contains("SECRET=2"));
  EXPECT_THAT(environment, Contains("A=spec"));
}

TEST(Launch, NotifyVariablesAreForTheMainProcessOnly) {
  spec::App app;
  app.watchdog = Millis{2500};
  LaunchContext notified = context();
  notified.notify_socket = "@muster/1";
  EXPECT_THAT(main_order(app, notified).environment, Contains("NOTIFY_SOCKET=@muster/1"));
  EXPECT_THAT(main_order(app, notified).environment, Contains("WATCHDOG_USEC=2500000"));
  const auto command = command_order(app, {Template("check"), variable("port")}, notified);
  EXPECT_THAT(command.argv, ElementsAre("check", "20001"));
  EXPECT_THAT(command.environment, Not(Contains(StartsWith("NOTIFY_SOCKET="))));
}

TEST(Launch, PythonIsUnbufferedInUpUnlessItIsSaid) {
  spec::App app;
  LaunchContext up = context();
  EXPECT_THAT(main_order(app, up).environment, Not(Contains(StartsWith("PYTHONUNBUFFERED="))));
  up.unbuffered_python = true;
  EXPECT_THAT(main_order(app, up).environment, Contains("PYTHONUNBUFFERED=1"));
  app.env = {spec::EnvVar{"PYTHONUNBUFFERED", Template("")}};
  EXPECT_THAT(main_order(app, up).environment, Contains("PYTHONUNBUFFERED="));
}

TEST(Launch, TheFolderIsAbsolute) {
  spec::App app;
  EXPECT_EQ(main_order(app, context()).dir, "/srv/stack");
  app.dir = Template("sub");
  EXPECT_EQ(main_order(app, context()).dir, "/srv/stack/sub");
  app.dir = Template("/elsewhere");
  EXPECT_EQ(main_order(app, context()).dir, "/elsewhere");
}

}  // namespace
}  // namespace muster::supervisor
