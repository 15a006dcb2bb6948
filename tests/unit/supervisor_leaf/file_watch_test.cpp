#include "supervisor/file_watch.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <map>

#include "leaf_rig.h"
#include "supervisor/folder_watch.h"

namespace muster::supervisor {
namespace {

constexpr Millis quiet{20};

class FileWatchTest : public testing::Test {
 protected:
  // Does something, and waits until the path is named for it.
  template <typename Act>
  bool named(const std::string& path, Act act) {
    loop.turn();
    seen.clear();
    act();
    return loop.until([&] { return seen[path] > 0; });
  }
  // What is done to another file comes after it in the queue: when that is named, this was not.
  template <typename Act>
  bool not_named(const std::string& path, Act act) {
    return named(mark,
                 [&] {
                   act();
                   write_file(mark, "x");
                 }) &&
           seen[path] == 0;
  }
  void watch(std::vector<std::string> paths) {
    paths.push_back(mark);
    const Status status = files->set_files(std::move(paths));
    EXPECT_TRUE(status.ok()) << (status.ok() ? "" : status.error().message);
  }

  Loop loop;
  FolderWatches folders{loop.get()};
  TempFolder folder;
  std::string mark = folder / "mark";
  std::map<std::string, int> seen;
  std::unique_ptr<FileWatch> files =
      std::make_unique<FileWatch>(folders, quiet, [this](const std::string& path) { ++seen[path]; });
};

TEST_F(FileWatchTest, SeesEveryWayOfSaving) {
  const std::string spec = folder / "muster.toml";
  write_file(spec, "1");
  watch({spec});
  for (int round = 0; round < 3; ++round) {  // again and again: a watch on the file itself would go deaf
    EXPECT_TRUE(named(spec, [&] { write_file(spec, "in place"); }));
    EXPECT_TRUE(named(spec, [&] { append_file(spec, "more"); }));
    EXPECT_TRUE(named(spec, [&] {  // atomic: most editors
      write_file(folder / ".muster.toml.tmp", "2");
      std::filesystem::rename(folder / ".muster.toml.tmp", spec);
    }));
    EXPECT_TRUE(named(spec, [&] {  // vi with a backup
      std::filesystem::rename(spec, spec + "~");
      write_file(spec, "3");
      unlink((spec + "~").c_str());
    }));
    EXPECT_TRUE(named(spec, [&] { chmod(spec.c_str(), round % 2 == 0 ? 0600 : 0644); }));
    EXPECT_TRUE(named(spec, [&] { unlink(spec.c_str()); }));
    EXPECT_TRUE(named(spec, [&] { write_file(spec, "created again"); }));
  }
}

TEST_F(FileWatchTest, OtherFilesDoNotMatter) {
  const std::string spec = folder / "muster.toml";
  write_file(spec, "1");
  watch({spec});
  EXPECT_TRUE(not_named(spec, [&] { write_file(folder / "other", "x"); }));
}

TEST_F(FileWatchTest, SeesAFileWhoseFoldersAreMadeLater) {
  const std::string deep = folder / "a/b/c.env";
  watch({deep});
  EXPECT_TRUE(named(deep, [&] { mkdir((folder / "a").c_str(), 0755); }));
  EXPECT_TRUE(named(deep, [&] { mkdir((folder / "a/b").c_str(), 0755); }));
  EXPECT_TRUE(named(deep, [&] { write_file(deep, "x"); }));
  EXPECT_TRUE(named(deep, [&] { std::filesystem::remove_all(folder / "a"); }));
  EXPECT_TRUE(named(deep, [&] {
    std::filesystem::create_directories(folder / "a/b");
    write_file(deep, "y");
  }));
  EXPECT_TRUE(named(deep, [&] { write_file(deep, "z"); }));
}

TEST_F(FileWatchTest, SeesAFolderThatIsReplaced) {
  const std::string spec = folder / "conf/muster.toml";
  mkdir((folder / "conf").c_str(), 0755);
  write_file(spec, "1");
  watch({spec});
  EXPECT_TRUE(named(spec, [&] { chmod((folder / "conf").c_str(), 0700); }));  // it may be readable now
  EXPECT_TRUE(named(spec, [&] { std::filesystem::rename(folder / "conf", folder / "old"); }));
  mkdir((folder / "new").c_str(), 0755);
  write_file(folder / "new/muster.toml", "2");
  EXPECT_TRUE(named(spec, [&] { std::filesystem::rename(folder / "new", folder / "conf"); }));
  EXPECT_TRUE(named(spec, [&] { write_file(spec, "3"); }));
  EXPECT_TRUE(not_named(spec, [&] { write_file(folder / "old/muster.toml", "4"); }));
}

// As Kubernetes mounts a ConfigMap: file -> ..data/file, ..data -> a folder that is swapped by rename.
TEST_F(FileWatchTest, SeesALinkThatIsSwapped) {
  const std::string spec = folder / "muster.toml";
  for (const char* version : {"v1", "v2"}) {
    mkdir((folder / version).c_str(), 0755);
    write_file((folder / version) + "/muster.toml", version);
  }
  ASSERT_EQ(symlink("v1", (folder / "..data").c_str()), 0);
  ASSERT_EQ(symlink("..data/muster.toml", spec.c_str()), 0);
  watch({spec});
  for (const char* version : {"v2", "v1", "v2"}) {
    EXPECT_TRUE(named(spec, [&] {
      ASSERT_EQ(symlink(version, (folder / "tmp").c_str()), 0);
      std::filesystem::rename(folder / "tmp", folder / "..data");
    })) << version;
  }
  EXPECT_TRUE(named(spec, [&] { write_file(folder / "v2/muster.toml", "edited behind the link"); }));
  EXPECT_TRUE(not_named(spec, [&] { write_file(folder / "v1/muster.toml", "no longer behind it"); }));
}

TEST_F(FileWatchTest, AFolderWithASlashMeansEveryName) {
  mkdir((folder / "conf.d").c_str(), 0755);
  const std::string all = folder / "conf.d/";
  watch({all});
  EXPECT_TRUE(named(all, [&] { write_file(folder / "conf.d/new.toml", "x"); }));
  EXPECT_TRUE(named(all, [&] { unlink((folder / "conf.d/new.toml").c_str()); }));
  EXPECT_TRUE(not_named(all, [&] { write_file(folder / "elsewhere", "x"); }));
}

TEST_F(FileWatchTest, ManyChangesAreOneReport) {
  const std::string spec = folder / "muster.toml";
  watch({spec});
  EXPECT_TRUE(named(spec, [&] {
    for (int i = 0; i < 200; ++i) write_file(spec, std::to_string(i));
  }));
  EXPECT_EQ(seen[spec], 1);
}

TEST_F(FileWatchTest, ChangesWithoutEndAreReportedAllTheSame) {
  const std::string spec = folder / "muster.toml";
  watch({spec});
  uv_idle_t busy{};
  uv_idle_init(loop.get(), &busy);
  busy.data = const_cast<std::string*>(&spec);
  uv_idle_start(&busy, [](uv_idle_t* idle) { write_file(*static_cast<std::string*>(idle->data), "x"); });
  EXPECT_TRUE(loop.until([&] { return seen[spec] > 0; }));
  uv_close(reinterpret_cast<uv_handle_t*>(&busy), nullptr);
  loop.turn();
}

// The kernel's queue has an end; what comes after it is lost, and might have been the spec.
TEST_F(FileWatchTest, WhenEventsAreLostEverythingHasChanged) {
  const int most = std::stoi(read_file("/proc/sys/fs/inotify/max_queued_events"));
  if (most > 100'000) GTEST_SKIP() << "fs.inotify.max_queued_events is " << most;
  const std::string spec = folder / "conf/muster.toml";
  mkdir((folder / "conf").c_str(), 0755);
  write_file(spec, "1");
  watch({spec});
  EXPECT_TRUE(named(spec, [&] {
    for (int i = 0; i < most; ++i) write_file(folder / (i % 2 == 0 ? "a" : "b"), "");
    std::filesystem::rename(folder / "conf", folder / "old");
    std::filesystem::create_directory(folder / "conf");
  }));
  EXPECT_TRUE(named(spec, [&] { write_file(spec, "2"); })) << "the new folder is watched";
}

TEST_F(FileWatchTest, TheSetCanChangeAndTheHookMayEndTheWatch) {
  const std::string a = folder / "a";
  const std::string b = folder / "b";
  watch({a});
  watch({b});
  EXPECT_TRUE(not_named(a, [&] { write_file(a, "x"); }));
  EXPECT_TRUE(named(b, [&] { write_file(b, "x"); }));
  bool ended = false;
  auto watch_once = std::make_unique<FileWatch>(folders, quiet, [&](const std::string&) {
    files.reset();
    ended = true;
  });
  ASSERT_TRUE(watch_once->set_files({a, b}).ok());
  write_file(b, "y");
  EXPECT_TRUE(loop.until([&] { return ended; }));
}

TEST_F(FileWatchTest, AtRestNothingWakes) {
  watch({folder / "a"});
  EXPECT_TRUE(named(folder / "a", [&] { write_file(folder / "a", "x"); }));
  loop.turn();
  EXPECT_LT(uv_backend_timeout(loop.get()), 0);
}

}  // namespace
}  // namespace muster::supervisor
