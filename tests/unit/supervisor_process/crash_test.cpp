// kill -9 of the one who started them: main processes die at once, all others with the next host.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <filesystem>
#include <thread>

#include "host_rig.h"
#include "supervisor/cgroup_tree.h"
#include "supervisor/proc_files.h"

namespace muster::supervisor {
namespace {

using testing::ElementsAre;
using testing::SizeIs;

class Crash : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (GetParam() && !cgroups_possible()) GTEST_SKIP() << "no cgroup2 group can be made here";
  }
  static std::string kind() { return GetParam() ? "cgroup" : "token"; }
  static ProcessHostOptions options() { return GetParam() ? ProcessHostOptions{} : by_token(); }
};
INSTANTIATE_TEST_SUITE_P(Kind, Crash, testing::Bool(),
                         [](const auto& of) { return of.param ? "Cgroup" : "Token"; });

TEST_P(Crash, MainProcessDiesWithItsHost) {
  const Victim victim(kind(), "echo $$; exec sleep 1000", 1);
  ASSERT_THAT(victim.printed, SizeIs(1));
  EXPECT_TRUE(alive(victim.printed[0]));
  victim.kill_it();
  EXPECT_TRUE(dies(victim.printed[0]));
}

TEST_P(Crash, UserChangeDoesNotLoseTheTie) {
  if (geteuid() != 0) GTEST_SKIP() << "only root may change the user";
  const Victim victim(kind(), "id -u; echo $$; exec sleep 1000", 2, "nobody");
  ASSERT_THAT(victim.printed, ElementsAre(65534, testing::Gt(1)));
  victim.kill_it();
  EXPECT_TRUE(dies(victim.printed[1]));
}

TEST_P(Crash, NextHostEndsWhatWasLeft) {
  const Victim victim(
      kind(), "(setsid sh -c 'trap \"\" TERM; echo $$; exec sleep 1000' &); echo $$; exec sleep 1000", 2);
  ASSERT_THAT(victim.printed, SizeIs(2));
  victim.kill_it();
  int left = 0;
  for (const int pid : victim.printed) left += alive(pid) ? 1 : 0;
  EXPECT_GE(left, 1);  // the one that went its own way
  {
    const HostRig next(options());
    for (const int pid : victim.printed) EXPECT_TRUE(dies(pid)) << pid;
  }
  const auto parents = own_cgroup_folders();
  ASSERT_TRUE(parents.ok());
  for (const std::string& folder : parents.value()) {
    EXPECT_FALSE(std::filesystem::exists(folder + "/muster-" + std::to_string(victim.pid)));
  }
}

TEST_P(Crash, LivingHostsAreLeftAlone) {
  const Victim victim(kind(), "setsid sh -c 'echo $$; exec sleep 1000' & echo $$; exec sleep 1000", 2);
  ASSERT_THAT(victim.printed, SizeIs(2));
  {
    HostRig next(options());
    next.run(order_of({"true"}));
  }
  for (const int pid : victim.printed) EXPECT_TRUE(alive(pid)) << pid;
  victim.kill_it();
  const HostRig last(options());
  for (const int pid : victim.printed) EXPECT_TRUE(dies(pid)) << pid;
}

}  // namespace
}  // namespace muster::supervisor
