#include "supervisor/volume_tree.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <map>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "support/temp_folder.h"

namespace muster::supervisor {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing_support::TempFolder;

const WalkBounds whole{.enough = [] { return false; }};

Fd open_folder(const std::string& path) {
  return Fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

void write(const std::string& path, std::size_t bytes) {
  std::ofstream(path) << std::string(bytes, 'x');
}

// Names nested so deep that no path reaches the last.
void nest(const std::string& top, int levels) {
  Fd at = open_folder(top);
  for (int level = 0; level < levels; ++level) {
    const std::string name(200, 'd');
    ASSERT_EQ(::mkdirat(at.get(), name.c_str(), 0700), 0);
    at = Fd(::openat(at.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const Fd file(::openat(at.get(), "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    ASSERT_TRUE(file.valid());
  }
}

TEST(VolumeTree, CountsEachFileOnce) {
  const TempFolder folder;
  const std::string volume = folder.path() + "/v";
  const std::string outside = folder.path() + "/outside";
  fs::create_directories(volume + "/a/b");
  fs::create_directory(outside);
  write(outside + "/big", 4U << 20U);
  const std::uint64_t empty = use_of_tree(open_folder(volume).get(), whole).bytes;
  write(volume + "/a/b/file", 1U << 20U);
  fs::create_hard_link(volume + "/a/b/file", volume + "/a/again");
  fs::create_directory_symlink(outside, volume + "/link");
  ASSERT_EQ(::mkfifo((volume + "/fifo").c_str(), 0600), 0);
  const FilesUse use = use_of_tree(open_folder(volume).get(), whole);
  EXPECT_TRUE(use.complete);
  EXPECT_GE(use.bytes, empty + (1U << 20U));
  EXPECT_LT(use.bytes, empty + (1U << 20U) + (256U << 10U));
}

TEST(VolumeTree, ACountThatIsStoppedSaysSo) {
  const TempFolder folder;
  fs::create_directories(folder.path() + "/a/b/c");
  int asked = 0;
  const FilesUse use = use_of_tree(open_folder(folder.path()).get(), {.enough = [&] { return ++asked > 2; }});
  EXPECT_FALSE(use.complete);
}

TEST(VolumeTree, RemovesAllThatIsInItAndNothingElse) {
  const TempFolder folder;
  const std::string volume = folder.path() + "/v";
  const std::string outside = folder.path() + "/outside";
  fs::create_directories(volume + "/a/b");
  fs::create_directory(outside);
  write(outside + "/kept", 10);
  write(volume + "/a/b/file", 10);
  write(volume + "/.hidden", 10);
  fs::create_directory_symlink(outside, volume + "/a/link");
  fs::create_symlink(outside + "/kept", volume + "/to-file");
  ASSERT_EQ(::mkfifo((volume + "/fifo").c_str(), 0600), 0);
  const Status removed = remove_tree(open_folder(folder.path()).get(), "v", whole);
  EXPECT_TRUE(removed.ok()) << removed.error().message;
  EXPECT_FALSE(fs::exists(volume));
  EXPECT_TRUE(fs::exists(outside + "/kept"));
  EXPECT_TRUE(remove_tree(open_folder(folder.path()).get(), "v", whole).ok()) << "gone is gone";
}

TEST(VolumeTree, RemovesWhatLiesDeeperThanAnyPath) {
  const TempFolder folder;
  fs::create_directory(folder.path() + "/v");
  nest(folder.path() + "/v", 200);  // 40 kB of names
  const Status removed = remove_tree(open_folder(folder.path()).get(), "v", whole);
  EXPECT_TRUE(removed.ok()) << removed.error().message;
  EXPECT_FALSE(fs::exists(folder.path() + "/v"));
}

TEST(VolumeTree, ALinkInItsPlaceIsNotFollowed) {
  const TempFolder folder;
  fs::create_directory(folder.path() + "/outside");
  write(folder.path() + "/outside/kept", 10);
  fs::create_directory_symlink(folder.path() + "/outside", folder.path() + "/v");
  EXPECT_FALSE(remove_tree(open_folder(folder.path()).get(), "v", whole).ok());
  EXPECT_FALSE(remove_tree(open_folder(folder.path()).get(),
                           "../" + fs::path(folder.path()).filename().string(), whole)
                   .ok());
  EXPECT_TRUE(fs::exists(folder.path() + "/outside/kept"));
}

TEST(VolumeTree, ARemovalCanBeStopped) {
  const TempFolder folder;
  fs::create_directories(folder.path() + "/v/a/b");
  write(folder.path() + "/v/a/b/file", 10);
  const Status stopped = remove_tree(open_folder(folder.path()).get(), "v", {.enough = [] { return true; }});
  ASSERT_FALSE(stopped.ok());
  EXPECT_EQ(stopped.error().errno_value, ECANCELED);
  EXPECT_TRUE(fs::exists(folder.path() + "/v/a/b/file"));
}

TEST(VolumeTree, FilesAreAssignedBeforeTheirFolder) {
  const TempFolder folder;
  fs::create_directories(folder.path() + "/a");
  write(folder.path() + "/a/file", 10);
  write(folder.path() + "/top", 10);
  fs::create_symlink("/etc/passwd", folder.path() + "/link");
  std::vector<std::string> seen;
  const auto inode = [](const std::string& path) {
    struct stat info {};
    ::stat(path.c_str(), &info);
    return info.st_ino;
  };
  const std::map<ino_t, std::string> names{{inode(folder.path()), "."},
                                           {inode(folder.path() + "/a"), "a"},
                                           {inode(folder.path() + "/a/file"), "a/file"},
                                           {inode(folder.path() + "/top"), "top"}};
  const Status done =
      assign_tree(open_folder(folder.path()).get(), whole, [&](int file, bool is_folder) -> Status {
        struct stat info {};
        EXPECT_EQ(::fstat(file, &info), 0);
        EXPECT_EQ(S_ISDIR(info.st_mode), is_folder);
        EXPECT_TRUE(names.contains(info.st_ino));
        seen.push_back(names.at(info.st_ino));
        return Unit{};
      });
  EXPECT_TRUE(done.ok());
  // The second look at each folder finds those that came before it was assigned.
  EXPECT_THAT(seen, testing::ElementsAre("top", "a/file", "a", "a/file", ".", "top"));
}

}  // namespace
}  // namespace muster::supervisor
