#include "supervisor/access_logs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "leaf_rig.h"

namespace muster::supervisor {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class AccessLogsTest : public testing::Test {
 protected:
  [[nodiscard]] std::string file(const std::string& name) const { return read_file(path + "/" + name); }

  TempFolder folder;
  std::string path = folder / "log";
  std::vector<std::string> notes;
  AccessLogs logs{path, [this](const Note& note) { notes.push_back(note.text); }};
  Now now{};
};

TEST_F(AccessLogsTest, EachListenerHasItsFile) {
  logs.set({{"web", {}}, {"api", {}}});
  EXPECT_FALSE(exists(path));
  logs.write("web", "a\nb\n", 0, now);
  logs.write("api", "c\n", 0, now);
  logs.write("web", "d\n", 0, now);
  EXPECT_EQ(file("access-web.log"), "a\nb\nd\n");
  EXPECT_EQ(file("access-api.log"), "c\n");
  EXPECT_THAT(logs.stems(), ElementsAre("access-api", "access-web"));
  EXPECT_THAT(notes, IsEmpty());
}

TEST_F(AccessLogsTest, RotatesByTheOptionsOfItsListenerBetweenLines) {
  logs.set({{"web", {.rotate_bytes = 10, .keep = 1}}});
  logs.write("web", "1234\n5678\nabcd\n", 0, now);
  EXPECT_EQ(file("access-web.log.1"), "1234\n5678\n");
  EXPECT_EQ(file("access-web.log"), "abcd\n");
  logs.set({{"web", {.rotate_bytes = 1000, .keep = 1}}});  // live
  logs.write("web", "efghijkl\n", 0, now);
  EXPECT_EQ(file("access-web.log"), "abcd\nefghijkl\n");
}

TEST_F(AccessLogsTest, AListenerThatIsGoneStillEndsItsRequests) {
  logs.set({{"web", {.rotate_bytes = 8, .keep = 3}}});
  logs.write("web", "a\n", 0, now);
  ASSERT_TRUE(logs.find("access-web")->is_open());
  logs.set({});
  EXPECT_FALSE(logs.find("access-web")->is_open());
  logs.write("web", "b\n", 0, now);
  EXPECT_EQ(file("access-web.log"), "a\nb\n");
  EXPECT_FALSE(logs.find("access-web")->is_open());  // no descriptor for a listener that is gone
  logs.write("web", "cdefgh\n", 0, now);             // by the last options that it had
  EXPECT_EQ(file("access-web.log.1"), "a\nb\n");
  EXPECT_EQ(logs.find("access-other"), nullptr);
}

TEST_F(AccessLogsTest, ReopensWhatWasMovedAway) {
  logs.set({{"web", {}}});
  logs.write("web", "a\n", 0, now);
  ASSERT_EQ(rename((path + "/access-web.log").c_str(), (path + "/moved").c_str()), 0);
  logs.write("web", "b\n", 0, now);
  logs.reopen();
  logs.write("web", "c\n", 0, now);
  EXPECT_EQ(file("moved"), "a\nb\n");
  EXPECT_EQ(file("access-web.log"), "c\n");
}

TEST_F(AccessLogsTest, LostLinesAreToldNowAndThen) {
  logs.set({{"web", {}}});
  logs.write("web", "a\n", 1, now);
  ASSERT_EQ(notes.size(), 1U);
  EXPECT_THAT(notes[0], HasSubstr("listener 'web' lost 1 line:"));
  now.mono += std::chrono::seconds{9};
  logs.write("web", "b\n", 5, now);
  logs.write("web", "", 2, now);
  logs.tell_lost(now);
  EXPECT_EQ(notes.size(), 1U);
  now.mono += std::chrono::seconds{1};
  logs.tell_lost(now);
  ASSERT_EQ(notes.size(), 2U);
  EXPECT_THAT(notes[1], HasSubstr("lost 7 lines"));
  now.mono += std::chrono::seconds{60};
  logs.tell_lost(now);
  EXPECT_EQ(notes.size(), 2U);
  EXPECT_EQ(logs.dropped_lines(), 8U);
  EXPECT_EQ(file("access-web.log"), "a\nb\n");
}

TEST_F(AccessLogsTest, DiskTroubleIsToldOnceAndItsEndWithTheCount) {
  logs.set({{"web", {}}});
  ASSERT_EQ(mkdir(path.c_str(), 0755), 0);
  ASSERT_EQ(mkdir((path + "/access-web.log").c_str(), 0755), 0);
  logs.write("web", "a\nb\n", 0, now);
  logs.write("web", "c\n", 0, now);
  ASSERT_EQ(notes.size(), 1U);
  EXPECT_THAT(notes[0], HasSubstr("lines are dropped"));
  ASSERT_EQ(rmdir((path + "/access-web.log").c_str()), 0);
  now.mono += std::chrono::seconds{2};
  logs.write("web", "d\n", 0, now);
  ASSERT_EQ(notes.size(), 2U);
  EXPECT_THAT(notes[1], HasSubstr("3 lines were lost"));
  EXPECT_EQ(file("access-web.log"), "d\n");
}

spec::Listener listener(const std::string& name, const std::string& app) {
  spec::Listener made;
  made.name = name;
  made.app = app;
  made.access_log = spec::AccessLogFormat::json;
  return made;
}

TEST(AccessLogsOfASpec, TakeTheirSizeFromTheAppThatTheListenerLeadsTo) {
  spec::Spec spec;
  spec.apps.resize(2);
  spec.apps[0].name = "api";
  spec.apps[0].log.keep = 7;
  spec.apps[1].name = "web";
  spec.apps[1].log.keep = 9;
  spec.listeners = {listener("a", "web"), listener("b", ""), listener("c", ""), listener("d", "web")};
  spec.listeners[1].routes.resize(1);
  spec.listeners[1].routes[0].app = "api";
  spec.listeners[3].access_log = spec::AccessLogFormat::off;
  const auto logs = access_logs_of(spec);
  ASSERT_EQ(logs.size(), 3U);
  EXPECT_EQ(logs.at("a").keep, 9);
  EXPECT_EQ(logs.at("b").keep, 7);
  EXPECT_EQ(logs.at("c").keep, spec::LogOptions{}.keep);
}

}  // namespace
}  // namespace muster::supervisor
