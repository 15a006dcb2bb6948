// Includes, [defaults] and the environment.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/limits.h"
#include "fmt/core.h"
#include "rig.h"

namespace muster::spec {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Include, MergesFiles) {
  FakeWorld world;
  world.files["/spec/conf.d/a.toml"] = "[app.a]\nrun='x'\nenv_file='a.env'\n[daemon]\nthreads=2\n";
  world.files["/spec/conf.d/b.toml"] = "[app.b]\nrun='x'\nafter='a'\n[app.main]\nnice=3\n";
  world.files["/spec/conf.d/not.txt"] = "]]]";
  world.files["/spec/a.env"] = "A=1";
  const Spec spec =
      good("include = ['conf.d/*.toml']\n[app.main]\nrun='x'\n[daemon]\nlog_level='warn'", {}, world);
  EXPECT_EQ(spec.apps.size(), 3U);
  EXPECT_EQ(spec.find_app("main")->nice, 3);
  EXPECT_EQ(spec.daemon.threads, 2);
  EXPECT_EQ(spec.daemon.log_level, LogLevel::warn);
  EXPECT_THAT(spec.files, ElementsAre("/spec/muster.toml", "/spec/conf.d/a.toml", "/spec/conf.d/b.toml"));
  EXPECT_THAT(spec.env_files, ElementsAre("/spec/a.env"));
  EXPECT_EQ(spec.find_app("a")->position.file, "/spec/conf.d/a.toml");
}

TEST(Include, NeverItself) {
  FakeWorld world;
  world.files["/spec/more.toml"] = "include = ['*.toml']\n[app.b]\nrun='x'";
  const Spec spec = good("include = ['*.toml', 'more.toml']\n[app.a]\nrun='x'", {}, world);
  EXPECT_EQ(spec.apps.size(), 2U);
  EXPECT_EQ(spec.files.size(), 2U);
}

TEST(Include, OneKeyInTwoPlacesNamesBoth) {
  FakeWorld world;
  world.files["/spec/b.toml"] = "\n[app.a]\nnice = 2\nenv = { A = 'x', B = 'y' }";
  EXPECT_THAT(complaints("include='b.toml'\n[app.a]\nrun='x'\nnice=1\nenv={A='z'}", {}, world),
              ElementsAre("3:1 'nice' is already defined at /spec/muster.toml:4:1",
                          "4:9 'A' is already defined at /spec/muster.toml:5:6"));
}

TEST(Include, APatternMayFindNothingANameMayNot) {
  EXPECT_THAT(complaints("include = ['conf.d/*.toml']"), IsEmpty());
  EXPECT_THAT(
      complaints("include = ['conf.d/a.toml', 5]"),
      ElementsAre("1:12 there is no file /spec/conf.d/a.toml", "1:29 expected a string, found an integer"));
}

TEST(Include, ErrorsOfAllFilesInTheirOrder) {
  FakeWorld world;
  world.files["/spec/a.toml"] = "[app.a]\nrnu='x'";
  world.files["/spec/b.toml"] = "oops\n";
  const Loaded loaded = world.load("include = ['*.toml']\nfoo=1");
  ASSERT_EQ(loaded.diagnostics.size(), 3U);
  EXPECT_EQ(loaded.diagnostics[0].at, (Position{"/spec/muster.toml", 2, 1}));
  EXPECT_EQ(loaded.diagnostics[1].at, (Position{"/spec/a.toml", 2, 1}));
  EXPECT_EQ(loaded.diagnostics[2].at.file, "/spec/b.toml");
  EXPECT_EQ(loaded.exit_code, ExitCode::bad_spec);
}

TEST(Include, TooManyFiles) {
  FakeWorld world;
  for (int i = 0; i < 300; ++i) world.files[fmt::format("/spec/c/{}.toml", i)] = "";
  EXPECT_THAT(complaints("include = ['c/*.toml']", {}, world), ElementsAre("1:12 more than 256 files"));
}

TEST(Files, AreNamedWithTheirExitCode) {
  const FakeWorld world;
  const Loaded missing = load("/spec/none.toml", world.world(), {});
  EXPECT_EQ(missing.exit_code, ExitCode::no_spec);
  ASSERT_EQ(missing.diagnostics.size(), 1U);
  EXPECT_EQ(missing.diagnostics[0].at, (Position{"/spec/none.toml", 0, 0}));
  const Loaded large = world.load(std::string(limits::spec_file_bytes_max + 1, '\n'));
  EXPECT_EQ(large.exit_code, ExitCode::bad_spec);
  EXPECT_EQ(large.diagnostics.at(0).message, "/spec/muster.toml is larger than 4 MiB");
  EXPECT_TRUE(world.load(std::string(limits::spec_file_bytes_max, '\n')).spec);
}

TEST(Defaults, HoldWhereAnAppSaysNothing) {
  const Spec spec = good(R"([defaults]
nice = 3
restart = { backoff = '2s', jitter = 0 }
env = { A = '1', B = '2' }
health = 'none'
[app.a]
run = 'x'
[app.b]
run = 'x'
nice = 0
restart = { backoff = '3s' }
env = { B = '3' }
health = { every = '9s' }
)");
  const App& a = *spec.find_app("a");
  EXPECT_EQ(a.nice, 3);
  EXPECT_EQ(a.restart.backoff, Millis(2000));
  EXPECT_EQ(a.env.size(), 2U);
  EXPECT_TRUE(a.health.always);
  const App& b = *spec.find_app("b");
  EXPECT_EQ(b.nice, 0);
  EXPECT_EQ(b.restart.backoff, Millis(3000));
  EXPECT_EQ(b.restart.jitter, 0);
  EXPECT_EQ(b.env.size(), 2U);
  EXPECT_EQ(b.env[1].value.text(), "3");
  EXPECT_FALSE(b.health.always);
}

TEST(Defaults, TheirErrorsAreSaidOnce) {
  EXPECT_THAT(complaints("[defaults]\nnic=1\nnice=50\n[app.a]\nrun='x'\n[app.b]\nrun='x'"),
              ElementsAre("2:1 unknown key 'nic' | did you mean 'nice'?", "3:6 50 is not in -20..19"));
  EXPECT_THAT(complaints("[defaults]\nnic=1\nnice=50"),
              ElementsAre("2:1 unknown key 'nic' | did you mean 'nice'?", "3:6 50 is not in -20..19"));
  EXPECT_THAT(complaints("defaults = 5"), ElementsAre("1:12 expected a table, found an integer"));
}

TEST(Environment, IsReplacedInEveryString) {
  FakeWorld world;
  world.environment = {{"P", "7001"}, {"U", "www"}, {"D", "9s"}};
  const Spec spec =
      good("[app.a]\nrun='x'\nlisten='127.0.0.1:${P}'\nuser='${U}'\nhealth={every='${D}'}", {}, world);
  EXPECT_EQ(spec.listeners[0].bind[0].port, 7001);
  EXPECT_EQ(spec.apps[0].user, "www");
  EXPECT_EQ(spec.apps[0].health.every, Millis(9000));
  EXPECT_THAT(
      complaints("[app.a]\nrun='x ${NO} ${P}'\nuser='${NO:?who?}'", {}, world),
      ElementsAre("2:5 the environment has no 'NO' | ${NO:-default} gives a default; $$ is a $", "3:6 who?"));
}

TEST(EnvFiles, AreReadAgainOnRequest) {
  FakeWorld world;
  world.files["/spec/a.env"] = "A=1";
  const App app = app_with("env_file='a.env'", {}, world);
  world.files["/spec/a.env"] = "A=2\nB=3";
  const auto again = read_env_files(app, world.world().read_file);
  ASSERT_TRUE(again.ok());
  EXPECT_THAT(again.value(), ElementsAre(std::pair("A", "2"), std::pair("B", "3")));
  world.files.clear();
  EXPECT_EQ(read_env_files(app, world.world().read_file).error().code, ExitCode::bad_spec);
}

TEST(EnvFiles, AllTogetherHaveALimit) {
  FakeWorld world;
  for (int i = 0; i < 1000; ++i)
    world.files["/spec/a.env"] += fmt::format("V{}={}\n", i, std::string(900, 'x'));
  std::string text = "[defaults]\nenv_file='a.env'\n";
  for (int i = 0; i < 70; ++i) text += fmt::format("[app.a{}]\nrun='x'\n", i);
  EXPECT_THAT(complaints(text, {}, world),
              ElementsAre("2:10 the env_files of all apps hold more than 64 MiB"));
  world.files["/spec/a.env"] += std::string(200000, '#');
  EXPECT_THAT(complaints("[app.a]\nrun='x'\nenv_file='a.env'", {}, world),
              ElementsAre("3:10 /spec/a.env: larger than 1048576 bytes"));
}

TEST(EnvFiles, TheirErrorsNameBothPlaces) {
  FakeWorld world;
  world.files["/spec/a.env"] = "A=1\nnope\n";
  EXPECT_THAT(complaints("[app.a]\nrun='x'\nenv_file='a.env'", {}, world),
              ElementsAre("3:10 /spec/a.env:2: no '=' behind 'nope'"));
}

}  // namespace
}  // namespace muster::spec
