#include "spec/fields.h"

#include <array>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "rig.h"

namespace muster::spec {
namespace {

using testing::IsEmpty;

struct Edit {
  const char* before;
  const char* after;
  const char* key;  // the only one that changes
};

std::string says(const std::vector<FieldChange>& changes) {
  std::string text;
  for (const FieldChange& change : changes)
    text += change.key + ": " + change.before.value_or("-") + " -> " + change.after.value_or("-") + "\n";
  return text;
}

constexpr std::array app_edits{
    Edit{"", "replicas = 2", "replicas"},
    Edit{"", "port = 80", "port"},
    Edit{"port = 80", "port = 'unix'", "port"},
    Edit{"ports = { a = 90 }", "ports = { a = 'auto' }", "ports.a"},
    Edit{"port = 80\nhealth = '/a'", "port = 80\nhealth = '/b'", "health.http"},
    Edit{"health = 'cmd a b'", "health = 'cmd a c'", "health.cmd"},
    Edit{"health = 'log:a'", "health = 'log:b'", "health.log"},
    Edit{"", "health = { every = '5s' }", "health.every"},
    Edit{"", "health = { timeout = '5s' }", "health.timeout"},
    Edit{"", "health = { fall = 5 }", "health.fall"},
    Edit{"", "health = { rise = 5 }", "health.rise"},
    Edit{"", "health = { start = '5s' }", "health.start"},
    Edit{"port = 80\nhealth = '/a'", "port = 80\nhealth = { http = '/a', expect = '204' }", "health.expect"},
    Edit{"live = 'cmd a'", "live = { cmd = 'a', every = '3s' }", "live.every"},
    Edit{"", "watchdog = '1s'", "watchdog"},
    Edit{"after = { b = 'ready' }", "after = { b = 'started' }", "after.b"},
    Edit{"", "restart = 'never'", "restart.policy"},
    Edit{"", "restart = { backoff = '2s' }", "restart.backoff"},
    Edit{"", "restart = { max_backoff = '2m' }", "restart.max_backoff"},
    Edit{"", "restart = { jitter = 0.5 }", "restart.jitter"},
    Edit{"", "restart = { reset = '1m' }", "restart.reset"},
    Edit{"", "restart = { max_restarts = '3 in 1m' }", "restart.max_restarts"},
    Edit{"", "restart = { ok_codes = [0, 3] }", "restart.ok_codes"},
    Edit{"", "stop = { drain = '1s' }", "stop.drain"},
    Edit{"", "stop = { signal = 'INT' }", "stop.signal"},
    Edit{"", "stop = { timeout = '1s' }", "stop.timeout"},
    Edit{"", "stop = { exec = 'a b' }", "stop.exec"},
    Edit{"", "update = { strategy = 'recreate' }", "update.strategy"},
    Edit{"", "update = { surge = 2 }", "update.surge"},
    Edit{"", "update = { unavailable = '25%' }", "update.unavailable"},
    Edit{"", "update = { min_ready = '1s' }", "update.min_ready"},
    Edit{"", "update = { deadline = '1m' }", "update.deadline"},
    Edit{"", "update = { rollback = false }", "update.rollback"},
    Edit{"scale = { max = 3, cpu = 50 }", "scale = { max = 4, cpu = 50 }", "scale.max"},
    Edit{"scale = { max = 3, cpu = 50 }", "scale = { max = 3, cpu = 60 }", "scale.cpu"},
    Edit{"scale = { max = 3, cpu = 50 }", "scale = { max = 3, cpu = 50, window = '1m' }", "scale.window"},
    Edit{"scale = { max = 3, cpu = 50 }", "scale = { max = 3, cpu = 50, cooldown = '1m' }", "scale.cooldown"},
    Edit{"env = { A = '1' }", "env = { A = '2' }", "env.A"},
    Edit{"", "env = { A = '' }", "env.A"},
    Edit{"", "dir = '/x'", "dir"},
    Edit{"", "shell = true", "shell"},
    Edit{"", "inherit_env = true", "inherit_env"},
    Edit{"inherit_env = ['A']", "inherit_env = ['A', 'B']", "inherit_env"},
    Edit{"", "user = 'www'", "user"},
    Edit{"", "group = 'www'", "group"},
    Edit{"", "umask = '027'", "umask"},
    Edit{"", "nice = 3", "nice"},
    Edit{"", "no_new_privs = false", "no_new_privs"},
    Edit{"volume = { d = { mode = '0700' } }", "volume = { d = { mode = '0750' } }", "volume.d.mode"},
    Edit{"volume = { d = { path = '/a' } }", "volume = { d = { path = '/b' } }", "volume.d.path"},
    Edit{"volume = { d = { size = '1MiB' } }", "volume = { d = { size = '2MiB' } }", "volume.d.size"},
    Edit{"", "volume = 'd'", "volume.d"},
    Edit{"", "limits = { files = 100 }", "limits.files"},
    Edit{"", "limits = { core = '0B' }", "limits.core"},
    Edit{"", "limits = { memory = '64MiB' }", "limits.memory"},
    Edit{"limits = { cpu = 0.5 }", "limits = { cpu = 1 }", "limits.cpu"},
    Edit{"limits = { pids = 5 }", "limits = { pids = 6 }", "limits.pids"},
    Edit{"limits = { memory = '64MiB' }\nscale = { max = 3, memory = 50 }",
         "limits = { memory = '64MiB' }\nscale = { max = 3, memory = 60 }", "scale.memory"},
    Edit{"", "log = { rotate = '1MiB' }", "log.rotate"},
    Edit{"", "log = { keep = 1 }", "log.keep"},
    Edit{"", "log = { format = 'raw' }", "log.format"},
    Edit{"", "watch = 'x'", "watch"},
};

App first_app(const std::string& keys) {
  return good("[app.a]\nrun = 'x'\n" + keys + "\n[app.b]\nrun = 'y'\n").apps.at(0);
}

// What is compared is told, under the key's own name; and what starts new processes is said to.
TEST(Fields, EachKeyOfAnAppIsToldAlone) {
  for (const Edit& edit : app_edits) {
    const App before = first_app(edit.before);
    const App after = first_app(edit.after);
    const auto changes = changed_fields(fields_of(before), fields_of(after));
    EXPECT_FALSE(before == after) << edit.after;
    const auto named =
        std::ranges::count_if(changes, [&](const FieldChange& change) { return change.key == edit.key; });
    EXPECT_EQ(named, 1) << edit.after << "\n" << says(changes);
    const bool restarts = std::ranges::any_of(changes, &FieldChange::restarts);
    EXPECT_EQ(restarts, revision_text(before) != revision_text(after)) << edit.after << "\n" << says(changes);
    EXPECT_EQ(changed_fields(fields_of(after), fields_of(before)).size(), changes.size()) << edit.after;
  }
}

constexpr std::array listener_edits{
    Edit{"", "mode = 'tcp'", "mode"},
    Edit{"", "timeout = { connect = '2s' }", "timeout.connect"},
    Edit{"", "timeout = { head = '2s' }", "timeout.head"},
    Edit{"", "timeout = { idle = '2s' }", "timeout.idle"},
    Edit{"", "timeout = { keepalive = '2s' }", "timeout.keepalive"},
    Edit{"", "timeout = { response = '2s' }", "timeout.response"},
    Edit{"", "timeout = { tunnel = '2s' }", "timeout.tunnel"},
    Edit{"", "timeout = { send = '2s' }", "timeout.send"},
    Edit{"", "balance = 'least-conn'", "balance"},
    Edit{"balance = 'hash:client'", "balance = 'hash:path'", "balance"},
    Edit{"balance = 'hash:header:A'", "balance = 'hash:header:B'", "balance"},
    Edit{"", "sticky = { cookie = 'c' }", "sticky.cookie"},
    Edit{"", "eject = { fails = 3 }", "eject.fails"},
    Edit{"", "eject = { time = '3s' }", "eject.time"},
    Edit{"", "retries = 1", "retries"},
    Edit{"", "queue = { size = 5 }", "queue.size"},
    Edit{"", "queue = { timeout = '1s' }", "queue.timeout"},
    Edit{"", "body_max = '1MiB'", "body_max"},
    Edit{"", "max_conns = 10", "max_conns"},
    Edit{"", "max_in_flight = 10", "max_in_flight"},
    Edit{"", "proxy_protocol = { in = true }", "proxy_protocol.in"},
    Edit{"", "proxy_protocol = { out = 'v2' }", "proxy_protocol.out"},
    Edit{"", "headers = { set = { A = '1' } }", "headers.set.1.A"},
    Edit{"", "headers = { remove = ['A'] }", "headers.remove"},
    Edit{"", "response_headers = { add = { A = '1' } }", "response_headers.add.1.A"},
    Edit{"", "trusted_proxies = ['10.0.0.0/8']", "trusted_proxies"},
    Edit{"", "access_log = 'json'", "access_log"},
    Edit{"route = [{ path = '/x', to = 'b' }]", "route = [{ path = '/y', to = 'b' }]", "route.1.path"},
    Edit{"route = [{ path = '/x', to = 'b' }]", "route = [{ path = '/x', to = 'a' }]", "route.1.to"},
    Edit{"route = [{ path = '/x', to = 'b' }]", "route = [{ path = '/x', to = 'b', weight = 2 }]",
         "route.1.weight"},
    Edit{"route = [{ path = '/x', to = 'b' }]", "route = [{ host = 'h', path = '/x', to = 'b' }]",
         "route.1.host"},
    Edit{"route = [{ path = '/x', redirect = 'https://a' }]",
         "route = [{ path = '/x', redirect = 'https://b' }]", "route.1.redirect"},
    Edit{"route = [{ path = '/x', respond = { body = 'a' } }]",
         "route = [{ path = '/x', respond = { body = 'b' } }]", "route.1.respond.body"},
};

Listener listener_with(const std::string& keys) {
  return good(
             "[app.a]\nrun = 'x {port}'\n[app.b]\nrun = 'y {port}'\n[listen.l]\nbind = '127.0.0.1:80'\nto = "
             "'a'\n" +
             keys)
      .listeners.at(0);
}

TEST(Fields, EachKeyOfAListenerIsToldAlone) {
  for (const Edit& edit : listener_edits) {
    const Listener before = listener_with(edit.before);
    const Listener after = listener_with(edit.after);
    EXPECT_FALSE(before == after) << edit.after;
    const auto changes = changed_fields(fields_of(before), fields_of(after));
    EXPECT_EQ(std::ranges::count(changes, edit.key, &FieldChange::key), 1) << edit.after << "\n"
                                                                           << says(changes);
  }
}

TEST(Fields, DaemonKeys) {
  const auto of = [](const std::string& keys) { return fields_of(good("[daemon]\n" + keys).daemon); };
  for (const Edit& edit :
       {Edit{"", "threads = 3", "threads"}, Edit{"", "port_range = '100-200'", "port_range"},
        Edit{"", "log_level = 'debug'", "log_level"}, Edit{"", "log_budget = '1MiB'", "log_budget"},
        Edit{"", "watch_spec = true", "watch_spec"}}) {
    const auto changes = changed_fields(of(edit.before), of(edit.after));
    ASSERT_EQ(changes.size(), 1U) << edit.after;
    EXPECT_EQ(changes[0].key, edit.key);
  }
}

TEST(Fields, CommentsAndOrderAreNoChange) {
  const App one = first_app("env = { A = '1', B = '2' }\nnice = 1");
  const App other = first_app("# x\nnice = 1\nenv = { B = '2', A = '1' }");
  EXPECT_THAT(changed_fields(fields_of(one), fields_of(other)), IsEmpty());
}

TEST(Fields, LinesOfEnvFilesThatChangePlacesAreNoChange) {
  FakeWorld world;
  world.files["/spec/a.env"] = "A=0\nA=1\nB=2\n";
  const App before = app_with("env_file='a.env'", {}, world);
  world.files["/spec/a.env"] = "B=2\nA=1\n";
  const App after = app_with("env_file='a.env'", {}, world);
  EXPECT_TRUE(before == after);
  EXPECT_EQ(revision_text(before), revision_text(after));
}

TEST(Fields, ValuesReadAsOneWouldWriteThem) {
  EXPECT_EQ(duration_text(Millis{0}), "0s");
  EXPECT_EQ(duration_text(Millis{250}), "250ms");
  EXPECT_EQ(duration_text(Millis{1500}), "1500ms");
  EXPECT_EQ(duration_text(Millis{5400000}), "1h30m");
  EXPECT_EQ(duration_text(Millis{90061000}), "1d1h1m1s");
  EXPECT_EQ(size_text(0), "0B");
  EXPECT_EQ(size_text(1000), "1000B");
  EXPECT_EQ(size_text(64U << 20U), "64MiB");
  const auto run_of = [](const std::string& run) {
    return fields_of(good("[app.a]\nrun = " + run).apps.at(0)).front().value;
  };
  EXPECT_EQ(run_of("['a', 'b c', \"it's\"]"), "a 'b c' 'it'\\''s'");
  EXPECT_EQ(run_of("'a --port {ordinal}'"), "a --port {ordinal}");
}

}  // namespace
}  // namespace muster::spec
