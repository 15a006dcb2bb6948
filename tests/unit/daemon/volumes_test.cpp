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
  EXPECT_EQ(made.value().paths.at(0).first, "data");
  EXPECT_EQ(made.value().paths.at(0).second, state.path() + "/volumes/db/1/data");
  struct stat found {};
  ASSERT_EQ(::stat(made.value().paths.at(0).second.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 07777U, 0700U);
}

TEST(Volumes, WhatIsThereStaysAsItIs) {
  const TempFolder state;
  const std::string folder =
      prepare_volumes(state.path(), replica, app_with_volume()).value().paths.at(0).second;
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
  EXPECT_EQ(made.value().paths.at(0).second, disk.path() + "/pg/1");
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
  ASSERT_EQ(::stat(made.value().paths.at(0).second.c_str(), &found), 0);
  EXPECT_EQ(found.st_uid, find_account("nobody")->uid);
  app.user = "no-such-user";
  app.volumes[0].name = "other";
  EXPECT_THAT(prepare_volumes(state.path(), replica, app).error().message, HasSubstr("no such user"));
}

TEST(Volumes, OneThatIsInUseIsNotHandedOut) {
  const TempFolder state;
  const auto first = prepare_volumes(state.path(), replica, app_with_volume());
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(first.value().locks.size(), 1U);
  EXPECT_TRUE(fs::exists(state.path() + "/volumes/db/1/.data.lock"));
  const auto second = prepare_volumes(state.path(), replica, app_with_volume());
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().errno_value, EWOULDBLOCK);
  EXPECT_THAT(second.error().message, HasSubstr("volume data of db/1 is in use by "));
  EXPECT_TRUE(prepare_volumes(state.path(), {.app = "db", .ordinal = 2}, app_with_volume()).ok());
}

TEST(Volumes, APathHasOneTenantWhateverTheStateFolder) {
  const TempFolder one;
  const TempFolder other;
  const TempFolder disk;
  const auto app =
      app_with_volume(spec::Volume{.key = "data", .name = "data", .mode = 0700, .path = disk.path()});
  const auto first = prepare_volumes(one.path(), replica, app);
  ASSERT_TRUE(first.ok()) << first.error().message;
  EXPECT_EQ(prepare_volumes(other.path(), replica, app).error().errno_value, EWOULDBLOCK);
  EXPECT_FALSE(fs::exists(disk.path() + "/1/.lock")) << "the app must not see it";
  EXPECT_TRUE(fs::exists(disk.path() + "/.1.lock"));
}

// Somebody who may write above a volume must not lead root elsewhere.
class PlantedLinks : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root: acts for another user";
    nobody_ = find_account("nobody")->uid;
    fs::create_directory(own());
    fs::create_directory(victim());
    ASSERT_EQ(::chown(own().c_str(), nobody_, static_cast<gid_t>(-1)), 0);
    app_.user = "nobody";
  }
  [[nodiscard]] std::string own() const { return disk_.path() + "/own"; }        // nobody's
  [[nodiscard]] std::string victim() const { return disk_.path() + "/victim"; }  // root's
  void plant(const std::string& to, const std::string& at) const {
    fs::create_symlink(to, at);
    ASSERT_EQ(::lchown(at.c_str(), nobody_, static_cast<gid_t>(-1)), 0);
  }
  [[nodiscard]] Error refusal() const {
    const auto made = prepare_volumes(state_.path(), replica, app_);
    return made ? Error{.message = "made"} : made.error();
  }

 private:
  TempFolder state_;
  TempFolder disk_;  // before what has its path
  uid_t nobody_ = 0;

 protected:
  spec::App app_ =
      app_with_volume(spec::Volume{.key = "data", .name = "data", .mode = 0700, .path = own() + "/pg"});
};

TEST_F(PlantedLinks, InTheWayToAVolumeAreNotFollowed) {
  plant(victim(), own() + "/pg");
  EXPECT_THAT(refusal().message, HasSubstr("pg is a symbolic link that another user may have made"));
  EXPECT_TRUE(fs::is_empty(victim()));
}

TEST_F(PlantedLinks, InPlaceOfAVolumeOrItsLockAreNotFollowed) {
  fs::create_directory(own() + "/pg");
  plant(victim(), own() + "/pg/1");
  EXPECT_THAT(refusal().message, HasSubstr("is not a directory"));
  plant(victim() + "/made", own() + "/pg/.1.lock2");
  fs::remove(own() + "/pg/.1.lock");
  fs::rename(own() + "/pg/.1.lock2", own() + "/pg/.1.lock");
  EXPECT_THAT(refusal().message, HasSubstr(".1.lock"));
  EXPECT_TRUE(fs::is_empty(victim()));
}

TEST_F(PlantedLinks, OfRootAreFollowedWhereNobodyElseMayWrite) {
  fs::create_symlink(victim(), fs::path(victim()).parent_path() / "link");
  app_.volumes[0].path = (fs::path(victim()).parent_path() / "link" / "pg").string();
  EXPECT_EQ(refusal().message, "made");
  EXPECT_TRUE(fs::is_directory(victim() + "/pg/1"));
  // One of root's in the user's own folder: the user can have moved it there from another name.
  fs::create_symlink(victim(), own() + "/link");
  app_.volumes[0].path = own() + "/link";
  EXPECT_THAT(refusal().message, HasSubstr("another user may have made"));
}

}  // namespace
}  // namespace muster::supervisor
