#include "supervisor/folder_watch.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <optional>

#include "leaf_rig.h"

namespace muster::supervisor {
namespace {

using What = FolderChange::What;

class FolderWatchTest : public testing::Test {
 protected:
  FolderWatch must_watch(const std::string& path, FolderWatch::Hook hook) {
    auto watch = folders.watch(path, std::move(hook));
    EXPECT_TRUE(watch.ok()) << watch.error().message;
    return std::move(watch).value();
  }
  FolderWatch count(const std::string& path, int& changes) {
    return must_watch(path, [&changes](const FolderChange&) { ++changes; });
  }
  // The kernel has something for the loop.
  bool loop_would_wake() {
    pollfd ready{.fd = uv_backend_fd(loop.get()), .events = POLLIN, .revents = 0};
    return poll(&ready, 1, 0) == 1;
  }

  Loop loop;
  FolderWatches folders{loop.get()};
  TempFolder folder;
};

TEST_F(FolderWatchTest, WritesToAnOpenFileWakeNobody) {
  write_file(folder / "log", "");
  int changes = 0;
  const FolderWatch watch = count(folder.path(), changes);
  loop.turn();  // the descriptor is in the poll set now
  Fd log(open((folder / "log").c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  ASSERT_TRUE(log);
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(write(log.get(), "line\n", 5), 5);
  ASSERT_EQ(ftruncate(log.get(), 0), 0);
  EXPECT_FALSE(loop_would_wake());
  log.reset();
  EXPECT_TRUE(loop_would_wake()) << "closed after a write";
  EXPECT_TRUE(loop.until([&] { return changes == 1; }));
  EXPECT_EQ(read_file(folder / "log"), "");
  loop.turn();
  EXPECT_EQ(changes, 1) << "reading is no change";
}

// As `echo line >> log` does without end: not one look for each.
TEST_F(FolderWatchTest, FilesThatAreClosedAgainAndAgainAreLookedAtNowAndThen) {
  write_file(folder / "log", "");
  int changes = 0;
  const FolderWatch watch = count(folder.path(), changes);
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 500; ++i) {
    append_file(folder / "log", "line\n");
    loop.turn();
  }
  const auto took = std::chrono::duration_cast<Millis>(std::chrono::steady_clock::now() - begin);
  EXPECT_LE(changes, took / Millis{10} + 2);
  append_file(folder / "log", "the last");
  const int before = changes;
  EXPECT_TRUE(loop.until([&] { return changes > before; })) << "and none is overlooked";
}

TEST_F(FolderWatchTest, SaysWhatHappened) {
  std::vector<std::pair<What, std::string>> heard;
  mkdir((folder / "sub").c_str(), 0755);
  const FolderWatch watch = must_watch(folder / "sub", [&](const FolderChange& change) {
    heard.emplace_back(change.what, std::string(change.name));
  });
  write_file(folder / "sub/a", "x");
  chmod((folder / "sub/a").c_str(), 0600);
  std::filesystem::rename(folder / "sub/a", folder / "sub/b");
  unlink((folder / "sub/b").c_str());
  chmod((folder / "sub").c_str(), 0700);
  std::filesystem::rename(folder / "sub", folder / "moved");
  write_file(folder / "moved/c", "not heard: the folder went away");
  EXPECT_TRUE(loop.until([&] { return heard.size() >= 8; }));
  loop.turn();
  const std::vector<std::pair<What, std::string>> wanted{
      {What::created, "a"}, {What::written, "a"}, {What::written, "a"}, {What::renamed, "a"},
      {What::renamed, "b"}, {What::renamed, "b"}, {What::itself, ""},   {What::gone, ""}};
  EXPECT_EQ(heard, wanted);
}

TEST_F(FolderWatchTest, TwoWatchesOfOneFolderBothHear) {
  int first = 0;
  int second = 0;
  auto one = std::optional(count(folder.path(), first));
  const FolderWatch two = count(folder.path(), second);
  mkdir((folder / "a").c_str(), 0755);
  EXPECT_TRUE(loop.until([&] { return first == 1 && second == 1; }));
  one.reset();
  mkdir((folder / "b").c_str(), 0755);
  EXPECT_TRUE(loop.until([&] { return second == 2; }));
  EXPECT_EQ(first, 1);
}

// A folder that is moved away and back is the same to the kernel.
TEST_F(FolderWatchTest, AHookMayWatchTheSameFolderAnew) {
  const std::string path = folder / "sub";
  mkdir(path.c_str(), 0755);
  int created = 0;
  std::optional<FolderWatch> again;
  const auto hook = [&](const FolderChange& change) { created += change.what == What::created ? 1 : 0; };
  const FolderWatch other = must_watch(path, [](const FolderChange&) {});
  std::optional<FolderWatch> watch;
  watch.emplace(must_watch(path, [&](const FolderChange& change) {
    if (change.what != What::gone || again) return;
    again.emplace(must_watch(path, hook));
    watch.reset();
  }));
  std::filesystem::rename(path, folder / "away");
  std::filesystem::rename(folder / "away", path);
  EXPECT_TRUE(loop.until([&] { return again.has_value(); }));
  mkdir((path + "/new").c_str(), 0755);
  EXPECT_TRUE(loop.until([&] { return created == 1; }));
}

TEST_F(FolderWatchTest, WhatIsNoFolderIsAnError) {
  write_file(folder / "file", "x");
  const auto file = folders.watch(folder / "file", [](const FolderChange&) {});
  ASSERT_FALSE(file.ok());
  EXPECT_EQ(file.error().errno_value, ENOTDIR);
  const auto missing = folders.watch(folder / "missing", [](const FolderChange&) {});
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().message, "cannot watch " + folder / "missing" + ": No such file or directory");
}

}  // namespace
}  // namespace muster::supervisor
