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

// A daemon's look at the volumes of a state folder, with what is registered there.
Result<PreparedVolumes> prepare(const std::string& state_dir, const ReplicaId& of, const spec::App& app) {
  VolumeRegistry registry(state_dir, "boot");
  registry.load();
  return prepare_volumes(registry, of, app);
}

TEST(Volumes, EachOrdinalHasItsOwnFolder) {
  const TempFolder state;
  const auto made = prepare(state.path(), replica, app_with_volume());
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_EQ(made.value().paths.at(0).first, "data");
  EXPECT_EQ(made.value().paths.at(0).second, state.path() + "/volumes/db/1/data");
  struct stat found {};
  ASSERT_EQ(::stat(made.value().paths.at(0).second.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 07777U, 0700U);
}

TEST(Volumes, WhatIsThereStaysAsItIs) {
  const TempFolder state;
  const std::string folder = prepare(state.path(), replica, app_with_volume()).value().paths.at(0).second;
  std::ofstream(folder + "/kept") << "data";
  ASSERT_EQ(::chmod(folder.c_str(), 0755), 0);
  ASSERT_TRUE(prepare(state.path(), replica, app_with_volume()).ok());
  struct stat found {};
  ASSERT_EQ(::stat(folder.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 07777U, 0755U);
  EXPECT_TRUE(fs::exists(folder + "/kept"));
}

TEST(Volumes, APathOfItsOwnHoldsTheOrdinals) {
  const TempFolder state;
  const TempFolder disk;
  const auto made = prepare(state.path(), replica,
                            app_with_volume(spec::Volume{
                                .key = "data", .name = "data", .mode = 0750, .path = disk.path() + "/pg"}));
  ASSERT_TRUE(made.ok());
  EXPECT_EQ(made.value().paths.at(0).second, disk.path() + "/pg/1");
}

TEST(Volumes, ALinkOrAFileInItsPlaceIsAnError) {
  const TempFolder state;
  fs::create_directories(state.path() + "/volumes/db/1");
  fs::create_symlink("/tmp", state.path() + "/volumes/db/1/data");
  const auto made = prepare(state.path(), replica, app_with_volume());
  ASSERT_FALSE(made.ok());
  EXPECT_THAT(made.error().message, HasSubstr("volume data of db/1: "));
  EXPECT_THAT(made.error().message, HasSubstr("is not a directory"));
  EXPECT_EQ(made.error().errno_value, ESTALE);
}

TEST(Volumes, TheAppsUserOwnsIt) {
  if (getuid() != 0) GTEST_SKIP() << "needs root: gives a folder to another user";
  const TempFolder state;
  spec::App app = app_with_volume();
  app.user = "nobody";
  const auto made = prepare(state.path(), replica, app);
  ASSERT_TRUE(made.ok()) << made.error().message;
  struct stat found {};
  ASSERT_EQ(::stat(made.value().paths.at(0).second.c_str(), &found), 0);
  EXPECT_EQ(found.st_uid, find_account("nobody")->uid);
  app.user = "no-such-user";
  app.volumes[0].name = "other";
  EXPECT_THAT(prepare(state.path(), replica, app).error().message, HasSubstr("no such user"));
}

TEST(Volumes, OneThatIsInUseIsNotHandedOut) {
  const TempFolder state;
  const auto first = prepare(state.path(), replica, app_with_volume());
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(first.value().locks.size(), 1U);
  EXPECT_TRUE(fs::exists(state.path() + "/volumes/db/1/.data.lock"));
  const auto second = prepare(state.path(), replica, app_with_volume());
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().errno_value, EWOULDBLOCK);
  EXPECT_THAT(second.error().message, HasSubstr("volume data of db/1 is in use by "));
  EXPECT_TRUE(prepare(state.path(), {.app = "db", .ordinal = 2}, app_with_volume()).ok());
}

TEST(Volumes, APathHasOneTenantWhateverTheStateFolder) {
  const TempFolder one;
  const TempFolder other;
  const TempFolder disk;
  const auto app =
      app_with_volume(spec::Volume{.key = "data", .name = "data", .mode = 0700, .path = disk.path()});
  const auto first = prepare(one.path(), replica, app);
  ASSERT_TRUE(first.ok()) << first.error().message;
  EXPECT_EQ(prepare(other.path(), replica, app).error().errno_value, EWOULDBLOCK);
  EXPECT_FALSE(fs::exists(disk.path() + "/1/.lock")) << "the app must not see it";
  EXPECT_TRUE(fs::exists(disk.path() + "/.1.lock"));
}

// --- what was made once is missed

std::string refusal_of(const std::string& state_dir, const spec::App& app) {
  const auto made = prepare(state_dir, replica, app);
  return made ? "made" : made.error().message;
}

TEST(VolumeRegistry, OneThatIsGoneIsNotMadeAnew) {
  const TempFolder state;
  const std::string folder = prepare(state.path(), replica, app_with_volume()).value().paths.at(0).second;
  fs::remove(folder);
  const auto made = prepare(state.path(), replica, app_with_volume());
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().errno_value, ESTALE);
  EXPECT_THAT(made.error().message, HasSubstr("volume data of db/1 is missing: " + folder));
  EXPECT_FALSE(fs::exists(folder));
}

TEST(VolumeRegistry, NothingIsMadeBelowAMountPointWithoutItsDisk) {
  const TempFolder state;
  const TempFolder disk;
  const auto app =
      app_with_volume({.key = "data", .name = "data", .mode = 0700, .path = disk.path() + "/pg"});
  ASSERT_EQ(refusal_of(state.path(), app), "made");
  fs::rename(disk.path() + "/pg", disk.path() + "/away");
  EXPECT_THAT(refusal_of(state.path(), app), HasSubstr("is missing"));
  EXPECT_FALSE(fs::exists(disk.path() + "/pg"));
  fs::rename(disk.path() + "/away", disk.path() + "/pg");
  EXPECT_EQ(refusal_of(state.path(), app), "made");
}

TEST(VolumeRegistry, AnotherDirectoryInItsPlaceIsAnother) {
  const TempFolder state;
  const std::string folder = prepare(state.path(), replica, app_with_volume()).value().paths.at(0).second;
  fs::rename(folder, folder + "-old");
  fs::create_directory(folder);
  EXPECT_THAT(refusal_of(state.path(), app_with_volume()), HasSubstr("is another directory than before"));
  fs::remove(folder);
  fs::rename(folder + "-old", folder);
  EXPECT_EQ(refusal_of(state.path(), app_with_volume()), "made");
}

TEST(VolumeRegistry, ADirectoryOfSomebodyElseIsNotTaken) {
  const TempFolder state;
  const std::string folder = state.path() + "/volumes/db/1/data";
  fs::create_directories(folder);
  EXPECT_EQ(refusal_of(state.path(), app_with_volume()), "made") << "empty and ours";
  const TempFolder other;
  const std::string full = other.path() + "/volumes/db/1/data";
  fs::create_directories(full);
  std::ofstream(full + "/theirs") << "data";
  for (int tried = 0; tried < 2; ++tried) {
    EXPECT_THAT(refusal_of(other.path(), app_with_volume()), HasSubstr("was there before muster"));
    EXPECT_FALSE(fs::exists(other.path() + "/volumes/db/1/.data.lock")) << "would say that it is ours";
  }
}

TEST(VolumeRegistry, AReleaseThatKeptNoListIsFollowed) {
  const TempFolder state;
  const std::string above = state.path() + "/volumes/db/1";
  fs::create_directories(above + "/data");
  std::ofstream(above + "/data/kept") << "data";
  std::ofstream(above + "/.data.lock") << "";
  VolumeRegistry registry(state.path(), "boot");
  EXPECT_THAT(registry.load(), testing::ElementsAre(HasSubstr("known from the lock files beside them: 1")));
  ASSERT_NE(registry.find(above + "/data"), nullptr);
  EXPECT_EQ(registry.find(above + "/data")->replica, replica);
  EXPECT_TRUE(registry.incomplete());
  EXPECT_EQ(refusal_of(state.path(), app_with_volume()), "made");
}

TEST(VolumeRegistry, ALockWithoutItsDirectoryIsALostVolumeWhereTheListWasLost) {
  const TempFolder state;
  const std::string above = state.path() + "/volumes/db/1";
  fs::create_directories(above);
  std::ofstream(above + "/.data.lock") << "";
  EXPECT_THAT(refusal_of(state.path(), app_with_volume()), HasSubstr("is missing"));
  // Where there always was a list, a daemon was killed as it made the volume.
  const TempFolder whole;
  VolumeRegistry(whole.path(), "boot").load();
  fs::create_directories(whole.path() + "/volumes/db/1");
  std::ofstream(whole.path() + "/volumes/db/1/.data.lock") << "";
  EXPECT_EQ(refusal_of(whole.path(), app_with_volume()), "made");
}

TEST(VolumeRegistry, ALostListIsToldByTheLocks) {
  const TempFolder state;
  const TempFolder disk;
  const auto app = app_with_volume({.key = "data", .name = "data", .mode = 0700, .path = disk.path()});
  ASSERT_EQ(refusal_of(state.path(), app), "made");
  ASSERT_EQ(refusal_of(state.path(), app_with_volume()), "made");
  for (const char* const damage : {"", "{\"muster_volumes\":1,", "\xff"}) {
    for (const char* const name : {"/volumes.json", "/volumes.json.prev"})
      std::ofstream(state.path() + name) << damage;
    VolumeRegistry registry(state.path(), "boot");
    EXPECT_THAT(registry.load(), testing::Not(testing::IsEmpty()));
    EXPECT_TRUE(prepare_volumes(registry, replica, app_with_volume()).ok());
    EXPECT_TRUE(prepare_volumes(registry, replica, app).ok());
  }
  for (const char* const name : {"/volumes.json", "/volumes.json.prev"})
    std::ofstream(state.path() + name) << "x";
  fs::remove(disk.path() + "/1");
  fs::remove(state.path() + "/volumes/db/1/data");
  EXPECT_THAT(refusal_of(state.path(), app), HasSubstr("is missing"));
  EXPECT_THAT(refusal_of(state.path(), app_with_volume()), HasSubstr("is missing"));
}

TEST(VolumeRegistry, WhoIsKilledAsItMakesOneLeavesNothingInTheWay) {
  const TempFolder state;
  const std::string above = state.path() + "/volumes/db/1";
  // Killed before it was registered.
  VolumeRegistry(state.path(), "boot").load();
  fs::create_directories(above + "/.data.new");
  EXPECT_EQ(refusal_of(state.path(), app_with_volume()), "made");
  EXPECT_FALSE(fs::exists(above + "/.data.new"));
  // Killed between its registration and its name.
  fs::rename(above + "/data", above + "/.data.new");
  EXPECT_EQ(refusal_of(state.path(), app_with_volume()), "made");
  EXPECT_TRUE(fs::exists(above + "/data"));
  EXPECT_FALSE(fs::exists(above + "/.data.new"));
}

TEST(VolumeRegistry, WithoutAListNothingIsHandedOut) {
  const TempFolder state;
  fs::create_directory(state.path() + "/volumes.json.tmp");  // where the next list would be written
  EXPECT_THAT(refusal_of(state.path(), app_with_volume()), HasSubstr("it cannot be registered"));
  EXPECT_FALSE(fs::exists(state.path() + "/volumes/db/1/data"));
}

TEST(VolumeRegistry, AdoptingTakesWhatIsThere) {
  const TempFolder state;
  const std::string folder = state.path() + "/volumes/db/1/data";
  fs::create_directories(folder);
  std::ofstream(folder + "/theirs") << "data";
  VolumeRegistry registry(state.path(), "boot");
  registry.load();
  {
    auto held = hold_volume(folder);
    ASSERT_TRUE(held.ok());
    VolumeRecord record;
    record.replica = replica;
    record.key = "data";
    ASSERT_TRUE(enroll_volume(registry, record, held.value()).ok());
    EXPECT_EQ(hold_volume(folder).error().errno_value, EWOULDBLOCK);
  }
  EXPECT_TRUE(prepare_volumes(registry, replica, app_with_volume()).ok());
  EXPECT_TRUE(fs::exists(folder + "/theirs"));
}

TEST(VolumeRegistry, IsMovedWithItsFolder) {
  const TempFolder root;
  fs::create_directory(root.path() + "/one");
  ASSERT_EQ(refusal_of(root.path() + "/one", app_with_volume()), "made");
  fs::rename(root.path() + "/one", root.path() + "/two");
  EXPECT_EQ(refusal_of(root.path() + "/two", app_with_volume()), "made");
  fs::remove(root.path() + "/two/volumes/db/1/data");
  EXPECT_THAT(refusal_of(root.path() + "/two", app_with_volume()), HasSubstr("is missing"));
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
    const auto made = prepare(state_.path(), replica, app_);
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
  fs::remove(own() + "/pg/1");
  plant(victim() + "/made", own() + "/pg/.1.lock");
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
