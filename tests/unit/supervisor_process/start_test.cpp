// Starting and ending: what the hooks say, in which order, with which words.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

#include "host_rig.h"

namespace muster::supervisor {
namespace {

using testing::ElementsAre;

class Start : public testing::TestWithParam<bool> {
 protected:
  static ProcessHostOptions options() { return GetParam() ? ProcessHostOptions{} : by_token(); }
  void SetUp() override {
    if (GetParam() && !cgroups_possible()) GTEST_SKIP() << "no cgroup2 group can be made here";
  }
};
INSTANTIATE_TEST_SUITE_P(Kind, Start, testing::Bool(),
                         [](const auto& of) { return of.param ? "Cgroup" : "Token"; });

TEST_P(Start, TellsTheWholeLifeInOrder) {
  HostRig rig(options());
  const Seen& seen = rig.run(shell_order("echo hello; echo world >&2; exit 3"));
  EXPECT_THAT(seen.order, ElementsAre("started", "exited", "gone"));
  EXPECT_GT(seen.pid, 1);
  EXPECT_EQ(seen.status.code, 3);
  EXPECT_EQ(seen.out, "hello\n");
  EXPECT_EQ(seen.err, "world\n");
  EXPECT_EQ(rig.host().running(), 0U);
}

// All is prepared but for the program: that begins when it may.
TEST_P(Start, ABeginThatIsDueLaterIsWaitedFor) {
  HostRig rig(options());
  ProcessOrder order = order_of({"true"});
  const Instant due = std::chrono::steady_clock::now() + Millis{40};
  order.not_before = due;
  const InstanceId id = rig.start(order);
  ASSERT_TRUE(rig.until(id, "started"));
  EXPECT_GE(std::chrono::steady_clock::now(), due);
  ASSERT_TRUE(rig.until(id, "gone"));
  EXPECT_EQ(rig.seen(id).status.code, 0);
}

TEST_P(Start, FailedExecLeavesNothingAndSaysWhy) {
  HostRig rig(options());
  ProcessOrder order = order_of({"./db"});
  const Seen& seen = rig.run(order);
  EXPECT_THAT(seen.order, ElementsAre("failed"));
  EXPECT_EQ(seen.failure, SpawnFailure::exec);
  EXPECT_EQ(seen.sentence, "exec ./db: No such file or directory");
  EXPECT_EQ(rig.host().running(), 0U);
}

TEST_P(Start, SignalEndsIt) {
  HostRig rig(options());
  const InstanceId id = rig.start(order_of({"sleep", "1000"}));
  ASSERT_TRUE(rig.until(id, "started"));
  rig.host().signal(id, SIGTERM);
  ASSERT_TRUE(rig.until(id, "gone"));
  EXPECT_EQ(rig.seen(id).status.signal, SIGTERM);
}

}  // namespace
}  // namespace muster::supervisor
