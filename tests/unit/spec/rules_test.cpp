#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "fmt/core.h"
#include "rig.h"

namespace muster::spec {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string app(const std::string& name, const std::string& keys) {
  return "[app." + name + "]\nrun = 'x'\n" + keys + "\n";
}

TEST(Cycles, NameTheWholePathOnce) {
  EXPECT_THAT(complaints(app("a", "after='b'") + app("b", "after='c'") + app("c", "after='a'")),
              ElementsAre("9:7 a cycle in `after`: a -> b -> c -> a"));
  EXPECT_THAT(complaints(app("a", "after='a'")), ElementsAre("3:7 a cycle in `after`: a -> a"));
  EXPECT_THAT(
      complaints(app("z", "after='b'") + app("b", "after=['c','d']") + app("c", "after='b'") + app("d", "")),
      ElementsAre("9:7 a cycle in `after`: b -> c -> b"));
}

TEST(Cycles, ADiamondIsNone) {
  EXPECT_THAT(
      complaints(app("a", "after=['b','c']") + app("b", "after='d'") + app("c", "after='d'") + app("d", "")),
      IsEmpty());
}

TEST(Cycles, ALongChainTakesNoDeepStack) {
  std::string text;
  for (int i = 0; i < 1900; ++i) text += app(fmt::format("a{}", i), fmt::format("after='a{}'", i + 1));
  EXPECT_THAT(complaints(text + app("a1900", "")), IsEmpty());
  const auto found = complaints(text + app("a1900", "after='a0'"));
  ASSERT_EQ(found.size(), 1U);
  EXPECT_THAT(found[0], testing::HasSubstr("a cycle in `after`: a0 -> a1 -> a2"));
}

TEST(After, UnknownAndDoubleNames) {
  EXPECT_THAT(complaints(app("web", "after=['dbs','db','db']") + app("db", "")),
              ElementsAre("3:8 there is no app 'dbs' | did you mean 'db'?", "3:19 'db' is named twice"));
}

TEST(Variables, KnownOnesNeedWhatTheyName) {
  const auto in_run = [](const std::string& run, const std::string& keys = "") {
    return complaints("[app.a]\nrun = '" + run + "'\n" + keys +
                      "\n[app.db]\nrun='x'\nport=7000\n[app.mute]\nrun='x'");
  };
  EXPECT_THAT(in_run("x {port} {addr} {ordinal} {replicas} {app} {addr.db}"), IsEmpty());
  EXPECT_THAT(in_run("x {prot}"), ElementsAre("2:7 unknown variable '{prot}' | did you mean 'port'?"));
  EXPECT_THAT(in_run("x {zzzzzz}"), ElementsAre("2:7 unknown variable '{zzzzzz}' | {{ is a brace"));
  EXPECT_THAT(in_run("x {port"), ElementsAre("2:7 '{port' has no closing '}' | {{ is a brace"));
  EXPECT_THAT(in_run("x {port}", "port='none'"),
              ElementsAre("2:7 '{port}': app 'a' has no port | port = \"auto\""));
  EXPECT_THAT(in_run("x {port.admin}", "ports={admn=1}"),
              ElementsAre("2:7 app 'a' has no port 'admin' in `ports` | did you mean 'admn'?"));
  EXPECT_THAT(in_run("x {volume}"), ElementsAre("2:7 '{volume}': app 'a' has no volume | volume = \"data\""));
  EXPECT_THAT(in_run("x {volume}", "volume={a={},b={}}"),
              ElementsAre("2:7 '{volume}': app 'a' has 2 volumes | write {volume.a} or {volume.b}"));
  EXPECT_THAT(in_run("x {volume.dta}", "volume='data'"),
              ElementsAre("2:7 app 'a' has no volume 'dta' | did you mean 'data'?"));
  EXPECT_THAT(in_run("x {volume.data}", "volume='data'"), IsEmpty());
  EXPECT_THAT(in_run("x {addr.bd}"),
              ElementsAre("2:7 '{addr.bd}': there is no app 'bd' | did you mean 'db'?"));
  EXPECT_THAT(in_run("x {addr.mute}"),
              ElementsAre("2:7 '{addr.mute}': app 'mute' has no port and no listener"));
  EXPECT_THAT(in_run("x {ordinal.x}"), ElementsAre("2:7 '{ordinal.x}': write '{ordinal}'"));
}

TEST(Variables, EveryPlaceIsLookedAt) {
  for (const char* keys : {"dir='{nope}'", "env={A='{nope}'}", "health='/{nope}'", "health='cmd x {nope}'",
                           "health={cmd=['x','{nope}']}", "live={cmd='x {nope}'}", "stop={exec='x {nope}'}"})
    EXPECT_EQ(complaints(app("a", std::string("port='auto'\n") + keys)).size(), 1U) << keys;
  // And nowhere else: braces are braces there.
  EXPECT_THAT(complaints(app("a", "watch='{nope}'\nhealth='log:x{1}'")), IsEmpty());
}

TEST(Ports, AreAutomaticWhereUsed) {
  const auto kind = [](const std::string& keys) { return app_with(keys).port.kind; };
  EXPECT_EQ(kind(""), PortKind::none);
  EXPECT_EQ(kind("env={A='{port}'}"), PortKind::automatic);
  EXPECT_EQ(kind("stop={exec='x {port}'}"), PortKind::automatic);
  EXPECT_EQ(kind("listen=80"), PortKind::automatic);
  EXPECT_EQ(kind("ports={b='auto'}\nenv={A='{port.b}'}"), PortKind::none);
  EXPECT_EQ(kind("port='auto'"), PortKind::automatic);
  EXPECT_EQ(kind("port='unix'\nlisten=80"), PortKind::local);
}

TEST(LocalPorts, TheirPathsFitIntoASocketAddress) {
  const auto said = [](const std::string& folder) {
    Options options;
    options.run_folder = folder;
    return app_complaints("port = 'unix'", options);
  };
  // "/a-999.999999999/sock" comes behind it.
  EXPECT_THAT(said("/" + std::string(85, 'x')), IsEmpty());
  EXPECT_THAT(said("/" + std::string(86, 'x')),
              ElementsAre(AllOf(HasSubstr("3:8 a socket like /xx"),
                                HasSubstr("/a-999.999999999/sock has 108 bytes in its path and may have 107"),
                                HasSubstr("--socket PATH"))));
  EXPECT_THAT(said(""), IsEmpty());
}

TEST(Users, RootInsists) {
  EXPECT_THAT(complaints(app("a", "") + app("b", "user='www'") + app("c", "user='root'"), root_daemon),
              ElementsAre("1:6 app 'a' has no `user`, and muster runs as root | user = \"root\" to insist"));
  EXPECT_THAT(complaints(app("a", "") + app("b", ""), root_up),
              ElementsAre("warning 1:6 muster runs as root, and so do the apps without `user`"));
  EXPECT_THAT(complaints(app("a", "user='www'"), root_up), IsEmpty());
  EXPECT_THAT(complaints(app("a", ""), up), IsEmpty());
  EXPECT_THAT(complaints(app("a", "")), IsEmpty());
}

TEST(Keys, UnknownOnesAtTheKey) {
  EXPECT_THAT(complaints("replicas = 1\napps = 2\nx-anything = { a = [1] "
                         "}\n[app.a]\nrun='x'\nreplica=3\n'x-y'=1\ntls=1\n[job.n]\nrun='x'"),
              ElementsAre("1:1 unknown key 'replicas' | 'replicas' belongs to [app.NAME]",
                          "2:1 unknown key 'apps' | did you mean 'app'?",
                          "6:1 unknown key 'replica' | did you mean 'replicas'?",
                          "8:1 unknown key 'tls' | 'tls' belongs to [listen.NAME]"));
}

TEST(Spec, WhatIsComparedWithEachOtherHasALimit) {
  const auto many = [](std::size_t count, const std::string& before, const std::string& after) {
    std::string text;
    for (std::size_t i = 0; i < count; ++i) text += before + std::to_string(i) + after;
    return text;
  };
  for (const auto& [open, before, after, close] :
       {std::array{"volume={", "v", "={},", "w={}}"}, std::array{"ports={", "p", "='auto',", "q='auto'}"},
        std::array{"after=[", "'a", "',", "]"}, std::array{"listen=[", "1", ",", "]"},
        std::array{"env_file=['", "x", "','", "']"}}) {
    const auto found = complaints(app("a", open + many(1001, before, after) + close));
    ASSERT_EQ(found.size(), 1U) << open;
    EXPECT_THAT(found[0], testing::HasSubstr("more than 1000")) << open;
  }
}

TEST(Spec, EmptyIsValid) {
  for (const char* text :
       {"", "\n", "# nothing\n", "\xEF\xBB\xBF", "\xEF\xBB\xBF# x\r\n", "[app]\n", "x-a = 1"}) {
    const Spec spec = good(text);
    EXPECT_TRUE(spec.apps.empty());
    EXPECT_EQ(spec.path, "/spec/muster.toml");
    EXPECT_EQ(spec.folder, "/spec");
  }
}

TEST(Spec, IsSortedByName) {
  const Spec spec = good(app("b", "listen=80") + app("a", "listen=81") + app("c", ""));
  EXPECT_EQ(spec.apps[0].name + spec.apps[1].name + spec.apps[2].name, "abc");
  EXPECT_EQ(spec.listeners[0].name + spec.listeners[1].name, "ab");
  EXPECT_EQ(spec.apps[1].position, (Position{"/spec/muster.toml", 1, 6}));
}

}  // namespace
}  // namespace muster::spec
