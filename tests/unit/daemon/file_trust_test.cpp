// Whose word root takes.
#include "supervisor/file_trust.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "supervisor/spec_source.h"
#include "support/temp_folder.h"

namespace muster::supervisor {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing_support::TempFolder;

constexpr uid_t nobody = 65534;

class FileTrust : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root: gives files to another user";
    fs::create_directory(folder());
    write(spec(), "include = [\"conf.d/*.toml\"]\n[app.web]\nrun = \"true\"\nuser = \"root\"\n");
  }
  [[nodiscard]] std::string folder() const { return temporary_.path() + "/etc"; }
  [[nodiscard]] std::string spec() const { return folder() + "/muster.toml"; }
  static void write(const std::string& path, const std::string& text) {
    std::ofstream(path) << text;
    ASSERT_EQ(::chmod(path.c_str(), 0644), 0);
  }
  static void give(const std::string& path) {
    ASSERT_EQ(::lchown(path.c_str(), nobody, static_cast<gid_t>(-1)), 0);
  }
  [[nodiscard]] ReadSpec read(RunMode mode) const {
    return SpecSource(spec(), mode, {"PATH=/usr/bin:/bin"}, {}).read();
  }
  // The daemon refuses it with these words, `up` warns.
  void expect_refused(const std::string& words) const {
    const ReadSpec daemon = read(RunMode::daemon);
    EXPECT_EQ(daemon.spec, nullptr);
    EXPECT_EQ(daemon.code, ExitCode::not_permitted);
    EXPECT_THAT(daemon.error, HasSubstr(words));
    const ReadSpec up = read(RunMode::up);
    EXPECT_NE(up.spec, nullptr) << up.error;
    EXPECT_THAT(up.warnings, HasSubstr(words));
  }

 private:
  TempFolder temporary_;
};

TEST_F(FileTrust, WhatIsRootsAloneIsTaken) {
  EXPECT_EQ(changeable_by_others(spec()), std::nullopt);
  const ReadSpec daemon = read(RunMode::daemon);
  EXPECT_NE(daemon.spec, nullptr) << daemon.error;
  EXPECT_EQ(daemon.warnings, "");
}

TEST_F(FileTrust, ASpecOfAnotherUserIsRefused) {
  give(spec());
  expect_refused(spec() + " is owned by nobody (uid 65534), mode 0644");
}

TEST_F(FileTrust, ASpecThatOthersMayWriteIsRefused) {
  for (const mode_t mode : {0664U, 0646U, 0666U}) {
    ASSERT_EQ(::chmod(spec().c_str(), mode), 0);
    expect_refused(spec() + " is owned by root (uid 0), mode 06");
  }
}

TEST_F(FileTrust, TheFolderCountsToo) {
  ASSERT_EQ(::chmod(folder().c_str(), 0775), 0);
  expect_refused(folder() + " is owned by root (uid 0), mode 0775");
  ASSERT_EQ(::chmod(folder().c_str(), 01777), 0);
  EXPECT_EQ(changeable_by_others(spec()), std::nullopt) << "in a sticky folder nobody moves what is root's";
  ASSERT_EQ(::chmod(folder().c_str(), 0755), 0);
  give(folder());
  expect_refused(folder() + " is owned by nobody");
}

TEST_F(FileTrust, IncludedFilesCount) {
  fs::create_directory(folder() + "/conf.d");
  write(folder() + "/conf.d/more.toml", "[app.more]\nrun = \"true\"\nuser = \"root\"\n");
  EXPECT_NE(read(RunMode::daemon).spec, nullptr);
  give(folder() + "/conf.d/more.toml");
  expect_refused("conf.d/more.toml may be changed by others than root");
}

TEST_F(FileTrust, EnvFilesOfAppsOfRootCount) {
  write(folder() + "/web.env", "A=1\n");
  give(folder() + "/web.env");
  write(spec(), "[app.web]\nrun = \"true\"\nuser = \"root\"\nenv_file = \"web.env\"\n");
  expect_refused("web.env, an env_file of web, which runs as root, may be changed by others than root");
  write(spec(), "[app.web]\nrun = \"true\"\nuser = \"nobody\"\nenv_file = \"web.env\"\n");
  EXPECT_NE(read(RunMode::daemon).spec, nullptr);
}

// Root would read what the link's maker may not, and hand it to an app of theirs.
TEST_F(FileTrust, PlantedLinksToEnvFilesAreNotFollowed) {
  const TempFolder secret;
  write(secret.path() + "/shadow", "SECRET=root's\n");
  fs::create_directory(folder() + "/own");
  fs::create_symlink(secret.path() + "/shadow", folder() + "/own/web.env");
  write(spec(), "[app.web]\nrun = \"true\"\nuser = \"nobody\"\nenv_file = \"own/web.env\"\n");
  EXPECT_NE(read(RunMode::daemon).spec, nullptr) << "root made it, nobody else writes there";
  give(folder() + "/own");
  give(folder() + "/own/web.env");
  const ReadSpec daemon = read(RunMode::daemon);
  EXPECT_EQ(daemon.spec, nullptr);
  EXPECT_THAT(daemon.error, HasSubstr("own/web.env is a symbolic link that another user may have made"));
}

}  // namespace
}  // namespace muster::supervisor
