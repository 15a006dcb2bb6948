#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fmt/core.h"
#include "rig.h"

namespace muster::spec {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::string> words(const std::vector<Template>& argv) {
  std::vector<std::string> texts;
  for (const Template& word : argv) texts.push_back(word.text());
  return texts;
}

TEST(App, TheStandardStackReadsAsItStands) {
  const Spec spec = good(R"([app.web]
run      = "python3 app.py --port {port}"
replicas = 4
listen   = "127.0.0.1:8080"      # HTTP
health   = "/healthz"
after    = ["db"]

[app.worker]
run   = "python3 worker.py"
after = ["db"]

[app.db]
run      = "./db --data {volume} --port {port}"
replicas = 3
port     = 5440
volume   = "data"
)");
  ASSERT_EQ(spec.apps.size(), 3U);
  const App& web = *spec.find_app("web");
  EXPECT_THAT(words(web.run), ElementsAre("python3", "app.py", "--port", "{port}"));
  EXPECT_EQ(web.replicas, 4);
  EXPECT_EQ(web.port, (Port{PortKind::automatic, 0}));
  EXPECT_EQ(web.health.http->text(), "/healthz");
  EXPECT_FALSE(web.health.tcp);
  EXPECT_THAT(web.after, ElementsAre(Dependency{"db", AfterCondition::ready}));
  EXPECT_FALSE(web.exclusive_slots());
  const App& db = *spec.find_app("db");
  EXPECT_EQ(db.port, (Port{PortKind::numbered, 5440}));
  EXPECT_TRUE(db.health.tcp);
  EXPECT_THAT(db.volumes, ElementsAre(Volume{"data", "data", 0700, {}}));
  EXPECT_TRUE(db.exclusive_slots());
  const App& worker = *spec.find_app("worker");
  EXPECT_EQ(worker.port.kind, PortKind::none);
  EXPECT_TRUE(worker.health.alive_only());
  EXPECT_EQ(worker.health.alive_for, Millis(1000));
  EXPECT_EQ(worker.dir.text(), "/spec");
  ASSERT_EQ(spec.listeners.size(), 1U);
  EXPECT_EQ(spec.listeners[0].name, "web");
  EXPECT_EQ(spec.listeners[0].app, "web");
  EXPECT_EQ(spec.find_app("wev"), nullptr);
  EXPECT_EQ(spec.find_listener("web"), spec.listeners.data());
}

TEST(App, DefaultsFollowTheMode) {
  const App daemon = app_with("");
  EXPECT_FALSE(daemon.inherit_env.all);
  EXPECT_TRUE(daemon.no_new_privs);
  EXPECT_EQ(daemon.stop.drain, Millis(30000));
  const App in_up = app_with("", up);
  EXPECT_TRUE(in_up.inherit_env.all);
  EXPECT_FALSE(in_up.no_new_privs);
  EXPECT_EQ(in_up.stop.drain, Millis(2000));
  EXPECT_FALSE(in_up.stop.drain_given);
  EXPECT_EQ(app_with("stop = { drain = \"1m\" }", up).stop.drain, Millis(60000));
  EXPECT_TRUE(app_with("stop = { drain = \"1m\" }", up).stop.drain_given);
}

TEST(App, UpdateReachesTheModel) {
  const Update none = app_with("").update;
  EXPECT_EQ(none, Update{});
  EXPECT_EQ(none.surge, (Share{25, true}));
  const Update update = app_with("update = { surge = '50%', unavailable = 2, min_ready = '10s' }").update;
  EXPECT_EQ(update.surge, (Share{50, true}));
  EXPECT_EQ(update.unavailable, (Share{2, false}));
  EXPECT_TRUE(update.unavailable_given);
  EXPECT_EQ(update.min_ready, Millis(10000));
  EXPECT_EQ(app_with("update = { strategy = 'recreate' }").update.strategy, UpdateStrategy::recreate);
  EXPECT_EQ(app_with("update = { strategy = 'ordered' }").update.strategy, UpdateStrategy::ordered);
  EXPECT_EQ(update.deadline, Millis(600000));
  EXPECT_TRUE(update.rollback);
  EXPECT_FALSE(app_with("update = { rollback = false }").update.rollback);
  EXPECT_EQ(app_with("update = { deadline = '30s' }").update.deadline, Millis(30000));
  // One of them alone may be 0, and how an update goes is no reason for one.
  EXPECT_EQ(app_with("update = { surge = 0 }").update.surge, (Share{0, false}));
  EXPECT_EQ(revision_text(app_with("update = { unavailable = 0 }")), revision_text(app_with("")));
}

TEST(App, EveryKeyReachesTheModel) {
  FakeWorld world;
  world.files["/spec/a.env"] = "X=1\n";
  world.files["/etc/b.env"] = "Y=2\n";
  const App app = app_with(R"(
replicas = 0
port = 7000
ports = { admin = 7100, extra = "auto" }
watchdog = "30s"
restart = { policy = "on-failure", backoff = "2s", max_backoff = "20s", jitter = 1, reset = "1m", max_restarts = "10 in 5m", ok_codes = [0, 7, 7] }
stop = { drain = "0s", signal = "SIGINT", timeout = "3s", exec = ["echo", "{port.admin}"] }
env = { B = "{ordinal}", A = 1, C = false }
env_file = ["a.env", "/etc/b.env"]
dir = "sub/{app}"
inherit_env = ["SSH_AUTH_SOCK"]
user = "www"
group = "root"
umask = "027"
nice = -5
no_new_privs = false
limits = { files = 100, core = "1MiB" }
log = { rotate = "1MiB", keep = 0, format = "raw" }
watch = "*.py"
live = { tcp = true, timeout = "2s" }
[app.a.volume]
one = { mode = "0755", path = "vols" }
two = "other"
)",
                           {}, world);
  EXPECT_EQ(app.replicas, 0);
  EXPECT_THAT(app.ports, ElementsAre(NamedPort{"admin", {PortKind::numbered, 7100}},
                                     NamedPort{"extra", {PortKind::automatic, 0}}));
  EXPECT_EQ(app.watchdog, Millis(30000));
  EXPECT_EQ(app.restart, (Restart{RestartPolicy::on_failure,
                                  Millis(2000),
                                  Millis(20000),
                                  1.0,
                                  Millis(60000),
                                  RestartLimit{10, Millis(300000)},
                                  {0, 7}}));
  EXPECT_EQ(app.stop.drain, Millis(0));
  EXPECT_EQ(app.stop.signal, 2);
  EXPECT_EQ(app.stop.timeout, Millis(3000));
  EXPECT_THAT(words(app.stop.exec), ElementsAre("echo", "{port.admin}"));
  ASSERT_EQ(app.env.size(), 3U);
  EXPECT_EQ(app.env[0].name + app.env[1].name + app.env[2].name, "ABC");
  EXPECT_EQ(app.env[0].value.text() + app.env[1].value.text() + app.env[2].value.text(), "1{ordinal}false");
  EXPECT_THAT(app.env_files, ElementsAre("/spec/a.env", "/etc/b.env"));
  EXPECT_THAT(app.env_file_vars, ElementsAre(std::pair("X", "1"), std::pair("Y", "2")));
  EXPECT_EQ(app.dir.text(), "/spec/sub/{app}");
  EXPECT_EQ(app.inherit_env, (InheritEnv{false, {"SSH_AUTH_SOCK"}}));
  EXPECT_EQ(app.user + app.group, "wwwroot");
  EXPECT_EQ(app.umask, 027U);
  EXPECT_EQ(app.nice, -5);
  EXPECT_FALSE(app.no_new_privs);
  EXPECT_EQ(app.limits, (Limits{100, 1048576}));
  EXPECT_EQ(app.log, (LogOptions{1048576, 0, LogFormat::raw}));
  EXPECT_THAT(app.watch, ElementsAre("*.py"));
  EXPECT_TRUE(app.live->tcp);
  EXPECT_EQ(app.live->every, Millis(10000));
  EXPECT_THAT(app.volumes,
              ElementsAre(Volume{"one", "one", 0755, "/spec/vols"}, Volume{"two", "other", 0700, {}}));
}

TEST(App, RunIsSplitFirstAndExpandedAfter) {
  FakeWorld world;
  world.environment["NAME"] = "two words {port}";
  const Spec spec = good("[app.a]\nrun = '''x ${NAME} 'a b' \"$${NAME}\" {{}}'''", {}, world);
  EXPECT_THAT(words(spec.apps[0].run), ElementsAre("x", "two words {{port}}", "a b", "${{NAME}}", "{{}}"));
  EXPECT_EQ(spec.apps[0].port.kind, PortKind::none);  // a value of the environment is no template
}

TEST(App, AListIsTakenWordByWord) {
  const Spec spec = good("[app.a]\nrun = ['x y', '', \"it's\"]");
  EXPECT_THAT(words(spec.apps[0].run), ElementsAre("x y", "", "it's"));
}

TEST(App, AShellScriptIsOneElement) {
  const Spec spec = good("[app.a]\nshell = true\nrun = \"echo '$$HOME' | cat {ordinal}; x=${U:-1}\"");
  EXPECT_THAT(words(spec.apps[0].run), ElementsAre("echo '$HOME' | cat {ordinal}; x=1"));
  EXPECT_THAT(complaints("[app.a]\nshell = true\nrun = ['a', 'b']"),
              ElementsAre("3:7 expected one string: with `shell` it is a script, found a list"));
}

TEST(App, TheDirectoryIsAbsoluteOrBegunWithAVolume) {
  EXPECT_EQ(app_with("dir = '/srv/{ordinal}'").dir.text(), "/srv/{ordinal}");
  EXPECT_EQ(app_with("volume = 'data'\ndir = '{volume}/x'").dir.text(), "{volume}/x");
  EXPECT_EQ(app_with("dir = '{app}'").dir.text(), "/spec/{app}");
}

TEST(App, AfterAsTable) {
  const Spec spec = good(
      "[app.a]\nrun='x'\nafter = { b = 'completed-ok', c = 'started' }\n[app.b]\nrun='x'\n[app.c]\nrun='x'");
  EXPECT_THAT(spec.apps[0].after, ElementsAre(Dependency{"b", AfterCondition::completed_ok},
                                              Dependency{"c", AfterCondition::started}));
}

struct Wrong {
  const char* keys;
  const char* complaint;
};

TEST(App, WrongValuesAreNamedWhereTheyStand) {
  for (const auto& [keys, complaint] : {
           Wrong{"replicas = -1", "3:12 -1 is not in 0..1000"},
           Wrong{"replicas = 1001", "3:12 1001 is not in 0..1000"},
           Wrong{"replicas = '4'",
                 "3:12 expected an integer in 0..1000, found a string | did you mean 4, without quotes?"},
           Wrong{"replicas = 1.5", "3:12 expected an integer in 0..1000, found a number"},
           Wrong{"port = 0", "3:8 0 is not in 1..65535"},
           Wrong{"port = 65536", "3:8 65536 is not in 1..65535"},
           Wrong{"port = 'atuo'",
                 "3:8 'atuo' is not one of \"auto\", \"none\", \"unix\" | did you mean 'auto'?"},
           Wrong{"ports = { a = 'unix' }", "3:15 a named port is a number or \"auto\""},
           Wrong{"port = 65535\nreplicas = 2", "3:8 2 replicas from port 65535 on would need port 65536"},
           Wrong{"ports = { Admin = 1 }",
                 "3:11 'Admin' is no name for a port | names are lower-case letters, digits and '-', begin "
                 "with a letter, do not end with '-', and have at most 31 characters"},
           Wrong{"ports = { admin = 'none' }", "3:19 a named port is a number or \"auto\""},
           Wrong{"ports = 5", "3:9 expected a table of ports, found an integer"},
           Wrong{"watchdog = 30", "3:12 a duration needs a unit | did you mean \"30s\"?"},
           Wrong{"watchdog = '10ms'", "3:12 '10ms' is too short: at least 100ms"},
           Wrong{"watchdog = true", "3:12 expected a duration like \"5s\", found true or false"},
           Wrong{
               "restart = 'allways'",
               "3:11 'allways' is not one of \"always\", \"on-failure\", \"never\" | did you mean 'always'?"},
           Wrong{"restart = true", "3:11 expected a string or a table, found true or false"},
           Wrong{"restart = { jitter = 1.5 }", "3:22 1.5 is not in 0..1"},
           Wrong{"restart = { jitter = nan }", "3:22 nan is not in 0..1"},
           Wrong{"restart = { ok_codes = [256] }", "3:25 256 is not in 0..255"},
           Wrong{"restart = { backoff = '2m' }",
                 "3:11 max_backoff (60000ms) is less than backoff (120000ms)"},
           Wrong{"restart = { backoff = '0s' }",
                 "3:23 backoff is at least 1ms: without a pause a broken app would be started without end | "
                 "the first restart is at once in any case"},
           Wrong{"restart = { max_backoff = '0s' }",
                 "3:27 max_backoff is at least 1ms: without a pause a broken app would be started without "
                 "end | "
                 "the first restart is at once in any case"},
           Wrong{"restart = { max_restarts = 10 }", "3:28 expected a string, found an integer"},
           Wrong{"restart = { max_restarts = '10/5m' }",
                 "3:28 '10/5m' is no limit of restarts | write \"10 in 5m\" or \"none\""},
           Wrong{"stop = '5s'", "3:8 expected a table, found a string"},
           Wrong{"stop = { exec = '' }", "3:17 no program is named here"},
           Wrong{"stop = { exec = \"a 'b\" }", "3:17 the quote ' is never closed"},
           Wrong{"env = { '1A' = 'x' }",
                 "3:9 '1A' is no name for an environment variable | letters, digits and '_', and no digit "
                 "first"},
           Wrong{"env = { MUSTER_APP = 'x' }", "3:9 'MUSTER_APP': names with MUSTER_ are set by muster"},
           Wrong{"env = { A = 1.5 }", "3:13 expected a string, found a number"},
           Wrong{"env = { A = \"x\\u0000\" }", "3:13 a string with a NUL character cannot be used"},
           Wrong{"env = ['A=1']", "3:7 expected a table of variables, found a list"},
           Wrong{"env_file = 'none.env'", "3:12 cannot read /spec/none.env: No such file or directory"},
           Wrong{"env_file = 5", "3:12 expected a string, found an integer"},
           Wrong{"dir = ''", "3:7 an empty string cannot be used here"},
           Wrong{"shell = 'true'",
                 "3:9 expected true or false, found a string | did you mean true, without quotes?"},
           Wrong{"inherit_env = 1", "3:15 expected true, false or a list of names, found an integer"},
           Wrong{"inherit_env = ['A B']",
                 "3:16 'A B' is no name for an environment variable | letters, digits and '_', and no digit "
                 "first"},
           Wrong{"user = 'nobdy'", "3:8 there is no user 'nobdy'"},
           Wrong{"group = 'nobdy'", "3:9 there is no group 'nobdy'"},
           Wrong{"umask = 22", "3:9 expected a quoted octal mode, found an integer | did you mean \"022\"?"},
           Wrong{"umask = '0o22'",
                 "3:9 '0o22' is not an octal mode from 0 to 0777 | modes are written like \"022\", \"0750\""},
           Wrong{"nice = 20", "3:8 20 is not in -20..19"},
           Wrong{"volume = 'Data'",
                 "3:10 'Data' is no name for a volume | names are lower-case letters, digits and '-', begin "
                 "with a letter, do not end with '-', and have at most 31 characters"},
           Wrong{"volume = { mode = '0750' }",
                 "3:12 'mode' belongs to a volume with a name | write volume.NAME = { mode = ... }"},
           Wrong{"volume = { data = { size = '1KiB' } }", "3:28 a volume needs room for 64KiB"},
           Wrong{"volume = { a = {}, b = 'a' }", "3:24 volumes 'a' and 'b' would share the directory 'a'"},
           Wrong{"volume = 5", "3:10 expected a name or a table, found an integer"},
           Wrong{"limits = { memory = 64 }", "3:21 a size needs a unit | did you mean \"64MiB\" or \"64B\"?"},
           Wrong{"limits = { memory = '1023KiB' }",
                 "3:21 no program starts in so little memory: 1MiB is the least"},
           Wrong{"limits = { memory = '0B' }",
                 "3:21 no program starts in so little memory: 1MiB is the least"},
           Wrong{"limits = { cpu = 0 }", "3:18 0 is not in 0.01..1024"},
           Wrong{"limits = { cpu = 0.009 }", "3:18 0.009 is not in 0.01..1024"},
           Wrong{"limits = { cpu = '50%' }", "3:18 expected a number in 0.01..1024, found a string"},
           Wrong{"limits = { pids = 0 }", "3:19 0 is not in 1..4194304"},
           Wrong{"limits = { pids = 1.5 }", "3:19 expected an integer in 1..4194304, found a number"},
           Wrong{"limits = { core = 0 }", "3:19 a size needs a unit | did you mean \"0MiB\" or \"0B\"?"},
           Wrong{"limits = { files = 3 }", "3:20 3 is not in 16..1073741816"},
           Wrong{"log = { rotate = '1KiB' }", "3:18 a log file needs room for 4KiB"},
           Wrong{"log = { format = 'jsno' }",
                 "3:18 'jsno' is not one of \"text\", \"json\", \"raw\" | did you mean 'json'?"},
           Wrong{"watch = ['']", "3:10 an empty string cannot be used here"},
           Wrong{"update = 5", "3:10 expected a table, found an integer"},
           Wrong{"update = { strategy = 'rollin' }",
                 "3:23 'rollin' is not one of \"rolling\", \"recreate\", \"ordered\" | did you mean "
                 "'rolling'?"},
           Wrong{
               "update = { surge = 0, unavailable = '0%' }",
               "3:37 with a surge of 0 and nothing unavailable no replica could be replaced | one of them is "
               "at least 1"},
           Wrong{"update = { unavailable = '101%' }",
                 "3:26 '101%' is no share of the replicas | write \"25%\", at most \"100%\", or a number of "
                 "replicas"},
           Wrong{"update = { surge = '1.5%' }",
                 "3:20 '1.5%' is no share of the replicas | write \"25%\", at most \"1000%\", or a number of "
                 "replicas"},
           Wrong{"update = { surge = -1 }", "3:20 -1 is not in 0..1000"},
           Wrong{"update = { strategy = 'recreate', surge = 1 }",
                 "3:43 `surge` and `unavailable` belong to the strategy \"rolling\""},
           Wrong{"update = { deadline = '5s', min_ready = '5s' }",
                 "3:10 deadline (5000ms) has to be longer than min_ready (5000ms)"},
           Wrong{"update = { min_ready = 5 }", "3:24 a duration needs a unit | did you mean \"5s\"?"},
           Wrong{"volume = 'data'\nupdate = { surge = 1 }",
                 "warning 4:20 app 'a' has a volume: never two processes of one ordinal, so its replicas are "
                 "updated one after the other, as with strategy = \"ordered\""},
           Wrong{"scale = { min = 1, cpu = 50 }", "3:9 `scale` has no `max`: how many replicas there may be"},
           Wrong{"scale = { min = 0, max = 3 }",
                 "3:17 `min = 0`: no listener leads to app 'a', so nothing would start it"},
           Wrong{"scale = { min = 0, max = 3, window = '900ms' }",
                 "3:9 `window` is less than 1s; with `min = 0` a replica stays that long without a request"},
           Wrong{"scale = { max = 3 }",
                 "3:9 `scale` says nothing to scale by: give `cpu`, `memory` or `in_flight`"},
           Wrong{"scale = { min = 4, max = 3, cpu = 50 }", "3:9 `max` is 3 and `min` is 4"},
           Wrong{"scale = { max = 3, cpu = 9, memory = 50 }",
                 "3:38 `memory` is a percentage of limits.memory, and app 'a' has none | limits = { memory = "
                 "\"512MiB\" }"},
           Wrong{"limits = { memory = '1GiB' }\nscale = { max = 3, memory = 101 }",
                 "4:29 101 is not in 1..100"},
           Wrong{"scale = { max = 3, in_flight = 5 }", "3:32 `in_flight`: no listener leads to app 'a'"},
           Wrong{"replicas = 9\nscale = { max = 3, cpu = 50 }",
                 "3:12 app 'a' begins with 9 replicas, `scale` allows 1 to 3"},
           Wrong{"image = 'x'", "3:1 'image' is not in this version"},
           Wrong{"after = 'b'", "3:9 there is no app 'b'"},
           Wrong{"after = { a = 'ready' }", "3:11 a cycle in `after`: a -> a"},
           Wrong{"after = { b = 'redy' }",
                 "3:15 'redy' is not one of \"ready\", \"started\", \"completed\", \"completed-ok\" | did "
                 "you mean 'ready'?"},
       })
    EXPECT_THAT(app_complaints(keys), ElementsAre(complaint)) << keys;
}

TEST(App, RunIsRequired) {
  EXPECT_THAT(complaints("[app.a]"), ElementsAre("1:6 app 'a' has no `run`"));
  EXPECT_THAT(complaints("[app.a]\nrun = ''"), ElementsAre("2:7 no program is named here"));
  EXPECT_THAT(complaints("[app.a]\nrun = []"), ElementsAre("2:7 no program is named here"));
  EXPECT_THAT(complaints("[app.a]\nrun = 5"),
              ElementsAre("2:7 expected a string or a list of strings, found an integer"));
  EXPECT_THAT(complaints("[app.a]\nrun = ['x', 5]"), ElementsAre("2:13 expected a string, found an integer"));
  EXPECT_THAT(complaints("[app.a]\nshell = true\nrun = ' '"), ElementsAre("3:7 the script is empty"));
}

TEST(App, NamesAreStrict) {
  for (const char* name : {"A", "1a", "a-", "-a", "a_b", "\"\"", "\"a.b\"", "\"a b\"", "\"../x\"",
                           "abcdefghijklmnopqrstuvwxyz012345"})
    EXPECT_EQ(complaints(std::string("[app.") + name + "]\nrun = 'x'").size(), 1U) << name;
  for (const char* name : {"a", "a1", "a-b", "abcdefghijklmnopqrstuvwxyz01234"})
    EXPECT_THAT(complaints(std::string("[app.") + name + "]\nrun = 'x'"), IsEmpty()) << name;
  EXPECT_THAT(complaints("app = 5"), ElementsAre("1:7 expected tables [app.NAME], found an integer"));
  EXPECT_THAT(complaints("app.web = 5"), ElementsAre("1:11 expected a table [app.web], found an integer"));
  EXPECT_THAT(complaints("[[app]]"), ElementsAre("1:1 expected tables [app.NAME], found a list"));
}

std::vector<std::string> everything_named(const std::string& name) {
  constexpr std::string_view app = "[app.a]\nrun = 'x {port}'\n";
  return {fmt::format("[app.\"{}\"]\nrun = 'x'", name),
          fmt::format("[job.\"{}\"]\nrun = 'x'", name),
          fmt::format("{}[listen.\"{}\"]\nbind = '127.0.0.1:80'\nto = 'a'", app, name),
          fmt::format("{}volume = \"{}\"", app, name),
          fmt::format("{}volume.\"{}\" = {{}}", app, name),
          fmt::format("{}volume.data = \"{}\"", app, name),
          fmt::format("{}ports.\"{}\" = 9000", app, name)};
}

// What they name are folders, files and sockets of muster's own.
TEST(App, NoNameLeadsOutOfItsFolder) {
  for (const std::string& text : everything_named("good")) EXPECT_THAT(complaints(text), IsEmpty()) << text;
  for (const char* name : {"../x", "..", ".", "/etc", "x/y", "x/../../y", "x\\u0000y", "x\\ny"}) {
    for (const std::string& text : everything_named(name)) EXPECT_FALSE(complaints(text).empty()) << text;
  }
}

TEST(App, EqualityLeavesPositionsOut) {
  EXPECT_EQ(app_with("nice = 1"), good("# moved\n\n[app.a]\nnice = 1\nrun = 'x'").apps[0]);
  EXPECT_FALSE(app_with("nice = 1") == app_with("nice = 2"));
}

}  // namespace
}  // namespace muster::spec
