#include <gtest/gtest.h>

#include "rig.h"

namespace muster::spec {
namespace {

const std::string base =
    "port = 7000\nports = { b = 7100 }\nvolume = { d = { mode = '0700' } }\nenv = { A = '1' }\n";

std::string text_with(const std::string& keys, const FakeWorld& world = {}) {
  return revision_text(app_with(keys, {}, world));
}

TEST(Revision, ChangesThatNeedNewProcesses) {
  const std::string plain = text_with(base);
  for (const char* more : {"shell = true", "dir = 'x'", "inherit_env = true", "inherit_env = ['A']",
                           "user = 'www'", "group = 'www'", "umask = '027'", "nice = 1",
                           "no_new_privs = false", "limits = { files = 100 }", "limits = { core = '0B' }"})
    EXPECT_NE(text_with(base + more), plain) << more;
  const std::string others[] = {
      "port = 7001\nports = { b = 7100 }\nvolume = { d = { mode = '0700' } }\nenv = { A = '1' }\n",
      "port = 7000\nports = { b = 7101 }\nvolume = { d = { mode = '0700' } }\nenv = { A = '1' }\n",
      "port = 7000\nports = { c = 7100 }\nvolume = { d = { mode = '0700' } }\nenv = { A = '1' }\n",
      "port = 7000\nports = { b = 7100 }\nvolume = { e = { mode = '0700' } }\nenv = { A = '1' }\n",
      "port = 7000\nports = { b = 7100 }\nvolume = { d = { path = '/x' } }\nenv = { A = '1' }\n",
      "port = 7000\nports = { b = 7100 }\nvolume = { d = { mode = '0700' } }\nenv = { A = '2' }\n",
      "port = 7000\nports = { b = 7100 }\nvolume = { d = { mode = '0700' } }\nenv = { B = '1' }\n"};
  for (const std::string& other : others) EXPECT_NE(text_with(other), plain) << other;
}

TEST(Revision, ChangesThatApplyLive) {
  const std::string plain = text_with(base);
  EXPECT_EQ(text_with("# a comment\n" + base), plain);
  for (const char* more : {"replicas = 3", "listen = 80", "health = 'tcp'", "live = 'tcp'", "watchdog = '1s'",
                           "limits = { memory = '64MiB', cpu = 0.5, pids = 9 }", "restart = 'never'",
                           "stop = { signal = 'INT' }", "log = { keep = 1 }", "watch = 'x'", "x-y = 1"})
    EXPECT_EQ(text_with(base + more), plain) << more;
}

TEST(Revision, SeesTheContentsOfEnvFiles) {
  FakeWorld world;
  world.files["/spec/a.env"] = "A=1\n# x\n";
  const std::string before = text_with("env_file='a.env'", world);
  world.files["/spec/a.env"] = "# touched\nA = 1";
  EXPECT_EQ(text_with("env_file='a.env'", world), before);
  world.files["/spec/a.env"] = "A=2";
  EXPECT_NE(text_with("env_file='a.env'", world), before);
}

TEST(Revision, IsUnambiguous) {
  const auto of = [](const std::string& run) {
    return revision_text(good("[app.a]\nrun = " + run).apps.at(0));
  };
  EXPECT_NE(of("['a b']"), of("['a', 'b']"));
  EXPECT_NE(of("['x', '{ordinal}']"), of("['x', '{{ordinal}}']"));
  EXPECT_NE(of("['x', \"a\\nrun 1:b\"]"), of("['x', 'a', 'b']"));
  EXPECT_EQ(of("'a  b'"), of("['a', 'b']"));
}

}  // namespace
}  // namespace muster::spec
