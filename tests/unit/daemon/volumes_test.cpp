#include "supervisor/volumes.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "supervisor/accounts.h"
#include "support/temp_folder.h"

namespace muster::supervisor {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing_support::TempFolder;

spec::App app_with_volume(spec::Volume volume = spec::Volume{
                              .key = "data", .name = "data", .mode = 0700, .path = {}}) {
  spec::App app;
  app.name = "db";
  app.volumes = {std::move(volume)};
  return app;
}
const ReplicaId replica{.app = "db", .ordinal = 1};

TEST(Volumes, EachOrdinalHasItsOwnFolder) {
  const TempFolder state;
  const auto made = prepare_volumes(state.path(), replica, app_with_volume());
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_EQ(made.value().at(0).first, "data");
  EXPECT_EQ(made.value().at(0).second, state.path() + "/volumes/db/1/data");
  struct stat found {};
  ASSERT_EQ(::stat(made.value().at(0).second.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 07777U, 0700U);
}

TEST(Volumes, WhatIsThereStaysAsItIs) {
  const TempFolder state;
  const auto first = prepare_volumes(state.path(), replica, app_with_volume());
  ASSERT_TRUE(first.ok());
  const std::string folder = first.value().at(0).second;
  std::ofstream(folder + "/kept") << "data";
  ASSERT_EQ(::chmod(folder.c_str(), 0755), 0);
  ASSERT_TRUE(prepare_volumes(state.path(), replica, app_with_volume()).ok());
  struct stat found {};
  ASSERT_EQ(::stat(folder.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 07777U, 0755U);
  EXPECT_TRUE(fs::exists(folder + "/kept"));
}

TEST(Volumes, APathOfItsOwnHoldsTheOrdinals) {
  const TempFolder state;
  const TempFolder disk;
  const auto made =
      prepare_volumes(state.path(), replica,
                      app_with_volume(spec::Volume{
                          .key = "data", .name = "data", .mode = 0750, .path = disk.path() + "/pg"}));
  ASSERT_TRUE(made.ok());
  EXPECT_EQ(made.value().at(0).second, disk.path() + "/pg/1");
}

TEST(Volumes, ALinkOrAFileInItsPlaceIsAnError) {
  const TempFolder state;
  fs::create_directories(state.path() + "/volumes/db/1");
  fs::create_symlink("/tmp", state.path() + "/volumes/db/1/data");
  const auto made = prepare_volumes(state.path(), replica, app_with_volume());
  ASSERT_FALSE(made.ok());
  EXPECT_THAT(made.error().message, HasSubstr("volume data: "));
  EXPECT_THAT(made.error().message, HasSubstr("is not a directory"));
}

TEST(Volumes, TheAppsUserOwnsIt) {
  if (getuid() != 0) GTEST_SKIP() << "needs root: gives a folder to another user";
  const TempFolder state;
  spec::App app = app_with_volume();
  app.user = "nobody";
  const auto made = prepare_volumes(state.path(), replica, app);
  ASSERT_TRUE(made.ok()) << made.error().message;
  struct stat found {};
  ASSERT_EQ(::stat(made.value().at(0).second.c_str(), &found), 0);
  EXPECT_EQ(found.st_uid, find_account("nobody")->uid);
  app.user = "no-such-user";
  app.volumes[0].name = "other";
  EXPECT_THAT(prepare_volumes(state.path(), replica, app).error().message, HasSubstr("no such user"));
}

}  // namespace
}  // namespace muster::supervisor
