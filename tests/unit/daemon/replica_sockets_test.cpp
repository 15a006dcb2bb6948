#include "supervisor/replica_sockets.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "support/temp_folder.h"

namespace muster::supervisor {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing_support::TempFolder;

const ReplicaId web_2{.app = "web", .ordinal = 2};

TEST(ReplicaSockets, EachProcessHasAFolderOfItsOwn) {
  const TempFolder folder;
  ReplicaSockets sockets(folder.path() + "/run");
  const auto one = sockets.open(InstanceId{7}, web_2, ::geteuid(), ::getegid());
  const auto two = sockets.open(InstanceId{8}, web_2, ::geteuid(), ::getegid());
  ASSERT_TRUE(one.ok()) << one.error().message;
  ASSERT_TRUE(two.ok());
  EXPECT_EQ(one.value(), folder.path() + "/run/web-2.7/sock");
  EXPECT_EQ(two.value(), folder.path() + "/run/web-2.8/sock");
  struct stat info {};
  ASSERT_EQ(::stat((folder.path() + "/run/web-2.7").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777U, 0700U);
  EXPECT_FALSE(fs::exists(one.value())) << "the app makes it";
  std::ofstream(one.value()) << "in its place";
  std::ofstream(folder.path() + "/run/web-2.7/more") << "whatever";
  sockets.close(InstanceId{7});
  EXPECT_FALSE(fs::exists(folder.path() + "/run/web-2.7"));
  EXPECT_TRUE(fs::exists(folder.path() + "/run/web-2.8"));
  sockets.close(InstanceId{7});
}

TEST(ReplicaSockets, WhatAKilledDaemonLeftIsRemoved) {
  const TempFolder folder;
  fs::create_directories(folder.path() + "/run/web-2.7");
  std::ofstream(folder.path() + "/run/web-2.7/sock") << "stale";
  ReplicaSockets sockets(folder.path() + "/run");
  const auto path = sockets.open(InstanceId{7}, web_2, ::geteuid(), ::getegid());
  ASSERT_TRUE(path.ok()) << path.error().message;
  EXPECT_FALSE(fs::exists(path.value()));
}

TEST(ReplicaSockets, NothingIsLeftAtTheEnd) {
  const TempFolder folder;
  {
    ReplicaSockets sockets(folder.path() + "/run");
    const auto path = sockets.open(InstanceId{7}, web_2, ::geteuid(), ::getegid());
    ASSERT_TRUE(path.ok());
    std::ofstream(path.value()) << "left";
    sockets.close(InstanceId{7});
  }
  EXPECT_FALSE(fs::exists(folder.path() + "/run"));
}

TEST(ReplicaSockets, OfAProcessThatOutlivesTheDaemonIsKept) {
  const TempFolder folder;
  std::string path;
  {
    ReplicaSockets sockets(folder.path() + "/run");
    path = sockets.open(InstanceId{7}, web_2, ::geteuid(), ::getegid()).value();
    std::ofstream(path) << "in use";
  }
  ReplicaSockets next(folder.path() + "/run");
  next.keep(InstanceId{7}, path);
  ASSERT_TRUE(next.open(InstanceId{8}, web_2, ::geteuid(), ::getegid()).ok());
  EXPECT_TRUE(fs::exists(path));
  next.close(InstanceId{7});
  EXPECT_FALSE(fs::exists(path));
}

TEST(ReplicaSockets, AFolderThatOthersCanWriteToIsRefused) {
  const TempFolder folder;
  ASSERT_EQ(::mkdir((folder.path() + "/run").c_str(), 0700), 0);
  ASSERT_EQ(::chmod((folder.path() + "/run").c_str(), 0777), 0);
  ReplicaSockets sockets(folder.path() + "/run");
  const auto path = sockets.open(InstanceId{7}, web_2, ::geteuid(), ::getegid());
  ASSERT_FALSE(path.ok());
  EXPECT_THAT(path.error().message, HasSubstr("only muster's user"));
}

TEST(ReplicaSockets, APathThatNoSocketCanHaveIsRefused) {
  const TempFolder folder;
  ReplicaSockets sockets(folder.path() + "/" + std::string(100, 'x'));
  const auto path = sockets.open(InstanceId{7}, web_2, ::geteuid(), ::getegid());
  ASSERT_FALSE(path.ok());
  EXPECT_THAT(path.error().message, HasSubstr("may have 107"));
}

}  // namespace
}  // namespace muster::supervisor
