#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <map>

#include "base/limits.h"
#include "leaf_rig.h"
#include "supervisor/file_watch.h"
#include "supervisor/folder_watch.h"

namespace muster::supervisor {
namespace {

class GlobWatchTest : public testing::Test {
 protected:
  void watch(const std::vector<std::string>& patterns) {
    const Status status = globs->set_globs(folder.path(), patterns);
    EXPECT_TRUE(status.ok()) << (status.ok() ? "" : status.error().message);
  }
  template <typename Act>
  bool named(const std::string& name, Act act) {
    loop.turn();
    seen.clear();
    act();
    return loop.until([&] { return seen[folder / name] > 0; });
  }
  void make(const std::string& name) { std::filesystem::create_directories(folder / name); }

  Loop loop;
  FolderWatches folders{loop.get()};
  TempFolder folder;
  std::map<std::string, int> seen;
  std::unique_ptr<GlobWatch> once_holder;
  std::unique_ptr<GlobWatch> globs =
      std::make_unique<GlobWatch>(folders, Millis{20}, [this](const std::string& path) { ++seen[path]; });
};

TEST_F(GlobWatchTest, SeesFilesThatMatch) {
  make("src/deep");
  write_file(folder / "src/a.js", "1");
  watch({"src/**/*.js", "*.toml"});
  EXPECT_TRUE(named("src/a.js", [&] { write_file(folder / "src/a.js", "2"); }));
  EXPECT_TRUE(named("src/deep/b.js", [&] {
    write_file(folder / "src/b.css", "no match");
    write_file(folder / "x.js", "no match");
    write_file(folder / "src/deep/b.js", "new");
  }));
  EXPECT_EQ(seen.count(folder / "src/b.css"), 0U);
  EXPECT_EQ(seen.count(folder / "x.js"), 0U);
  EXPECT_TRUE(named("src/deep/b.js", [&] { unlink((folder / "src/deep/b.js").c_str()); }));
  EXPECT_TRUE(named("a.toml", [&] { write_file(folder / "a.toml", "x"); }));
  EXPECT_TRUE(named("src/a.js", [&] {  // atomic save
    write_file(folder / "src/.a.tmp", "3");
    std::filesystem::rename(folder / "src/.a.tmp", folder / "src/a.js");
  }));
}

TEST_F(GlobWatchTest, NewFoldersAreTakenIn) {
  watch({"src/**"});
  EXPECT_TRUE(named("src/a/b/c.js", [&] {
    make("src/a/b");
    write_file(folder / "src/a/b/c.js", "there before the watch is");
  }));
  EXPECT_TRUE(named("src/a/b/c.js", [&] { write_file(folder / "src/a/b/c.js", "2"); }));
  EXPECT_TRUE(named("src/a", [&] { std::filesystem::rename(folder / "src/a", folder / "elsewhere"); }));
  EXPECT_TRUE(
      named("src/a/b/c.js", [&] { std::filesystem::rename(folder / "elsewhere", folder / "src/a"); }));
  EXPECT_TRUE(named("src/a/b/c.js", [&] { write_file(folder / "src/a/b/c.js", "3"); }));
  EXPECT_TRUE(named("src/a/b/c.js", [&] { std::filesystem::remove_all(folder / "src"); }));
  EXPECT_TRUE(named("src/z.js", [&] {
    make("src");
    write_file(folder / "src/z.js", "again");
  }));
}

TEST_F(GlobWatchTest, HiddenFoldersAndLinksAreLeftAlone) {
  make(".git");
  make("real");
  ASSERT_EQ(symlink(folder.path().c_str(), (folder / "real/loop").c_str()), 0);
  watch({"**"});
  EXPECT_TRUE(named("real/x", [&] {
    write_file(folder / ".git/index", "x");
    write_file(folder / "real/x", "x");
  }));
  EXPECT_EQ(seen.size(), 1U);
}

TEST_F(GlobWatchTest, BadPatternsAndTooManyFoldersAreErrors) {
  EXPECT_FALSE(globs->set_globs(folder.path(), {"[a"}).ok());
  for (std::size_t i = 0; i < limits::watch_folders_max + 5; ++i)
    mkdir((folder / std::to_string(i)).c_str(), 0755);
  const Status many = globs->set_globs(folder.path(), {"**"});
  ASSERT_FALSE(many.ok());
  EXPECT_NE(many.error().message.find("more than 1000 folders"), std::string::npos);
  EXPECT_TRUE(named("a", [&] { write_file(folder / "a", "what could be watched is watched"); }));
}

TEST_F(GlobWatchTest, AFloodIsBounded) {
  watch({"*"});
  EXPECT_TRUE(named("0", [&] {
    for (int i = 0; i < 3000; ++i) write_file(folder / std::to_string(i), "x");
  }));
  loop.turn();
  EXPECT_LE(seen.size(), 3000U);
}

TEST_F(GlobWatchTest, WhenEventsAreLostTheRootHasChanged) {
  const int most = std::stoi(read_file("/proc/sys/fs/inotify/max_queued_events"));
  if (most > 100'000) GTEST_SKIP() << "fs.inotify.max_queued_events is " << most;
  watch({"src/**/*.js"});
  loop.turn();
  for (int i = 0; i < most; ++i) write_file(folder / (i % 2 == 0 ? "a" : "b"), "");
  make("src");
  EXPECT_TRUE(loop.until([&] { return seen[folder.path()] > 0; }));
  EXPECT_TRUE(named("src/a.js", [&] { write_file(folder / "src/a.js", "1"); }))
      << "the new folder is watched";
}

TEST_F(GlobWatchTest, TheHookMayEndTheWatchAndReplaceItsGlobs) {
  bool ended = false;
  auto once = std::make_unique<GlobWatch>(folders, Millis{10}, [&](const std::string&) {
    once_holder.reset();
    ended = true;
  });
  ASSERT_TRUE(once->set_globs(folder.path(), {"*"}).ok());
  once_holder = std::move(once);
  write_file(folder / "x", "1");
  write_file(folder / "y", "1");
  EXPECT_TRUE(loop.until([&] { return ended; }));
}

}  // namespace
}  // namespace muster::supervisor
