// Each way in which a start can fail: the sentence, the kind, and that nothing is left.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "host_rig.h"
#include "supervisor/spawner.h"

namespace muster::supervisor {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

// By this program as its own shim, and by the small one.
class StartFailure : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (GetParam() && built_small_shim().empty()) GTEST_SKIP() << "this build has no small shim";
  }
  void TearDown() override {
    EXPECT_EQ(rig_.host().running(), 0U);
    EXPECT_THAT(own_zombies(), IsEmpty());
    std::filesystem::remove_all(folder_);
  }
  const Seen& fail(const ProcessOrder& order, SpawnFailure kind = SpawnFailure::exec) {
    const Seen& seen = rig_.run(order);
    EXPECT_THAT(seen.order, ElementsAre("failed"));
    EXPECT_EQ(seen.failure, kind);
    return seen;
  }
  std::string file(const std::string& name, const std::string& text, mode_t mode) {
    std::filesystem::create_directories(folder_);
    chmod(folder_.c_str(), 0755);
    const std::string path = folder_ + "/" + name;
    std::ofstream(path) << text;
    chmod(path.c_str(), mode);
    return path;
  }

  HostRig rig_{by_shim(GetParam() ? built_small_shim() : "")};
  const std::string folder_ = testing::TempDir() + "muster-start-" + std::to_string(getpid());
};

INSTANTIATE_TEST_SUITE_P(By, StartFailure, testing::Bool(),
                         [](const auto& of) { return of.param ? "SmallShim" : "OwnShim"; });

TEST_P(StartFailure, NoSuchFolder) {
  ProcessOrder order = order_of({"true"});
  order.dir = "/nonexistent/x";
  EXPECT_EQ(fail(order).sentence, "chdir /nonexistent/x: No such file or directory");
}

TEST_P(StartFailure, FolderOfSomebodyElse) {
  if (geteuid() != 0) GTEST_SKIP() << "only root may change the user";
  ProcessOrder order = order_of({"true"});
  order.user = "nobody";
  std::filesystem::create_directories(folder_);
  chmod(folder_.c_str(), 0700);
  order.dir = folder_;
  EXPECT_EQ(fail(order).sentence, "chdir " + folder_ + ": Permission denied");
}

TEST_P(StartFailure, NoSuchUserOrGroup) {
  ProcessOrder order = order_of({"true"});
  order.user = "bob-is-not-here";
  EXPECT_EQ(fail(order).sentence, "user \"bob-is-not-here\": no such user");
  order.user = "";
  order.group = "no-such-group";
  EXPECT_EQ(fail(order).sentence, "group \"no-such-group\": no such group");
}

// What a host prints that has lost this capability before it starts `id` as another.
std::string without(int capability, const std::string& user, const std::string& group) {
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  const std::string line =
      "'" + self + "' " + without_flag + " " + std::to_string(capability) + " '" + user + "' '" + group + "'";
  FILE* const pipe = popen(line.c_str(), "re");
  if (pipe == nullptr) return "popen";
  std::string text;
  std::array<char, 512> piece{};
  while (const std::size_t got = fread(piece.data(), 1, piece.size(), pipe)) text.append(piece.data(), got);
  pclose(pipe);
  return text;
}

// Groups first, then the group, the user last; what fails on the way ends the start, nothing runs half changed.
TEST(PrivilegeDrop, AStepThatFailsEndsTheStart) {
  if (geteuid() != 0) GTEST_SKIP() << "only root may change the user";
  EXPECT_EQ(without(CAP_SETGID, "nobody", ""), "groups of user \"nobody\": Operation not permitted\n");
  EXPECT_EQ(without(CAP_SETGID, "", "daemon"),
            "changing to the group of user \"\": Operation not permitted\n");
  EXPECT_EQ(without(CAP_SETUID, "nobody", ""), "changing to user \"nobody\": Operation not permitted\n");
  EXPECT_THAT(without(CAP_SYS_TIME, "nobody", ""), StartsWith("\nuid=65534(nobody)"));
}

TEST_P(StartFailure, ProgramThatIsNone) {
  EXPECT_EQ(fail(order_of({"no-such-program-x"})).sentence,
            "exec no-such-program-x: No such file or directory");
  EXPECT_EQ(fail(order_of({"/etc"})).sentence, "exec /etc: Permission denied");
  EXPECT_EQ(fail(order_of({"/etc/passwd/x"})).sentence, "exec /etc/passwd/x: Not a directory");
  const std::string plain = file("plain", "hello", 0644);
  EXPECT_EQ(fail(order_of({plain})).sentence, "exec " + plain + ": Permission denied");
  const std::string text = file("text", "echo hello\n", 0755);
  EXPECT_THAT(fail(order_of({text})).sentence, StartsWith("exec " + text + ": Exec format error"));
  const std::string script = file("script", "#!/nonexistent/sh\n", 0755);
  EXPECT_EQ(fail(order_of({script})).sentence,
            "exec " + script + ": its interpreter: No such file or directory");
}

TEST_P(StartFailure, LimitAboveWhatIsAllowed) {
  ProcessOrder order = order_of({"true"});
  order.files_max = ~std::uint64_t{0} >> 1U;  // above fs.nr_open, for everybody
  EXPECT_EQ(fail(order).sentence, "limit of open files: Operation not permitted");
}

TEST_P(StartFailure, ArgumentsThatAreTooLong) {
  EXPECT_EQ(fail(order_of({"true", std::string(200'000, 'x')})).sentence,
            "exec true: Argument list too long");
}

TEST(Shim, ThatIsNotThere) {
  HostRig rig;
  set_shim_path("/nonexistent/muster");
  const Seen& seen = rig.run(order_of({"true"}));
  set_shim_path("/proc/self/exe");
  EXPECT_EQ(seen.failure, SpawnFailure::resources);
  EXPECT_EQ(seen.sentence, "exec of muster's own start helper: No such file or directory");
}

TEST(Shim, ThatSaysNothing) {
  HostRig rig;
  set_shim_path("/bin/true");
  const Seen& seen = rig.run(order_of({"true"}));
  set_shim_path("/proc/self/exe");
  EXPECT_EQ(seen.failure, SpawnFailure::resources);
  EXPECT_THAT(seen.sentence, HasSubstr("ended before it could start the process"));
}

// One of another version, say. It costs one try.
TEST(Shim, SmallOneThatSaysNothingIsNotUsedAgain) {
  HostRig rig(by_shim("/bin/true"));
  const Seen& first = rig.run(order_of({"true"}));
  EXPECT_EQ(first.failure, SpawnFailure::resources);
  EXPECT_THAT(first.sentence, HasSubstr("ended before it could start the process"));
  EXPECT_THAT(rig.run(order_of({"true"})).order, ElementsAre("started", "exited", "gone"));
}

TEST(Shim, SmallOneThatOthersMayWriteIsNotUsed) {
  const std::string path = testing::TempDir() + "muster-shim-" + std::to_string(getpid());
  std::filesystem::copy_file("/bin/true", path, std::filesystem::copy_options::overwrite_existing);
  chmod(path.c_str(), 0775);
  HostRig rig(by_shim(path));
  EXPECT_THAT(rig.run(order_of({"true"})).order, ElementsAre("started", "exited", "gone"));
  std::filesystem::remove(path);
}

TEST(Shim, SmallOneEndsAtOnceWithoutAnOrder) {
  if (built_small_shim().empty()) GTEST_SKIP() << "this build has no small shim";
  HostRig rig;
  for (const std::string argument :
       {"", " --exec-shim", " --exec-shim 0", " --exec-shim 77", " --exec-shim x"})
    EXPECT_EQ(rig.run(shell_order(built_small_shim() + argument + " </etc/passwd")).status.code, 127)
        << argument;
}

// However far the descriptors reach: no crash, nothing left behind, and afterwards it works again.
TEST_P(StartFailure, DescriptorsRunOut) {
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  const Fd probe(open("/dev/null", O_RDONLY | O_CLOEXEC));
  const auto free_from = static_cast<rlim_t>(probe.get());
  int failures = 0;
  int successes = 0;
  HostRig& rig = rig_;  // clang's check of `this` needs a descriptor
  for (rlim_t room = 0; room < 20; ++room) {
    const rlimit tight{free_from + room, before.rlim_max};
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &tight), 0);
    const InstanceId id = rig.start(order_of({"true"}));
    const std::string sentence = rig.seen(id).sentence;
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
    ASSERT_TRUE(rig.until([&] { return rig.seen(id).has("failed") || rig.seen(id).has("gone"); })) << room;
    if (rig.seen(id).has("failed")) {
      ++failures;
      EXPECT_EQ(rig.seen(id).failure, SpawnFailure::resources);
      EXPECT_THAT(rig.seen(id).sentence, HasSubstr("Too many open files"));
    } else {
      ++successes;
    }
  }
  EXPECT_GT(failures, 3);
  EXPECT_GT(successes, 3);
}

TEST_P(StartFailure, IsNeverToldInsideOfTheCall) {
  const InstanceId id = rig_.start(order_of({"./nothing"}));
  EXPECT_THAT(rig_.seen(id).order, IsEmpty());
  EXPECT_TRUE(rig_.until(id, "failed"));
}

}  // namespace
}  // namespace muster::supervisor
