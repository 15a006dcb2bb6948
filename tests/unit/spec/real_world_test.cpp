// The shell: real files, a FIFO, a sparse gigabyte.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "spec/load.h"

namespace muster::spec {
namespace {

class RealWorld : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "spec-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ + "/" + name, std::ios::binary) << text;
    return folder_ + "/" + name;
  }
  [[nodiscard]] Loaded load_it(const std::string& path) const {
    return load(path, real_world({"A=1", "B=x=y"}), {});
  }

  std::string folder_;
};

TEST_F(RealWorld, ReadsAFile) {
  const Loaded loaded = load_it(write("m.toml", "[app.a]\nrun = 'x ${B}'"));
  ASSERT_TRUE(loaded.spec);
  EXPECT_EQ(loaded.spec->apps.at(0).run.at(1).text(), "x=y");
}

TEST_F(RealWorld, RefusesWhatIsNoRegularFile) {
  const std::string fifo = folder_ + "/fifo";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  for (const std::string& path :
       {folder_, fifo, folder_ + "/none", std::string("/dev/zero"), std::string("/dev/null")}) {
    const Loaded loaded = load_it(path);
    EXPECT_EQ(loaded.exit_code, ExitCode::no_spec) << path;
    ASSERT_EQ(loaded.diagnostics.size(), 1U);
    EXPECT_EQ(loaded.diagnostics[0].at.file, path);
  }
}

TEST_F(RealWorld, RefusesAGigabyteUnread) {
  const std::string path = write("huge.toml", "");
  ASSERT_EQ(truncate(path.c_str(), 1L << 30), 0);
  const Loaded loaded = load_it(path);
  EXPECT_EQ(loaded.exit_code, ExitCode::bad_spec);
  EXPECT_EQ(loaded.diagnostics.at(0).message, path + " is larger than 4 MiB");
}

TEST_F(RealWorld, GlobsInOrder) {
  write("b.toml", "");
  write("a.toml", "");
  const auto paths = real_world({}).glob(folder_ + "/*.toml");
  ASSERT_TRUE(paths.ok());
  EXPECT_EQ(paths.value(), (std::vector<std::string>{folder_ + "/a.toml", folder_ + "/b.toml"}));
  EXPECT_TRUE(real_world({}).glob(folder_ + "/*.none").value().empty());
}

TEST_F(RealWorld, KnowsUsersAndTheEnvironment) {
  const World world = real_world({"A=1", "B=x=y", "odd", "A=2"});
  EXPECT_TRUE(world.user_exists("root"));
  EXPECT_FALSE(world.user_exists("no-such-user-here"));
  EXPECT_TRUE(world.group_exists("root"));
  EXPECT_FALSE(world.group_exists("no-such-group-here"));
  EXPECT_EQ(world.env("A"), "1");
  EXPECT_EQ(world.env("B"), "x=y");
  EXPECT_FALSE(world.env("odd"));
}

TEST(Examples, Load) {
  std::size_t found = 0;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(std::string(MUSTER_SOURCE_DIR) + "/config")) {
    const std::string name = entry.path().filename();
    if (name != "muster.toml" && name != "muster.toml.example") continue;
    ++found;
    for (const Mode mode : {Mode::up, Mode::daemon}) {
      const Loaded loaded = load(entry.path(), real_world({}), {.mode = mode, .root = false});
      for (const Diagnostic& diagnostic : loaded.diagnostics) ADD_FAILURE() << render(diagnostic);
      EXPECT_TRUE(loaded.spec) << entry.path();
    }
  }
  EXPECT_GE(found, 5U);
}

}  // namespace
}  // namespace muster::spec
