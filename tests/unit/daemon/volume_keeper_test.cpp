#include "supervisor/volume_keeper.h"

#include <sys/mount.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "support/temp_folder.h"
#include "support/uv_loop.h"

namespace muster::supervisor {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::SizeIs;

// A daemon's volumes: db with two ordinals, which nobody has unless a test says so.
class Keeper : public testing::Test {
 protected:
  Keeper() {
    auto spec = std::make_shared<spec::Spec>();
    spec::App app;
    app.name = "db";
    app.replicas = 2;
    app.volumes = {spec::Volume{.key = "data", .name = "data", .mode = 0700, .path = {}}};
    spec->apps.push_back(app);
    app_ = app;
    keeper_->load();
    keeper_->use(spec);
  }
  void TearDown() override {
    keeper_.reset();
    uv_run(loop_.get(), UV_RUN_DEFAULT);
  }

  std::string make(int ordinal) {
    const auto made = keeper_->prepare({.app = "db", .ordinal = ordinal}, app_);
    return made ? made.value().paths.at(0).second : made.error().message;
  }
  std::string place(int ordinal) const {
    return state_.path() + "/volumes/db/" + std::to_string(ordinal) + "/data";
  }
  Result<std::string> remove(const std::string& path) {
    std::optional<Result<std::string>> told;
    keeper_->remove(path, [&](Result<std::string> said) { told = std::move(said); });
    EXPECT_TRUE(loop_.run_until([&] { return told.has_value(); }));
    return *told;
  }
  std::vector<VolumeRow> rows() {
    std::optional<std::vector<VolumeRow>> found;
    EXPECT_TRUE(keeper_->list({}, [&](const std::vector<VolumeRow>& all) { found = all; }));
    EXPECT_TRUE(loop_.run_until([&] { return found.has_value(); }));
    return *found;
  }

  testing_support::TempFolder state_;
  testing_support::UvLoop loop_;
  std::vector<Note> notes_;
  std::set<std::string> in_use_;
  spec::App app_;
  std::unique_ptr<VolumeKeeper> keeper_ = std::make_unique<VolumeKeeper>(
      loop_.get(), state_.path(), "boot",
      VolumeHooks{.note = [this](Note note) { notes_.push_back(std::move(note)); },
                  .in_use = [this] { return in_use_; }});
};

TEST_F(Keeper, ListsWhatIsThereWithItsUse) {
  EXPECT_THAT(rows(), SizeIs(0));  // none was made yet
  std::ofstream(make(1) + "/file") << std::string(100'000, 'x');
  in_use_ = {place(1)};
  const auto all = rows();
  ASSERT_THAT(all, SizeIs(1));
  EXPECT_EQ(all[0].state, "in use");
  EXPECT_GE(all[0].used_bytes.value_or(0), 100'000U);
  EXPECT_TRUE(all[0].used_complete);
}

TEST_F(Keeper, RemovesAVolumeThatNobodyHas) {
  const std::string path = make(0);
  std::ofstream(path + "/file") << "data";
  in_use_ = {path};
  EXPECT_THAT(remove(path).error().message, HasSubstr("in use"));
  in_use_.clear();
  {
    const auto held = hold_volume(path);  // by another daemon
    EXPECT_THAT(remove(path).error().message, HasSubstr("in use by"));
  }
  EXPECT_TRUE(fs::exists(path + "/file"));
  const auto told = remove(path);
  ASSERT_TRUE(told.ok()) << told.error().message;
  EXPECT_FALSE(fs::exists(state_.path() + "/volumes/db"));
  EXPECT_THAT(rows(), SizeIs(0));
  EXPECT_THAT(remove(path).error().message, HasSubstr("no registered volume"));
  EXPECT_EQ(make(0), path);
}

TEST_F(Keeper, WhatIsInThePlaceOfAVolumeIsLeftAlone) {
  const std::string path = make(0);
  fs::rename(path, path + "-away");
  fs::create_directory(path);
  std::ofstream(path + "/theirs") << "data";
  EXPECT_THAT(remove(path).value(), HasSubstr("was left as it is"));
  EXPECT_TRUE(fs::exists(path + "/theirs"));
  EXPECT_THAT(make(0), HasSubstr("was there before muster"));
}

TEST_F(Keeper, ARemovalThatWasCutShortIsFinishedByHand) {
  const std::string path = make(0);
  std::ofstream(path + "/left") << "data";
  {
    VolumeRegistry registry(state_.path(), "boot");
    registry.load();
    VolumeRecord record = *registry.find(path);
    record.removing = true;
    ASSERT_TRUE(registry.put(record).ok());
  }
  keeper_->load();
  EXPECT_THAT(make(0), HasSubstr("removed in part"));
  EXPECT_EQ(rows().at(0).state, "removing");
  EXPECT_TRUE(remove(path).ok());
  EXPECT_FALSE(fs::exists(path));
  EXPECT_EQ(make(0), path);
}

TEST_F(Keeper, AFileSystemThatIsMountedInAVolumeIsNotRemoved) {
  const std::string path = make(0);
  fs::create_directory(path + "/mounted");
  std::ofstream(path + "/file") << "data";
  if (::mount("none", (path + "/mounted").c_str(), "tmpfs", 0, "size=1m") != 0)
    GTEST_SKIP() << "no file system can be mounted here: errno " << errno;
  std::ofstream(path + "/mounted/kept") << "data";
  EXPECT_THAT(remove(path).error().message, HasSubstr("a file system is mounted at " + path + "/mounted"));
  EXPECT_TRUE(fs::exists(path + "/file"));
  EXPECT_TRUE(fs::exists(path + "/mounted/kept"));
  ::umount((path + "/mounted").c_str());
}

TEST_F(Keeper, AnotherPathIsAnotherVolumeAndIsTold) {
  make(0);
  app_.volumes[0].path = state_.path() + "/elsewhere";
  EXPECT_EQ(make(0), state_.path() + "/elsewhere/0");
  ASSERT_THAT(notes_, SizeIs(1));
  EXPECT_THAT(notes_[0].text, HasSubstr("the one of before stays at " + place(0)));
}

}  // namespace
}  // namespace muster::supervisor
