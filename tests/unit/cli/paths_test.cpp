#include "cli/paths.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::cli {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::MatchesRegex;

class Paths : public testing::Test {
 protected:
  Paths() {
    std::string pattern = testing::TempDir() + "muster-paths-XXXXXX";
    folder_ = fs::canonical(::mkdtemp(pattern.data()));
    around_ = {.cwd = folder_.string(), .uid = ::getuid(), .runtime_dir = ""};
  }
  ~Paths() override { fs::remove_all(folder_); }

  std::string write_spec(const fs::path& folder) {
    fs::create_directories(folder);
    std::ofstream(folder / "muster.toml") << "";
    return (folder / "muster.toml").string();
  }
  static Arguments of(const char* command) {
    Arguments arguments;
    arguments.row = find_command(command);
    return arguments;
  }
  [[nodiscard]] std::vector<std::string> candidates(const Arguments& arguments) const {
    std::vector<std::string> found;
    const auto made = client_candidates(arguments, around_);
    for (const SocketCandidate& one : made.value()) found.push_back(one.path);
    return found;
  }

  fs::path folder_;
  Surroundings around_;
};

TEST_F(Paths, UpTakesTheSpecOfThisFolder) {
  const std::string spec = write_spec(folder_);
  const DaemonPaths paths = daemon_paths(of("up"), around_).value();
  EXPECT_EQ(paths.spec, spec);
  EXPECT_EQ(paths.state_dir, (folder_ / ".muster").string());
  EXPECT_EQ(paths.log_dir, (folder_ / ".muster/log").string());
  EXPECT_EQ(paths.socket, "/tmp/muster-" + std::to_string(::getuid()) + "/" + project_id(spec) + ".sock");
}

TEST_F(Paths, SocketsOfReplicasAreBesideTheDaemons) {
  around_.uid = 1000;
  EXPECT_EQ(run_folder("/run/muster/muster.sock", around_), "/run/muster/muster.run");
  EXPECT_EQ(run_folder("/run/user/1000/muster/shop-1a2b3c4d.sock", around_),
            "/run/user/1000/muster/shop-1a2b3c4d.run");
  EXPECT_EQ(run_folder("/srv/control", around_), "/srv/control.run");
}

TEST_F(Paths, OtherUsersGetToTheSocketsOfRootsReplicas) {
  around_.uid = 0;
  EXPECT_EQ(run_folder("/run/muster/muster.sock", around_), "/run/muster/muster.run");
  EXPECT_THAT(run_folder("/run/user/0/muster/shop-1a2b3c4d.sock", around_),
              MatchesRegex("/run/muster/muster-[0-9a-f]+\\.run"));
}

TEST_F(Paths, UpDoesNotClimb) {
  write_spec(folder_);
  fs::create_directory(folder_ / "below");
  around_.cwd = (folder_ / "below").string();
  const auto paths = daemon_paths(of("up"), around_);
  ASSERT_FALSE(paths);
  EXPECT_EQ(paths.error().code, ExitCode::no_spec);
  EXPECT_THAT(paths.error().message, HasSubstr("the nearest is " + (folder_ / "muster.toml").string()));
}

TEST_F(Paths, AMissingSpecIs66WithAHint) {
  const auto none = daemon_paths(of("up"), around_);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ExitCode::no_spec);
  EXPECT_THAT(none.error().message, HasSubstr("-f SPEC"));
  Arguments named = of("check");
  named.file = "other.toml";
  EXPECT_EQ(daemon_paths(named, around_).error().code, ExitCode::no_spec);
}

TEST_F(Paths, DaemonWithAFileIsTheProjects) {
  const std::string spec = write_spec(folder_ / "shop");
  Arguments arguments = of("daemon");
  arguments.file = "shop/muster.toml";
  const DaemonPaths paths = daemon_paths(arguments, around_).value();
  EXPECT_EQ(paths.spec, spec);
  EXPECT_EQ(paths.state_dir, (folder_ / "shop/.muster").string());
  EXPECT_THAT(paths.socket, MatchesRegex("/tmp/muster-[0-9]+/shop-[0-9a-f]+\\.sock"));
}

TEST_F(Paths, FlagsWin) {
  write_spec(folder_);
  Arguments arguments = of("up");
  arguments.socket = "s.sock";
  arguments.state_dir = "st";
  const DaemonPaths paths = daemon_paths(arguments, around_).value();
  EXPECT_EQ(paths.socket, (folder_ / "s.sock").string());
  EXPECT_EQ(paths.state_dir, (folder_ / "st").string());
  EXPECT_EQ(paths.log_dir, (folder_ / "st/log").string());
}

TEST_F(Paths, TheIdIsOfTheRealPath) {
  const std::string spec = write_spec(folder_ / "shop");
  fs::create_directory_symlink(folder_ / "shop", folder_ / "link");
  Arguments arguments = of("up");
  arguments.file = (folder_ / "link/muster.toml").string();
  EXPECT_EQ(daemon_paths(arguments, around_).value().socket, project_socket(spec, around_));
  EXPECT_EQ(project_id("/srv/shop/muster.toml"), project_id("/srv/shop/muster.toml"));
  EXPECT_NE(project_id("/srv/shop/muster.toml"), project_id("/opt/shop/muster.toml"));
  EXPECT_THAT(project_id("/srv/my shop\n/muster.toml"), MatchesRegex("my-shop--[0-9a-f]+"));
  EXPECT_THAT(project_id("/muster.toml"), MatchesRegex("root-[0-9a-f]+"));
  EXPECT_LE(project_id("/" + std::string(200, 'x') + "/muster.toml").size(), 50U);
}

TEST_F(Paths, TheRuntimeFolderIsUsedWhereItFits) {
  around_.runtime_dir = "/run/user/7";
  EXPECT_THAT(project_socket("/srv/shop/muster.toml", around_),
              testing::StartsWith("/run/user/7/muster/shop-"));
  around_.runtime_dir = "/" + std::string(100, 'r');
  EXPECT_THAT(project_socket("/srv/shop/muster.toml", around_), testing::StartsWith("/tmp/muster-"));
}

TEST_F(Paths, ASocketPathHasALimit) {
  EXPECT_TRUE(check_socket_path(std::string(107, 'x')));
  const Status refused = check_socket_path(std::string(108, 'x'));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ExitCode::usage);
  EXPECT_THAT(refused.error().message, HasSubstr("108 bytes and may have 107"));
  write_spec(folder_);
  Arguments arguments = of("up");
  arguments.socket = std::string(120, 'x');
  EXPECT_FALSE(daemon_paths(arguments, around_));
  EXPECT_FALSE(client_candidates(arguments, around_));
}

TEST_F(Paths, AClientLooksUpwardsAndThenForTheSystem) {
  const std::string outer = write_spec(folder_);
  const std::string inner = write_spec(folder_ / "a/b");
  fs::create_directory(folder_ / "a/b/c");
  around_.cwd = (folder_ / "a/b/c").string();
  const auto found = candidates(of("ps"));
  ASSERT_EQ(found.size(), 3U);
  EXPECT_EQ(found[0], project_socket(inner, around_));
  EXPECT_EQ(found[1], project_socket(outer, around_));
  EXPECT_EQ(found[2], system_socket);
}

TEST_F(Paths, AClientTriesBothFoldersForSockets) {
  const std::string spec = write_spec(folder_);
  Surroundings without = around_;
  around_.runtime_dir = "/run/user/7";
  const auto found = candidates(of("ps"));
  ASSERT_EQ(found.size(), 3U);
  EXPECT_EQ(found[0], project_socket(spec, around_));
  EXPECT_EQ(found[1], project_socket(spec, without));
}

TEST_F(Paths, ANamedSocketOrSpecIsTheOnlyCandidate) {
  const std::string spec = write_spec(folder_);
  Arguments arguments = of("ps");
  arguments.file = spec;
  EXPECT_THAT(candidates(arguments), testing::ElementsAre(project_socket(spec, around_)));
  arguments.socket = "x.sock";
  EXPECT_THAT(candidates(arguments), testing::ElementsAre((folder_ / "x.sock").string()));
}

TEST_F(Paths, AFolderForSocketsIsMadePrivate) {
  const std::string socket = (folder_ / "run/muster/x.sock").string();
  ASSERT_TRUE(prepare_socket_folder(socket, around_));
  struct stat info {};
  ASSERT_EQ(::stat((folder_ / "run/muster").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777U, 0700U);
}

// In /tmp anybody may have been there first. The folder of a user id that nobody has stands for that.
TEST_F(Paths, AFolderInTmpMustBeOursAlone) {
  around_.uid = static_cast<uid_t>(3'000'000'000U + static_cast<unsigned>(::getpid()));
  const fs::path shared = "/tmp/muster-" + std::to_string(around_.uid);
  const std::string socket = (shared / "x.sock").string();
  const Status foreign = prepare_socket_folder(socket, around_);
  EXPECT_FALSE(foreign) << "made by us, but we are another user";
  fs::remove_all(shared);
  fs::create_directory_symlink(folder_, shared);
  const Status link = check_socket_folder(socket, around_);
  fs::remove(shared);
  ASSERT_FALSE(link);
  EXPECT_EQ(link.error().code, ExitCode::not_permitted);
  EXPECT_THAT(link.error().message, HasSubstr("mode 0700"));
  EXPECT_FALSE(check_socket_folder(socket, around_)) << "there is none";
}

}  // namespace
}  // namespace muster::cli
