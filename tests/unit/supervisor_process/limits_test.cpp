// Controllers and limits on a folder that looks like a cgroup2 mount, and limits that are watched on real processes.
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "host_rig.h"
#include "supervisor/cgroup_controllers.h"
#include "supervisor/limits_keeper.h"
#include "supervisor/proc_scan.h"
#include "support/temp_folder.h"

namespace muster::supervisor {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing_support::TempFolder;

constexpr Controllers memory_and_pids{.memory = true, .cpu = false, .pids = true};
constexpr Controllers all{.memory = true, .cpu = true, .pids = true};

// Files that are written into keep the text; nothing else of the kernel is there.
class FakeGroups {
 public:
  explicit FakeGroups(const std::string& controllers = "cpuset cpu io memory pids\n") {
    make("", controllers);
    write("/cgroup.procs", std::to_string(getpid()) + "\n");
    make("/muster.daemon", "");
  }
  void make(const std::string& group, const std::string& controllers) const {
    fs::create_directories(at(group));
    write(group + "/cgroup.controllers", controllers);
    for (const char* file : {"cgroup.subtree_control", "cgroup.procs", "cgroup.type"})
      write(group + "/" + file, "");
  }
  void write(const std::string& file, const std::string& text) const { std::ofstream(at(file)) << text; }
  [[nodiscard]] std::string read(const std::string& file) const { return text_of(at(file)); }
  [[nodiscard]] std::string at(const std::string& path) const { return folder_.path() + path; }
  [[nodiscard]] const std::string& root() const { return folder_.path(); }

 private:
  TempFolder folder_;
};

TEST(Controllers, TheDaemonMakesRoomForThem) {
  const FakeGroups groups;
  const ControllerReport report = provide_controllers(groups.root(), memory_and_pids);
  EXPECT_EQ(report.usable, memory_and_pids);
  EXPECT_EQ(groups.read("/cgroup.subtree_control"), "+memory +pids");
  EXPECT_EQ(groups.read("/muster.daemon/cgroup.procs"), std::to_string(getpid()));
}

TEST(Controllers, AreNotSwitchedOnTwice) {
  const FakeGroups groups;
  groups.write("/cgroup.subtree_control", "memory pids\n");
  EXPECT_EQ(provide_controllers(groups.root(), memory_and_pids).usable, memory_and_pids);
  EXPECT_EQ(groups.read("/cgroup.subtree_control"), "memory pids\n");
  EXPECT_EQ(groups.read("/muster.daemon/cgroup.procs"), "");
  EXPECT_EQ(provide_controllers(groups.root(), all).usable, all);
  EXPECT_TRUE(groups.read("/cgroup.subtree_control").starts_with("+cpu"));
}

TEST(Controllers, WhatTheGroupDoesNotHaveIsNamed) {
  const FakeGroups groups("hugetlb pids\n");
  const ControllerReport report = provide_controllers(groups.root(), all);
  EXPECT_EQ(report.usable, (Controllers{.memory = false, .cpu = false, .pids = true}));
  EXPECT_EQ(report.why_not(LimitKind::memory), "no memory controller");
  EXPECT_EQ(report.why_not(LimitKind::cpu), "no cpu controller");
  EXPECT_EQ(report.why_not(LimitKind::pids), "");
}

TEST(Controllers, NobodyElseIsMoved) {
  const FakeGroups groups;
  // Whose parent is not this program.
  FILE* shell = popen("sleep 1000 >/dev/null & echo $!; wait", "r");
  ASSERT_NE(shell, nullptr);
  int pid = 0;
  ASSERT_EQ(fscanf(shell, "%d", &pid), 1);
  const std::string text = std::to_string(pid);
  groups.write("/cgroup.procs", std::to_string(getpid()) + "\n" + text + "\n");
  const ControllerReport report = provide_controllers(groups.root(), memory_and_pids);
  EXPECT_TRUE(report.usable.none());
  EXPECT_THAT(report.why_not(LimitKind::memory), HasSubstr("other processes too (pid " + text));
  EXPECT_EQ(groups.read("/muster.daemon/cgroup.procs"), "");
  EXPECT_EQ(groups.read("/cgroup.subtree_control"), "");
  kill(pid, SIGKILL);
  pclose(shell);
}

TEST(Controllers, LookingChangesNothing) {
  const FakeGroups groups;
  EXPECT_EQ(find_controllers(groups.root()).usable, all);
  EXPECT_EQ(groups.read("/cgroup.subtree_control"), "");
  EXPECT_EQ(groups.read("/muster.daemon/cgroup.procs"), "");
}

TEST(Controllers, GoOnToTheGroupsInAGroupAsFarAsItHasThem) {
  const FakeGroups groups;
  groups.make("/muster-1", "memory\n");
  EXPECT_EQ(hand_down(groups.at("/muster-1"), memory_and_pids),
            (Controllers{.memory = true, .cpu = false, .pids = false}));
  EXPECT_EQ(groups.read("/muster-1/cgroup.subtree_control"), "+memory");
}

TEST(Controllers, AreWithdrawnFromBelow) {
  const FakeGroups groups;
  groups.write("/cgroup.subtree_control", "memory pids\n");
  groups.make("/muster-1", "memory pids\n");
  groups.write("/muster-1/cgroup.subtree_control", "memory\n");
  groups.make("/muster-1/web-0-1", "memory\n");
  withdraw_controllers(groups.root());
  EXPECT_THAT(groups.read("/cgroup.subtree_control"), HasSubstr("-memory -pi"));
  EXPECT_THAT(groups.read("/muster-1/cgroup.subtree_control"), HasSubstr("-memory"));
  EXPECT_EQ(groups.read("/muster-1/web-0-1/cgroup.subtree_control"), "");
}

TEST(Controllers, TheLeafIsNoGroupOfItsOwn) {
  EXPECT_EQ(without_leaf("/sys/fs/cgroup/system.slice/muster.service/muster.daemon"),
            "/sys/fs/cgroup/system.slice/muster.service");
  EXPECT_EQ(without_leaf("/sys/fs/cgroup/a.muster.daemon"), "/sys/fs/cgroup/a.muster.daemon");
  EXPECT_EQ(without_leaf("/muster.daemon"), "");
}

// A tree that has a group, or none, and no processes but those that it is told.
class FakeTree final : public ProcessTree {
 public:
  std::string folder;
  Controllers active;
  Usage used;
  std::vector<int> members;
  std::uint64_t counted = 0;
  [[nodiscard]] std::string cgroup_folder() const override { return folder; }
  void began(int /*pid*/) override {}
  void kill() override {}
  bool main_ended() override { return true; }
  [[nodiscard]] bool contains(int /*pid*/) const override { return false; }
  [[nodiscard]] bool has_lost(int /*pid*/) const override { return false; }
  [[nodiscard]] std::vector<int> pids() const override { return members; }
  [[nodiscard]] Usage usage() const override { return used; }
  [[nodiscard]] Nanos cpu_used() const override { return used.cpu; }
  [[nodiscard]] std::uint64_t tasks() const override { return counted; }
  [[nodiscard]] Controllers controllers() const override { return active; }
  [[nodiscard]] Oom oom() const override { return {}; }
};

LimitOrder order_with(std::uint64_t memory, std::uint64_t pids) {
  LimitOrder order;
  order.limits.memory = memory;
  order.limits.pids = pids;
  return order;
}

TEST(LimitsKeeper, WritesBeforeTheFirstProcessAndLiftsLater) {
  const TempFolder group;
  for (const char* file : {"memory.max", "memory.swap.max", "memory.oom.group", "pids.max"})
    std::ofstream(group.path() + "/" + file) << "";
  FakeTree tree;
  tree.folder = group.path();
  tree.active = memory_and_pids;
  LimitsKeeper keeper;
  keeper.keep(order_with(64U << 20U, 9), tree, {}, true);
  EXPECT_EQ(text_of(group.path() + "/memory.max"), "67108864");
  EXPECT_EQ(text_of(group.path() + "/memory.swap.max"), "0");
  EXPECT_EQ(text_of(group.path() + "/memory.oom.group"), "1");
  EXPECT_EQ(text_of(group.path() + "/pids.max"), "9");
  EXPECT_THAT(keeper.take_problems(), ::testing::IsEmpty());
  EXPECT_EQ(keeper.processes_max(), std::nullopt);
  keeper.keep({}, tree, {}, false);
  EXPECT_EQ(text_of(group.path() + "/pids.max"), "max");
  EXPECT_TRUE(keeper.states().empty());
}

TEST(LimitsKeeper, WhatIsRefusedIsWatchedAndTold) {
  const TempFolder group;
  std::ofstream(group.path() + "/pids.max") << "";
  FakeTree tree;
  tree.folder = group.path();
  tree.active = memory_and_pids;
  LimitsKeeper keeper;
  keeper.keep(order_with(64U << 20U, 9), tree, {}, true);
  const auto problems = keeper.take_problems();
  ASSERT_EQ(problems.size(), 1U);
  EXPECT_THAT(problems[0], HasSubstr("limits.memory = 64MiB is watched: the kernel refuses it"));
  EXPECT_EQ(enforcer_text(keeper.states()[0]), "watched");
  EXPECT_EQ(enforcer_text(keeper.states()[1]), "cgroup");
  EXPECT_THAT(keeper.take_problems(), ::testing::IsEmpty());
}

TEST(LimitsKeeper, LooksOnlyAtWhatIsWatched) {
  FakeTree tree;
  LimitsKeeper keeper;
  keeper.keep(order_with(64U << 20U, 9), tree, {}, true);
  tree.counted = 9;
  tree.used.memory_bytes = 64U << 20U;
  EXPECT_FALSE(keeper.look(tree));
  tree.counted = 10;
  ASSERT_TRUE(keeper.look(tree));
  EXPECT_EQ(keeper.look(tree)->kind, LimitKind::pids);
  tree.used.memory_bytes = 65U << 20U;
  EXPECT_EQ(keeper.look(tree)->kind, LimitKind::memory);
}

// RSS counts this program's own pages for each of its forks; what is shared is not used twice.
TEST(LimitsKeeper, SharedMemoryIsNotCountedTwice) {
  FakeTree tree;
  LimitsKeeper keeper;
  tree.members = {getpid()};
  const std::uint64_t own = proportional_bytes(getpid());
  ASSERT_GT(own, 1U << 20U);
  keeper.keep(order_with(2 * own, 9), tree, {}, true);
  tree.used = {.cpu = {}, .memory_bytes = 3 * own, .memory_over_counts = true};
  EXPECT_FALSE(keeper.look(tree));
  tree.used.memory_over_counts = false;
  EXPECT_TRUE(keeper.look(tree));
}

TEST(LimitsKeeper, AProcessOfAUserOfItsOwnHasAnRlimit) {
  FakeTree tree;
  LimitsKeeper keeper;
  LimitOrder order = order_with(64U << 20U, 9);
  order.own_user = true;
  keeper.keep(order, tree, {}, true);
  EXPECT_EQ(keeper.processes_max(), 9U);
  EXPECT_EQ(enforcer_text(keeper.states()[1]), "rlimit");
}

// --- with real processes

TEST(HostLimits, RlimitReachesTheProcess) {
  HostRig rig(by_token());
  ProcessOrder order = shell_order("cat /proc/self/limits");
  order.bounds.limits.pids = 77;
  order.bounds.own_user = true;
  EXPECT_THAT(rig.run(order).out, HasSubstr("Max processes             77 "));
}

TEST(HostLimits, AnEditReachesALivingProcess) {
  HostRig rig(by_token());
  ProcessOrder order = shell_order("read line || sleep 1000");
  order.bounds.limits.pids = 77;
  order.bounds.own_user = true;
  const InstanceId id = rig.start(order);
  ASSERT_TRUE(rig.until(id, "started"));
  order.bounds.limits.pids = 55;
  rig.host().set_limits(id, order.bounds);
  EXPECT_THAT(text_of("/proc/" + std::to_string(rig.seen(id).pid) + "/limits"),
              HasSubstr("Max processes             55"));
  EXPECT_EQ(limits_text(rig.host().limits(id)).substr(0, 15), "pids 55 (rlimit");
  rig.host().kill_tree(id);
  EXPECT_TRUE(rig.until(id, "gone"));
}

void finds_what_is_too_much(ProcessHostOptions options) {
  HostRig rig(std::move(options));
  ProcessOrder order = shell_order("sleep 1000 & sleep 1000 & sleep 1000 & wait");
  order.bounds.limits.pids = 3;
  const InstanceId id = rig.start(order);
  EXPECT_TRUE(rig.host().watches_limits());
  ASSERT_TRUE(rig.until([&] { return rig.host().pids_of(id).size() == 4; }));
  ASSERT_TRUE(rig.until([&] { return rig.host().over_limits().contains(id); }));
  EXPECT_EQ(rig.host().over_limits().at(id).used, 4U);
  order.bounds.limits.pids = 4;
  rig.host().set_limits(id, order.bounds);
  EXPECT_TRUE(rig.host().over_limits().empty());
  order.bounds.limits.memory = 64U << 10U;  // less than a shell takes
  rig.host().set_limits(id, order.bounds);
  ASSERT_TRUE(rig.until([&] { return rig.host().over_limits().contains(id); }));
  EXPECT_EQ(rig.host().over_limits().at(id).kind, LimitKind::memory);
  rig.host().kill_tree(id);
  EXPECT_TRUE(rig.until(id, "gone"));
  EXPECT_FALSE(rig.host().watches_limits());
}

TEST(HostLimits, WhatIsTooMuchIsFoundByTokens) {
  finds_what_is_too_much(by_token());
}

TEST(HostLimits, WhatIsTooMuchIsFoundInGroups) {
  if (!cgroups_possible()) GTEST_SKIP() << "no groups can be made here";
  HostRig rig;
  if (!rig.host().controllers().usable.none()) GTEST_SKIP() << "the kernel enforces limits here";
  finds_what_is_too_much({});
}

}  // namespace
}  // namespace muster::supervisor
