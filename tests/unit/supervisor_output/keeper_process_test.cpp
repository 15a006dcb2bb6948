// The keeper as a process: a daemon with one is killed, and what a process wrote last is still there.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>

#include "base/check.h"
#include "gmock/gmock.h"
#include "supervisor/output_keeper.h"
#include "supervisor/proc_scan.h"
#include "support/temp_folder.h"
#include "support/uv_loop.h"

namespace muster::supervisor {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing_support::TempFolder;
using testing_support::UvLoop;
constexpr InstanceId seven{7};
constexpr int deadline_ms = 20'000;

std::string read_all(const Fd& from) {
  std::string all;
  std::array<char, 4096> piece{};
  for (ssize_t got = 0; (got = read(from.get(), piece.data(), piece.size())) > 0;)
    all.append(piece.data(), static_cast<std::size_t>(got));
  return all;
}

// Both programs that can be the keeper.
class KeeperProcessTest : public testing::TestWithParam<std::string> {
 protected:
  KeeperProcessTest() { set_keeper_path(GetParam()); }
  ~KeeperProcessTest() override { set_keeper_path(""); }

  // A daemon that makes a FIFO, starts a process that writes `text` and lives as long as `leash`, and is killed.
  void run_killed_daemon(const std::string& text, const Fd& leash, bool kill_the_keeper_first = false) {
    const int daemon = fork();
    if (daemon == 0) {
      UvLoop loop;
      OutputFifos fifos(run());
      const auto keeper = keep_by_process(loop.get(), fifos, [](const std::string&) { _exit(9); });
      auto made = fifos.make(seven);
      MUSTER_CHECK(made.ok());
      keeper->hold(seven, made.value().out.read, made.value().err.read);
      if (fork() == 0) {
        MUSTER_CHECK(write(made.value().out.write.get(), text.data(), text.size()) ==
                     static_cast<ssize_t>(text.size()));
        made.value().out.read.reset();
        made.value().err.read.reset();
        _exit(static_cast<int>(read_all(leash).size()));
      }
      made.value().out.write.reset();
      made.value().err.write.reset();
      if (kill_the_keeper_first) {
        const int first = keeper_pid();
        kill(first, SIGKILL);
        MUSTER_CHECK(loop.run_until([&] { return keeper_pid() != first; }));
      }
      pollfd written{made.value().out.read.get(), POLLIN, 0};
      MUSTER_CHECK(poll(&written, 1, deadline_ms) == 1);
      kill(getpid(), SIGKILL);
    }
    int status = 0;
    ASSERT_EQ(waitpid(daemon, &status, 0), daemon);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
  }

  [[nodiscard]] std::string run() const { return folder.path() + "/run"; }
  [[nodiscard]] int keeper_pid() const {
    int pid = 0;
    std::ifstream(run() + "/output/keeper") >> pid;
    return pid;
  }
  [[nodiscard]] static Fd watch(int pid) { return Fd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0))); }
  [[nodiscard]] static bool ends(const Fd& pidfd) {
    pollfd end{pidfd.get(), POLLIN, 0};
    return poll(&end, 1, deadline_ms) == 1;
  }

  TempFolder folder;
};

TEST_P(KeeperProcessTest, LastWordsAreThereForTheNextDaemonWhichEndsTheKeeper) {
  const Fd ended(open("/dev/null", O_RDONLY | O_CLOEXEC));  // a leash that ends at once
  run_killed_daemon("last words", ended);
  const Fd keeper = watch(keeper_pid());
  ASSERT_TRUE(keeper.valid());
  UvLoop loop;
  OutputFifos next(run());
  const auto another = keep_by_process(loop.get(), next, {});
  ASSERT_TRUE(next.prepare().ok());
  auto left = next.open_left({});
  ASSERT_EQ(left.size(), 1U);
  another->end_earlier();
  EXPECT_TRUE(ends(keeper));
  EXPECT_EQ(read_all(left[0].out), "last words");
  next.forget(seven);
}

TEST_P(KeeperProcessTest, AnotherIsStartedWhenItDies) {
  const Fd ended(open("/dev/null", O_RDONLY | O_CLOEXEC));
  run_killed_daemon("last words", ended, true);
  OutputFifos next(run());
  auto left = next.open_left({});
  ASSERT_EQ(left.size(), 1U);
  EXPECT_EQ(read_all(left[0].out), "last words");
  keep_by_process(nullptr, next, {})->end_earlier();
}

TEST_P(KeeperProcessTest, ItEndsByItselfWhenThereIsNothingLeftToKeep) {
  std::array<int, 2> leash_ends{};
  ASSERT_EQ(pipe2(leash_ends.data(), O_CLOEXEC), 0);
  const Fd leash(leash_ends[0]);
  Fd hand(leash_ends[1]);
  const int forked = fork();
  if (forked == 0) {
    hand.reset();  // whoever is on the leash must not hold it
    run_killed_daemon("x", leash);
    _exit(HasFatalFailure() ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(forked, &status, 0), forked);
  ASSERT_EQ(status, 0);
  const Fd keeper = watch(keeper_pid());
  ASSERT_TRUE(keeper.valid());
  pollfd end{keeper.get(), POLLIN, 0};
  EXPECT_EQ(poll(&end, 1, 0), 0) << "the process still writes";
  OutputFifos next(run());
  auto left = next.reopen(seven);
  ASSERT_TRUE(left.ok());
  std::array<char, 10> piece{};
  EXPECT_EQ(read(left.value().out.get(), piece.data(), piece.size()), 1);
  hand.reset();
  EXPECT_TRUE(ends(keeper)) << "nobody writes any more, and nothing is unread";
}

TEST_P(KeeperProcessTest, WhatCannotBeStartedAtFirstIsStartedLater) {
  const std::string late = folder.path() + "/late";
  set_keeper_path(late);
  UvLoop loop;
  OutputFifos fifos(run());
  std::vector<std::string> told;
  const auto keeper =
      keep_by_process(loop.get(), fifos, [&](std::string text) { told.push_back(std::move(text)); });
  auto made = fifos.make(seven);
  ASSERT_TRUE(made.ok());
  keeper->hold(seven, made.value().out.read, made.value().err.read);
  ASSERT_THAT(told, ElementsAre(HasSubstr("cannot be started")));
  std::filesystem::create_symlink(GetParam(), late);
  ASSERT_TRUE(loop.run_until([&] { return told.size() == 2; }));
  EXPECT_EQ(told[1], "the keeper of the output has been started after all");
  // What nobody else has open any more is still there: it was handed over late.
  ASSERT_EQ(write(made.value().out.write.get(), "x", 1), 1);
  made = OutputPipes{};
  const auto left = fifos.reopen(seven);
  ASSERT_TRUE(left.ok());
  std::array<char, 2> piece{};
  EXPECT_EQ(read(left.value().out.get(), piece.data(), piece.size()), 1);
  keeper->drop(seven);
}

TEST_P(KeeperProcessTest, AStrangerIsNotKilled) {
  const int stranger = fork();
  if (stranger == 0) {
    pause();
    _exit(0);
  }
  OutputFifos fifos(run());
  ASSERT_TRUE(fifos.prepare().ok());
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  const auto process = read_process(stranger);
  ASSERT_TRUE(process);
  for (const std::string& text :
       {std::to_string(process->start_ticks + 1) + " " + boot,
        std::to_string(process->start_ticks) + " another-boot", std::string("0 "), std::string()}) {
    std::ofstream(fifos.folder() + "/keeper") << stranger << " " << text << "\n";
    keep_by_process(nullptr, fifos, {})->end_earlier();
    const auto still = read_process(stranger);
    EXPECT_TRUE(still && !still->ended()) << text;
  }
  std::ofstream(fifos.folder() + "/keeper") << stranger << " " << process->start_ticks << " " << boot << "\n";
  keep_by_process(nullptr, fifos, {})->end_earlier();
  int status = 0;
  ASSERT_EQ(waitpid(stranger, &status, 0), stranger);
  EXPECT_TRUE(WIFSIGNALED(status)) << "with its own number, start and boot it is the keeper";
}

TEST_P(KeeperProcessTest, WhatCannotBeStartedIsToldOnce) {
  set_keeper_path("/nonexistent/keeper");
  UvLoop loop;
  OutputFifos fifos(run());
  std::vector<std::string> told;
  const auto keeper =
      keep_by_process(loop.get(), fifos, [&](std::string text) { told.push_back(std::move(text)); });
  for (const std::uint64_t id : {1U, 2U}) {
    auto made = fifos.make(InstanceId{id});
    ASSERT_TRUE(made.ok());
    keeper->hold(InstanceId{id}, made.value().out.read, made.value().err.read);
    keeper->drop(InstanceId{id});
  }
  ASSERT_EQ(told.size(), 1U);
  EXPECT_NE(told[0].find("/nonexistent/keeper"), std::string::npos) << told[0];
}

std::vector<std::string> programs() {
  std::vector<std::string> all{"/proc/self/exe"};
#ifdef MUSTER_SMALL_SHIM
  all.emplace_back(MUSTER_SMALL_SHIM);
#endif
  return all;
}

INSTANTIATE_TEST_SUITE_P(Programs, KeeperProcessTest, testing::ValuesIn(programs()));

}  // namespace
}  // namespace muster::supervisor
