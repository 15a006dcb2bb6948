// What a started process finds around it: nothing of ours.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <set>
#include <sstream>

#include "host_rig.h"
#include "supervisor/spawner.h"

namespace muster::supervisor {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

// "Key:\tvalue" of /proc/PID/status, blanks at the end removed.
std::string status_value(const std::string& status, const std::string& key) {
  std::istringstream lines(status);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(key + ":")) continue;
    const std::size_t begin = line.find_first_not_of(" \t", key.size() + 1);
    return begin == std::string::npos ? "" : line.substr(begin, line.find_last_not_of(" \t") + 1 - begin);
  }
  return "(none)";
}

std::string own_status(const ProcessOrder& like, HostRig& rig) {
  ProcessOrder order = like;
  order.argv = {"cat", "/proc/self/status"};
  const Seen& seen = rig.run(order);
  EXPECT_EQ(seen.sentence, "");
  return seen.out;
}

// All ways to make a child: clone3, clone as on kernels and under filters without it, and through the small shim.
enum class Way { clone3, clone, small_shim };
class CleanStart : public testing::TestWithParam<Way> {
 protected:
  void SetUp() override {
    forbid_clone3(GetParam() == Way::clone);
    if (GetParam() != Way::small_shim) return;
    HostRig::shim = built_small_shim();
    if (HostRig::shim.empty()) GTEST_SKIP() << "this build has no small shim";
  }
  void TearDown() override {
    forbid_clone3(false);
    HostRig::shim.clear();
  }
};
INSTANTIATE_TEST_SUITE_P(By, CleanStart, testing::Values(Way::clone3, Way::clone, Way::small_shim),
                         [](const auto& of) {
                           switch (of.param) {
                             case Way::clone3:
                               return "Clone3";
                             case Way::clone:
                               return "Clone";
                             case Way::small_shim:
                               return "SmallShim";
                           }
                           return "";
                         });

TEST_P(CleanStart, DescriptorsAreTheStandardOnes) {
  // Inherited on purpose if the shim were careless.
  const Fd stray(open("/dev/null", O_RDWR));
  const Fd high(fcntl(stray.get(), F_DUPFD, 200));
  HostRig rig;
  const Seen& seen = rig.run(order_of({"ls", "/proc/self/fd"}));
  EXPECT_EQ(seen.out, "0\n1\n2\n3\n");  // 3 is the folder that ls reads
  const std::string in = rig.run(order_of({"readlink", "/proc/self/fd/0"})).out;
  EXPECT_EQ(in, "/dev/null\n");
  EXPECT_THAT(rig.run(order_of({"readlink", "/proc/self/fd/1"})).out, StartsWith("pipe:["));
  EXPECT_EQ(rig.run(order_of({"cat"})).status.code, 0);  // end of file at once
}

// The locks of volumes: at the end of the numbers that an app can have, in place of nothing else.
TEST_P(CleanStart, KeptDescriptorsComeLast) {
  const Fd stray(open("/dev/null", O_RDWR));
  const Fd high(fcntl(stray.get(), F_DUPFD, 1022));  // inherited if the shim were careless
  const Fd first(open("/dev/zero", O_RDONLY | O_CLOEXEC));
  const Fd second(open("/dev/full", O_RDONLY | O_CLOEXEC));
  HostRig rig;
  ProcessOrder order = order_of({"ls", "/proc/self/fd"});
  order.kept = {first.get(), second.get()};
  order.files_max = 2000;
  EXPECT_EQ(rig.run(order).out, "0\n1\n1022\n1023\n2\n3\n");
  order.files_max = 77;
  EXPECT_EQ(rig.run(order).out, "0\n1\n2\n3\n75\n76\n");
  order.argv = {"readlink", "/proc/self/fd/75", "/proc/self/fd/76"};
  EXPECT_EQ(rig.run(order).out, "/dev/zero\n/dev/full\n");
  for (const int files_max : {4, 5, 6, 8, 12}) {
    order.argv = {"true"};
    order.files_max = files_max;
    order.kept = {first.get()};
    const Seen& seen = rig.run(order);
    EXPECT_EQ(seen.sentence, "") << files_max;
    EXPECT_TRUE(seen.has("started")) << files_max;
  }
  EXPECT_NE(fcntl(first.get(), F_GETFD) & FD_CLOEXEC, 0);  // ours is as it was
}

TEST_P(CleanStart, OutputsBlockAndAreTwoPipes) {
  HostRig rig;
  const Seen& seen =
      rig.run(shell_order("grep flags /proc/self/fdinfo/1; readlink /proc/self/fd/1 /proc/self/fd/2"));
  std::istringstream lines(seen.out);
  std::string word;
  std::string flags;
  std::string out;
  std::string err;
  lines >> word >> flags >> out >> err;
  EXPECT_EQ(std::stoul(flags, nullptr, 8) & static_cast<unsigned>(O_NONBLOCK), 0U);
  EXPECT_NE(out, err);
}

TEST_P(CleanStart, EnvironmentIsTheOrdersAndTheToken) {
  setenv("MUSTER_TEST_LEAK", "1", 1);
  HostRig rig;
  ProcessOrder order = order_of({"/usr/bin/env"});
  order.environment = {"A=1", "B=two words", "MUSTER_INSTANCE=forged", "EMPTY="};
  std::istringstream lines(rig.run(order).out);
  unsetenv("MUSTER_TEST_LEAK");
  std::vector<std::string> found;
  for (std::string line; std::getline(lines, line);) found.push_back(line);
  EXPECT_THAT(found,
              ElementsAre("A=1", "B=two words", "EMPTY=",
                          testing::AllOf(StartsWith("MUSTER_INSTANCE="), testing::Not(HasSubstr("forged")))));
}

// A muster that runs as somebody's replica marks its own with both tokens: the outer tree keeps all of it.
TEST_P(CleanStart, TokenOfAnOuterMusterIsKept) {
  setenv("MUSTER_INSTANCE", "outer-1", 1);
  HostRig rig;
  const std::string value = rig.shell("echo $MUSTER_INSTANCE");
  unsetenv("MUSTER_INSTANCE");
  EXPECT_THAT(value, testing::MatchesRegex("outer-1,stop\\.[0-9]+\\.[0-9]+\\.[0-9]+\\.[0-9a-f]+-[0-9]+\n"));
}

TEST_P(CleanStart, AmbientCapabilitiesAreDropped) {
  constexpr unsigned long net_bind_service = 10;
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  ASSERT_EQ(syscall(SYS_capget, &header, data), 0);
  const auto before = data[0].inheritable;
  data[0].inheritable |= 1U << net_bind_service;
  if (syscall(SYS_capset, &header, data) != 0 ||
      prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, net_bind_service, 0, 0) != 0) {
    GTEST_SKIP() << "this user has no capability to hand on";
  }
  HostRig rig;
  EXPECT_NE(status_value(text_of("/proc/self/status"), "CapAmb"), "0000000000000000");
  const std::string status = own_status(order_of({}), rig);
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  data[0].inheritable = before;
  syscall(SYS_capset, &header, data);
  EXPECT_EQ(status_value(status, "CapAmb"), "0000000000000000");
}

TEST_P(CleanStart, OwnUserNeedsNoPrivilege) {
  const passwd* self = getpwuid(getuid());
  if (self == nullptr) GTEST_SKIP() << "this user has no name";
  HostRig rig;
  ProcessOrder order = order_of({"id", "-u"});
  order.user = self->pw_name;
  EXPECT_EQ(rig.run(order).out, std::to_string(getuid()) + "\n");
}

TEST_P(CleanStart, SignalsAreDefaultAndUnblocked) {
  sigset_t some;
  sigset_t before;
  sigemptyset(&some);
  for (const int number : {SIGTERM, SIGUSR1, SIGCHLD, SIGRTMIN + 3}) sigaddset(&some, number);
  HostRig rig;
  sigprocmask(SIG_BLOCK, &some, &before);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  const std::string status = own_status(order_of({}), rig);
  sigprocmask(SIG_SETMASK, &before, nullptr);
  signal(SIGPIPE, SIG_DFL);
  signal(SIGHUP, SIG_DFL);
  for (const char* key : {"SigBlk", "SigIgn", "SigPnd", "ShdPnd"}) {
    EXPECT_EQ(status_value(status, key), "0000000000000000") << key;
  }
}

TEST_P(CleanStart, LeadsItsOwnSessionWithoutTerminal) {
  HostRig rig;
  const Seen& seen = rig.run(order_of({"cat", "/proc/self/stat"}));
  std::istringstream words(seen.out);
  std::string pid;
  std::string word;
  std::string parent;
  std::string group;
  std::string session;
  std::string tty;
  words >> pid >> word >> word >> parent >> group >> session >> tty;
  EXPECT_EQ(pid, std::to_string(seen.pid));
  EXPECT_EQ(parent, std::to_string(getpid()));
  EXPECT_EQ(group, pid);
  EXPECT_EQ(session, pid);
  EXPECT_EQ(tty, "0");
}

TEST_P(CleanStart, UmaskNiceFolderAndOomScore) {
  const mode_t before = umask(0111);
  HostRig rig;
  ProcessOrder order = shell_order("umask; nice; pwd -P; cat /proc/self/oom_score_adj");
  order.umask = 0027;
  order.nice = 7;
  order.dir = "/proc";
  std::ofstream("/proc/self/oom_score_adj") << 5;
  EXPECT_EQ(rig.run(order).out, "0027\n7\n/proc\n0\n");
  std::ofstream("/proc/self/oom_score_adj") << 0;
  umask(before);
}

TEST_P(CleanStart, LimitsOfFilesAndCore) {
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  const rlimit started{123, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &started), 0);
  HostRig rig;
  // What the daemon does for itself after its start is not for its children.
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(rig.shell("ulimit -Sn"), "123\n");
  EXPECT_EQ(rig.shell("ulimit -Hn"), std::to_string(before.rlim_max) + "\n");
  ProcessOrder order = shell_order("ulimit -Sn; ulimit -Hn; ulimit -Sc; ulimit -Hc");
  order.files_max = 77;
  order.core_bytes_max = 0;
  EXPECT_EQ(rig.run(order).out, "77\n77\n0\n0\n");
}

TEST_P(CleanStart, NoNewPrivsWhenAsked) {
  HostRig rig;
  ProcessOrder order = order_of({});
  EXPECT_EQ(status_value(own_status(order, rig), "NoNewPrivs"), "0");
  order.no_new_privs = true;
  EXPECT_EQ(status_value(own_status(order, rig), "NoNewPrivs"), "1");
}

TEST_P(CleanStart, UserWithItsGroupsAndWithoutCapabilities) {
  if (geteuid() != 0) GTEST_SKIP() << "only root may change the user";
  HostRig rig;
  ProcessOrder order = order_of({});
  order.user = "nobody";
  const group* nogroup = getgrnam("nogroup");
  ASSERT_NE(nogroup, nullptr);
  const std::string gid = std::to_string(nogroup->gr_gid);
  for (const bool looked_up_before : {false, true}) {
    SCOPED_TRACE(looked_up_before);
    const std::string status = own_status(order, rig);
    EXPECT_EQ(status_value(status, "Uid"), "65534\t65534\t65534\t65534");
    EXPECT_EQ(status_value(status, "Gid"), gid + "\t" + gid + "\t" + gid + "\t" + gid);
    EXPECT_EQ(status_value(status, "Groups"), gid);
    for (const char* key : {"CapPrm", "CapEff", "CapAmb"}) {
      EXPECT_EQ(status_value(status, key), "0000000000000000") << key;
    }
  }
  order.group = "daemon";
  const group* daemon = getgrnam("daemon");
  ASSERT_NE(daemon, nullptr);
  const std::string other = std::to_string(daemon->gr_gid);
  EXPECT_THAT(status_value(own_status(order, rig), "Gid"), StartsWith(other + "\t" + other));
}

// PATH is the order's, not ours; the first that may be run wins; a relative one counts from the new folder.
TEST_P(CleanStart, ProgramIsFoundInThePathOfTheOrder) {
  HostRig rig;
  ProcessOrder order = order_of({"true"});
  order.environment = {"PATH=/nonexistent:/etc/passwd:/usr/bin"};
  EXPECT_EQ(rig.run(order).status.code, 0);
  order.environment = {"PATH=/nonexistent"};
  EXPECT_EQ(rig.run(order).sentence, "exec true: No such file or directory");
  order.environment = {};
  EXPECT_EQ(rig.run(order).status.code, 0);
  order.environment = {"PATH=."};
  order.dir = "/usr/bin";
  EXPECT_EQ(rig.run(order).status.code, 0);
}

}  // namespace
}  // namespace muster::supervisor
