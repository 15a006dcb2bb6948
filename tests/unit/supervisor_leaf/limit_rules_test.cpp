// Who enforces a limit, and what is written where.
#include "supervisor/limit_rules.h"

#include <array>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "supervisor/event.h"

namespace muster::supervisor {
namespace {

using ::testing::ElementsAre;

LimitOrder all_limits() {
  LimitOrder order;
  order.limits.memory = 64U << 20U;
  order.limits.cpu = 0.5;
  order.limits.pids = 100;
  return order;
}
constexpr Controllers all{.memory = true, .cpu = true, .pids = true};

std::vector<std::string> lines(const std::vector<GroupFile>& files) {
  std::vector<std::string> text;
  for (const GroupFile& file : files) text.push_back(std::string(file.name).append("=").append(file.text));
  return text;
}

TEST(LimitRules, ControllersAreReadAsTheKernelWritesThem) {
  EXPECT_EQ(parse_controllers("cpuset cpu io memory hugetlb pids rdma misc\n"), all);
  EXPECT_EQ(parse_controllers("hugetlb\n"), Controllers{});
  EXPECT_EQ(parse_controllers("\n"), Controllers{});
  EXPECT_EQ(parse_controllers("memory"), (Controllers{.memory = true, .cpu = false, .pids = false}));
  EXPECT_EQ(parse_controllers("cpuset pidsx\n"), Controllers{});
}

TEST(LimitRules, ControllersAreSwitchedByTheirNames) {
  EXPECT_EQ(controllers_text(all, '+'), "+memory +cpu +pids");
  EXPECT_EQ(controllers_text({.memory = false, .cpu = true, .pids = false}, '-'), "-cpu");
  EXPECT_EQ(controllers_text({}, '+'), "");
}

TEST(LimitRules, TheKernelEnforcesWhatItHasAControllerFor) {
  EXPECT_EQ(limits_text(enforcement(all_limits(), all, {})),
            "memory 64MiB (cgroup), cpu 0.5 (cgroup), pids 100 (cgroup)");
  EXPECT_EQ(limits_text(enforcement({}, all, {})), "");
}

TEST(LimitRules, WithoutOneItIsWatchedOrSaid) {
  ControllerReport report;
  report.refuse(LimitKind::memory, "no memory controller");
  report.refuse(LimitKind::cpu, "no cpu controller");
  report.refuse(LimitKind::pids, "no pids controller");
  LimitStates states = enforcement(all_limits(), {}, report);
  ASSERT_EQ(states.size(), 3U);
  EXPECT_EQ(enforcer_text(states[0]), "watched");
  EXPECT_EQ(enforcer_text(states[1]), "not enforced: no cpu controller");
  EXPECT_EQ(enforcer_text(states[2]), "watched");
  EXPECT_EQ(
      limits_text(states),
      "memory 64MiB (watched: no memory controller), cpu 0.5 (not enforced: no cpu controller), pids 100 "
      "(watched: no pids controller)");
  LimitOrder own = all_limits();
  own.own_user = true;
  states = enforcement(own, {}, report);
  EXPECT_EQ(enforcer_text(states[2]), "rlimit");
  EXPECT_FALSE(watches(states, LimitKind::pids));
  EXPECT_EQ(enforcer_text(enforcement(own, all, report)[2]), "cgroup");
}

TEST(LimitRules, WhatTheKernelRefusesIsKeptByTheNextBest) {
  LimitStates states = enforcement(all_limits(), all, {});
  for (LimitState& state : states) refused(state, "no");
  EXPECT_EQ(limits_text(states),
            "memory 64MiB (watched: no), cpu 0.5 (not enforced: no), pids 100 (watched: no)");
}

TEST(LimitRules, AFreshGroupGetsItsLimits) {
  EXPECT_THAT(lines(group_files(all_limits(), all, true)),
              ElementsAre("memory.oom.group=1", "memory.swap.max=0", "memory.max=67108864",
                          "cpu.max=50000 100000", "pids.max=100"));
  EXPECT_TRUE(group_files({}, all, true).empty());
  EXPECT_TRUE(group_files(all_limits(), {}, true).empty());
  LimitOrder nice;
  nice.nice = 5;
  EXPECT_THAT(lines(group_files(nice, all, true)), ElementsAre("cpu.weight.nice=5"));
}

TEST(LimitRules, WhatIsNoLongerWantedIsLifted) {
  EXPECT_THAT(lines(group_files({}, all, false)),
              ElementsAre("memory.oom.group=0", "memory.swap.max=max", "memory.max=max", "cpu.max=max",
                          "cpu.weight.nice=0", "pids.max=max"));
  LimitOrder memory;
  memory.limits.memory = 1U << 20U;
  EXPECT_THAT(lines(group_files(memory, {.memory = true, .cpu = false, .pids = true}, false)),
              ElementsAre("memory.oom.group=1", "memory.swap.max=0", "memory.max=1048576", "pids.max=max"));
}

TEST(LimitRules, QuotasAreOfATenthOfASecond) {
  const auto quota = [](double processors) {
    LimitOrder order;
    order.limits.cpu = processors;
    return group_files(order, all, true).front().text;
  };
  EXPECT_EQ(quota(0.01), "1000 100000");
  EXPECT_EQ(quota(0.25), "25000 100000");
  EXPECT_EQ(quota(1), "100000 100000");
  EXPECT_EQ(quota(2.5), "250000 100000");
}

TEST(LimitRules, OnlyWhatIsWatchedIsJudged) {
  const LimitStates kernel = enforcement(all_limits(), all, {});
  EXPECT_FALSE(excess(kernel, {.memory_bytes = 1U << 30U, .tasks = 1000}));
  const LimitStates watched = enforcement(all_limits(), {}, {});
  EXPECT_FALSE(excess(watched, {.memory_bytes = 64U << 20U, .tasks = 100}));  // at the limit is within it
  const auto memory = excess(watched, {.memory_bytes = (64U << 20U) + 1, .tasks = 1000});
  ASSERT_TRUE(memory);
  EXPECT_EQ(memory->kind, LimitKind::memory);
  EXPECT_EQ(memory->limit, 64U << 20U);
  const auto pids = excess(watched, {.memory_bytes = 1, .tasks = 101});
  ASSERT_TRUE(pids);
  EXPECT_EQ(pids->kind, LimitKind::pids);
  EXPECT_EQ(pids->used, 101U);
}

TEST(LimitRules, Sentences) {
  EXPECT_EQ(excess_text(LimitKind::memory, 73610035, 64U << 20U),
            "out of memory: 70.2 MiB in use, limit 64MiB");
  EXPECT_EQ(excess_text(LimitKind::pids, 12, 8), "too many processes and threads: 12, limit 8");
  EXPECT_EQ(describe(ExitStatus{.code = {}, .signal = 9, .oom = true}),
            "killed by the kernel: out of memory");
  EXPECT_EQ(describe(ExitStatus{.code = {}, .signal = 9, .oom = true, .oom_limit = 64U << 20U}),
            "killed by the kernel: out of memory (limit 64MiB)");
}

}  // namespace
}  // namespace muster::supervisor
