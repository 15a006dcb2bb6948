// Commands beside a replica: their answer, their bounds, their end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <csignal>
#include <cstdio>

#include "base/limits.h"
#include "host_rig.h"
#include "supervisor/proc_files.h"

namespace muster::supervisor {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class Command : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (GetParam() && !cgroups_possible()) GTEST_SKIP() << "no cgroup2 group can be made here";
    rig_ = std::make_unique<HostRig>(GetParam() ? ProcessHostOptions{} : by_token());
    id_ = rig_->start(order_of({"sleep", "1000"}));
    ASSERT_TRUE(rig_->until(id_, "started"));
  }

  std::unique_ptr<HostRig> rig_;
  InstanceId id_{};
};
INSTANTIATE_TEST_SUITE_P(Kind, Command, testing::Bool(),
                         [](const auto& of) { return of.param ? "Cgroup" : "Token"; });

TEST_P(Command, AnswersWithStatusAndBothOutputs) {
  const CommandResult result = rig_->command(id_, shell_order("echo out; echo err >&2; exit 2"));
  EXPECT_TRUE(result.started);
  EXPECT_FALSE(result.timed_out);
  ASSERT_TRUE(result.status);
  EXPECT_EQ(result.status->code, 2);
  EXPECT_EQ(result.sentence, "exited with status 2");
  EXPECT_EQ(result.output, "out\nerr\n");
}

TEST_P(Command, SaysWhyItCouldNotStart) {
  const CommandResult result = rig_->command(id_, order_of({"./x"}));
  EXPECT_FALSE(result.started);
  EXPECT_FALSE(result.status);
  EXPECT_EQ(result.sentence, "exec ./x: No such file or directory");
}

TEST_P(Command, KeepsTheFirstBytesAndReadsTheRest) {
  const CommandResult result =
      rig_->command(id_, shell_order("head -c 3000000 /dev/zero | tr '\\0' x; echo end"));
  ASSERT_TRUE(result.status);
  EXPECT_EQ(result.status->code, 0);
  EXPECT_THAT(result.output, SizeIs(limits::probe_output_bytes_max));
}

TEST_P(Command, EndsWithItsTreeAtTheTimeout) {
  const CommandResult result = rig_->command(
      id_, shell_order("trap '' TERM; (setsid sh -c 'echo $$; exec sleep 1000' &); sleep 1000"), Millis(700));
  EXPECT_TRUE(result.timed_out);
  EXPECT_TRUE(result.started);
  EXPECT_FALSE(result.status);
  EXPECT_EQ(result.sentence, "no end within 0.7 s");
  const std::vector<int> grandchild = parse_pids(result.output);
  ASSERT_THAT(grandchild, SizeIs(1));
  EXPECT_TRUE(rig_->until([&] { return !alive(grandchild[0]); }));
  EXPECT_TRUE(alive(rig_->seen(id_).pid));
}

TEST_P(Command, TakesWhatItLeftRunningWithIt) {
  const CommandResult result =
      rig_->command(id_, shell_order("setsid sh -c 'echo $$; exec sleep 1000' & sleep 0.1"));
  ASSERT_TRUE(result.status);
  const std::vector<int> left = parse_pids(result.output);
  ASSERT_THAT(left, SizeIs(1));
  EXPECT_TRUE(rig_->until([&] { return !alive(left[0]); }));
}

TEST_P(Command, IsNoneOfTheReplicas) {
  const std::string file = testing::TempDir() + "muster-command-" + std::to_string(getpid());
  std::string sentence;
  rig_->host().run_command(id_, shell_order("echo $$ > " + file + "; exec sleep 1000"), Millis(20000),
                           [&](CommandResult got) { sentence = got.sentence; });
  ASSERT_TRUE(rig_->until([&] { return text_of(file).ends_with('\n'); }));
  const int pid = parse_pids(text_of(file)).at(0);
  std::remove(file.c_str());
  EXPECT_TRUE(alive(pid));
  EXPECT_FALSE(rig_->host().owns(id_, pid));
  EXPECT_EQ(rig_->host().instance_of(pid), std::nullopt);
  EXPECT_THAT(rig_->host().pids_of(id_), testing::ElementsAre(rig_->seen(id_).pid));
  rig_->host().kill_tree(id_);
  ASSERT_TRUE(rig_->until(id_, "gone"));
  ASSERT_TRUE(rig_->until([&] { return !sentence.empty(); }));  // it ends with the replica, and says so
  EXPECT_EQ(sentence, "killed by SIGKILL");
  EXPECT_FALSE(alive(pid));
}

TEST_P(Command, CancelledOnesSayNothing) {
  bool called = false;
  rig_->host().run_command(id_, order_of({"sleep", "1000"}), Millis(20000),
                           [&](CommandResult) { called = true; });
  rig_->host().cancel_commands(id_);
  ASSERT_TRUE(rig_->until([&] { return rig_->host().pids_of(id_).size() == 1 && own_zombies().empty(); }));
  rig_->host().kill_tree(id_);
  ASSERT_TRUE(rig_->until(id_, "gone"));
  EXPECT_FALSE(called);
}

TEST_P(Command, IsRefusedWithoutAReplicaAndWithoutEnd) {
  EXPECT_EQ(rig_->command(InstanceId{77}, order_of({"true"})).sentence, "the replica has no process");
  int answers = 0;
  std::vector<std::string> refused;
  for (int i = 0; i < 20; ++i) {
    rig_->host().run_command(id_, order_of({"sleep", "1000"}), Millis(20000), [&](CommandResult result) {
      ++answers;
      if (!result.started) refused.push_back(result.sentence);
    });
  }
  ASSERT_TRUE(rig_->until([&] { return answers == 4; }));
  EXPECT_THAT(refused, testing::Each(std::string("16 earlier commands have not ended")));
  rig_->host().cancel_commands(id_);
}

}  // namespace
}  // namespace muster::supervisor
