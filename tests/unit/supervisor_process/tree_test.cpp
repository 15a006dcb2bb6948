// Everything that a process ever forked: found, counted, and ended.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "host_rig.h"
#include "supervisor/cgroup_tree.h"
#include "supervisor/proc_scan.h"

namespace muster::supervisor {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::IsSupersetOf;
using testing::Not;
using testing::SizeIs;

// Prints the numbers of three processes that do all they can to stay: own session, ignored TERM, dead parents.
constexpr char stubborn[] =
    "trap '' TERM HUP INT\n"
    "(setsid sh -c 'trap \"\" TERM; (sh -c \"echo \\$\\$; exec sleep 1000\" &) ' &)\n"
    "sh -c 'trap \"\" TERM; echo $$; exec sleep 1000' &\n"
    "setsid sh -c 'echo $$; exec sleep 1000' &\n";

std::vector<int> numbers(const std::string& text) {
  return parse_pids(text);
}

class Tree : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (GetParam() && !cgroups_possible()) GTEST_SKIP() << "no cgroup2 group can be made here";
    rig_ = std::make_unique<HostRig>(GetParam() ? ProcessHostOptions{} : by_token());
  }
  // Starts the script and waits for `count` numbers from it.
  InstanceId start(const std::string& script, std::size_t count) {
    const InstanceId id = rig_->start(shell_order(script));
    EXPECT_TRUE(rig_->until([&] { return numbers(rig_->seen(id).out).size() >= count; }));
    return id;
  }
  std::vector<int> printed(InstanceId id) { return numbers(rig_->seen(id).out); }
  void expect_all_dead(const std::vector<int>& pids) {
    // One that is ending has no environment any more and is no zombie yet.
    for (const int pid : pids) EXPECT_TRUE(dies(pid)) << pid;
  }

  std::unique_ptr<HostRig> rig_;
};
INSTANTIATE_TEST_SUITE_P(Kind, Tree, testing::Bool(),
                         [](const auto& of) { return of.param ? "Cgroup" : "Token"; });

TEST_P(Tree, KillLeavesNothing) {
  const InstanceId id = start(std::string(stubborn) + "wait", 3);
  const std::vector<int> pids = printed(id);
  for (const int pid : pids) EXPECT_TRUE(rig_->host().owns(id, pid)) << pid;
  rig_->host().kill_tree(id);
  ASSERT_TRUE(rig_->until(id, "gone"));
  expect_all_dead(pids);
  EXPECT_THAT(rig_->seen(id).order, ElementsAre("started", "exited", "gone"));
  EXPECT_EQ(rig_->seen(id).status.signal, SIGKILL);
}

TEST_P(Tree, OutlivesItsMainProcessUntilKilled) {
  const InstanceId id = start(std::string(stubborn) + "exit 5", 3);
  ASSERT_TRUE(rig_->until(id, "exited"));
  const std::vector<int> pids = printed(id);
  EXPECT_EQ(rig_->seen(id).status.code, 5);
  EXPECT_FALSE(rig_->seen(id).has("gone"));
  EXPECT_EQ(rig_->host().running(), 1U);
  for (const int pid : pids) EXPECT_TRUE(rig_->host().owns(id, pid)) << pid;
  EXPECT_THAT(rig_->host().pids_of(id), IsSupersetOf(pids));
  rig_->host().kill_tree(id);
  rig_->host().kill_tree(id);  // asking twice changes nothing
  ASSERT_TRUE(rig_->until(id, "gone"));
  expect_all_dead(pids);
  EXPECT_THAT(rig_->host().pids_of(id), IsEmpty());
}

TEST_P(Tree, EndsByItselfWithItsLastProcess) {
  const InstanceId id = start("setsid sh -c 'echo $$; exec sleep 1000' & exit 0", 1);
  ASSERT_TRUE(rig_->until(id, "exited"));
  EXPECT_FALSE(rig_->seen(id).has("gone"));
  ASSERT_EQ(kill(printed(id)[0], SIGKILL), 0);
  EXPECT_TRUE(rig_->until(id, "gone"));
  EXPECT_THAT(own_zombies(), IsEmpty());
}

TEST_P(Tree, ForkingStormIsEnded) {
  const InstanceId id =
      start("echo $$; while :; do (while :; do /bin/true & done) & sleep 0.05; wait; done", 1);
  rig_->host().kill_tree(id);
  ASSERT_TRUE(rig_->until(id, "gone"));
}

TEST_P(Tree, TwoTreesAreTwo) {
  const InstanceId first = start("setsid sh -c 'echo $$; exec sleep 1000' & wait", 1);
  const InstanceId second = start("setsid sh -c 'echo $$; exec sleep 1000' & wait", 1);
  const int one = printed(first)[0];
  const int two = printed(second)[0];
  EXPECT_TRUE(rig_->host().owns(first, one));
  EXPECT_FALSE(rig_->host().owns(first, two));
  EXPECT_EQ(rig_->host().instance_of(one), first);
  EXPECT_EQ(rig_->host().instance_of(two), second);
  EXPECT_EQ(rig_->host().instance_of(rig_->seen(second).pid), second);
  EXPECT_EQ(rig_->host().instance_of(getpid()), std::nullopt);
  EXPECT_EQ(rig_->host().instance_of(1), std::nullopt);
  EXPECT_FALSE(rig_->host().owns(first, getpid()));
  EXPECT_FALSE(rig_->host().owns(first, 0));
  rig_->host().kill_tree(first);
  ASSERT_TRUE(rig_->until(first, "gone"));
  EXPECT_TRUE(alive(two));
  EXPECT_EQ(rig_->host().running(), 1U);
}

TEST_P(Tree, UsageCountsTheWholeTree) {
  const InstanceId id =
      start("(i=0; while [ $i -lt 150000 ]; do i=$((i+1)); done; echo $$; exec sleep 1000) & wait", 1);
  ASSERT_TRUE(rig_->until([&] { return rig_->host().usage(id)->cpu > Millis(20); }));
  const Usage usage = *rig_->host().usage(id);
  EXPECT_GT(usage.memory_bytes, 100'000U);
  EXPECT_LT(usage.memory_bytes, 100'000'000U);
  EXPECT_FALSE(rig_->host().usage(InstanceId{999}));
}

// Who is forked after the first reading counts, too, whatever becomes of its parents; what belongs to nobody does not.
TEST_P(Tree, ProcessorTimeCountsWhoCameLater) {
  const auto order = shell_order(
      "sleep 0.3; (setsid sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; exec sleep 1000' &) & "
      "exec sleep 1000");
  const InstanceId id = rig_->start(order);
  const InstanceId idle = rig_->start(shell_order("exec sleep 1000"));
  ASSERT_TRUE(rig_->until(id, "started"));
  ASSERT_TRUE(rig_->until(idle, "started"));
  const Nanos first = *rig_->host().cpu_used(id);
  const Nanos first_of_idle = *rig_->host().cpu_used(idle);
  ASSERT_TRUE(rig_->until([&] { return *rig_->host().cpu_used(id) > first + Millis(40); }));
  EXPECT_LT(*rig_->host().cpu_used(idle), first_of_idle + Millis(40));
  EXPECT_FALSE(rig_->host().cpu_used(InstanceId{999}));
}

TEST_P(Tree, AdoptedOrphansAreReaped) {
  const InstanceId id = start("for i in 1 2 3 4 5 6 7 8; do (sh -c 'echo $$' &); done; exec sleep 1000", 8);
  ASSERT_TRUE(rig_->until([] { return own_zombies().empty(); }));
  EXPECT_TRUE(alive(rig_->seen(id).pid));
  // Nothing is due: with a replica running the loop would sleep until something happens.
  EXPECT_EQ(uv_backend_timeout(rig_->loop()), -1);
}

TEST_P(Tree, ManyQuickOnesLeaveNothing) {
  rig_->run(order_of({"true"}));  // what is made once is made
  const std::size_t before = open_descriptors();
  const int count = GetParam() ? 300 : 120;  // without cgroups each end is a walk over /proc
  std::vector<InstanceId> ids;
  for (int i = 0; i < count; ++i) {
    ids.push_back(rig_->start(
        order_of(i % 3 == 0 ? std::vector<std::string>{"./nothing"} : std::vector<std::string>{"true"})));
    if (i % 20 < 19) continue;
    ASSERT_TRUE(rig_->until([&] { return rig_->host().running() == 0; }));
  }
  ASSERT_TRUE(rig_->until([&] { return rig_->host().running() == 0; }));
  for (const InstanceId id : ids) {
    EXPECT_TRUE(rig_->seen(id).has(raw(ids[0]) % 3 == raw(id) % 3 ? "failed" : "gone"));
    rig_->seen(id).out_pipe.reset();
    rig_->seen(id).err_pipe.reset();
  }
  EXPECT_EQ(open_descriptors(), before);
  EXPECT_THAT(own_zombies(), IsEmpty());
  if (GetParam()) {
    const auto parents = own_cgroup_folders();
    ASSERT_TRUE(parents.ok());
    for (const std::string& folder : parents.value()) {
      const std::string mine = folder + "/muster-" + std::to_string(getpid());
      if (!std::filesystem::exists(mine)) continue;
      for (const auto& entry : std::filesystem::directory_iterator(mine)) {
        EXPECT_FALSE(entry.is_directory()) << entry.path();
      }
    }
  }
}

// The planner answers inside of a hook: it kills, starts the next, runs a command.
TEST_P(Tree, HooksMayCallBack) {
  int rounds = 0;
  rig_->on_hook = [&](InstanceId id, const std::string& what) {
    if (what == "started") {
      rig_->host().run_command(id, order_of({"true"}), Millis(20000), [](const CommandResult&) {});
    }
    if (what == "exited") rig_->host().kill_tree(id);
    if ((what == "gone" || what == "failed") && ++rounds < 6) {
      rig_->host().kill_tree(id);
      rig_->host().cancel_commands(id);
      rig_->start(rounds % 2 == 0 ? order_of({"./nothing"}) : shell_order("setsid sleep 1000 & exit 1"));
    }
  };
  rig_->start(shell_order("setsid sleep 1000 & exit 1"));
  ASSERT_TRUE(rig_->until([&] { return rounds == 6 && rig_->host().running() == 0; }));
  EXPECT_TRUE(rig_->until([&] { return own_zombies().empty(); }));
}

// A kill while no descriptor is free is carried out once there is one; nothing is called gone before it is.
TEST_P(Tree, KillOutlastsAShortageOfDescriptors) {
  const InstanceId id = start("(setsid sh -c 'echo $$; exec sleep 1000' &); exec sleep 1000", 1);
  const int left = printed(id).at(0);
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  const rlimit none{1, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  rig_->host().kill_tree(id);
  const bool exited = rig_->until(id, "exited");
  // A few turns more: what was left must not be given up.
  int turns = 0;
  rig_->until([&] { return ++turns > 10; });
  const bool gone_early = rig_->seen(id).has("gone");
  setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_TRUE(exited);
  EXPECT_FALSE(gone_early);
  ASSERT_TRUE(rig_->until(id, "gone"));
  EXPECT_FALSE(alive(left));
}

// Whether one that is to be taken over lives cannot be told without descriptors: it is not called gone.
TEST_P(Tree, AShortageOfDescriptorsIsNoEnd) {
  const InstanceId id = start("echo $$; exec sleep 1000", 1);
  const int pid = printed(id).at(0);
  HostRig next(GetParam() ? ProcessHostOptions{} : by_token());
  const ReplicaId replica{"app", 0};
  const TreeName name = rig_->host().name_of(id, replica);
  const std::uint64_t start_ticks = read_process(pid)->start_ticks;
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  const rlimit none{1, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const InstanceId taken{77};
  next.host().adopt(taken, AdoptOrder{.replica = replica,
                                      .pid = pid,
                                      .start_ticks = start_ticks,
                                      .cgroup = name.cgroup,
                                      .token = name.token});
  int turns = 0;
  next.until([&] { return ++turns > 10; });
  const std::vector<std::string> meanwhile = next.seen(taken).order;
  setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_THAT(meanwhile, IsEmpty());
  ASSERT_TRUE(next.until([&] {
    next.host().signal(taken, SIGTERM);  // nothing, until it is found
    return next.seen(taken).has("exited");
  }));
  ASSERT_TRUE(rig_->until(id, "gone"));
  EXPECT_TRUE(next.until(taken, "gone"));
}

TEST_P(Tree, SignalToAnEndedOneIsNothing) {
  const InstanceId id = rig_->start(shell_order("exit 0"));
  ASSERT_TRUE(rig_->until(id, "gone"));
  rig_->host().signal(id, SIGTERM);
  rig_->host().kill_tree(id);
  rig_->host().cancel_commands(id);
  EXPECT_THAT(rig_->seen(id).order, ElementsAre("started", "exited", "gone"));
}

// A kill that comes while the shim is still at work is no exception.
TEST_P(Tree, KilledWhileItStarts) {
  for (int i = 0; i < 20; ++i) {
    const InstanceId id = rig_->start(order_of({"sleep", "1000"}));
    rig_->host().kill_tree(id);
    ASSERT_TRUE(rig_->until([&] { return rig_->seen(id).has("failed") || rig_->seen(id).has("gone"); }));
  }
  EXPECT_EQ(rig_->host().running(), 0U);
}

TEST_P(Tree, SignalWhileItStartsEndsTheApp) {
  const InstanceId id = rig_->start(order_of({"sleep", "1000"}));
  rig_->host().signal(id, SIGTERM);
  ASSERT_TRUE(rig_->until(id, "gone"));
  EXPECT_THAT(rig_->seen(id).order, ElementsAre("started", "exited", "gone"));
  EXPECT_EQ(rig_->seen(id).status.signal, SIGTERM);
}

TEST_P(Tree, CoreAndSignalAreTold) {
  ProcessOrder order = shell_order("kill -SEGV $$");
  order.core_bytes_max = 0;
  const Seen& seen = rig_->run(order);
  EXPECT_EQ(seen.status.signal, SIGSEGV);
  EXPECT_FALSE(seen.status.code);
  EXPECT_FALSE(seen.status.oom);
}

// A shortage at the start costs nothing for long: what is started later has its group.
TEST(Containment, CgroupsAreHadOnceDescriptorsAreThere) {
  if (!cgroups_possible()) GTEST_SKIP() << "no cgroup2 group can be made here";
  HostRig rig(by_token());
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  const rlimit none{1, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  ProcessHost host(rig.loop(), {}, {});
  const std::string at_first = host.containment();
  const bool too_early = host.regain_cgroups();
  setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_THAT(at_first, testing::EndsWith("Too many open files)"));
  EXPECT_FALSE(too_early);
  EXPECT_THAT(host.life().cgroups, IsEmpty());
  EXPECT_TRUE(host.regain_cgroups());
  EXPECT_EQ(host.containment(), "cgroup");
  EXPECT_THAT(host.life().cgroups, testing::SizeIs(1));
  EXPECT_FALSE(host.regain_cgroups()) << "nothing has changed since";
}

TEST(Containment, SaysWhatItIs) {
  HostRig none(by_token());
  EXPECT_THAT(none.host().containment(), testing::StartsWith("session+subreaper+token ("));
  ProcessHostOptions bad;
  bad.cgroup_parent = "/nonexistent";
  HostRig other(bad);
  EXPECT_EQ(other.host().containment(), "session+subreaper+token (mkdir /nonexistent/muster-" +
                                            std::to_string(getpid()) + ": No such file or directory)");
}

}  // namespace
}  // namespace muster::supervisor
