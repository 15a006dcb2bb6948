#include "supervisor/output_pipes.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>

#include "support/temp_folder.h"

namespace muster::supervisor {
namespace {

using testing_support::TempFolder;
constexpr InstanceId seven{7};

std::string read_all(const Fd& from) {
  std::string all;
  std::array<char, 4096> piece{};
  for (ssize_t got = 0; (got = read(from.get(), piece.data(), piece.size())) > 0;)
    all.append(piece.data(), static_cast<std::size_t>(got));
  return all;
}

// "open", "ended": what a reader finds when there is nothing to read.
std::string state_of(const Fd& from) {
  char byte = 0;
  const ssize_t got = read(from.get(), &byte, 1);
  return got == 0 ? "ended" : got < 0 && errno == EAGAIN ? "open" : "bytes";
}

class OutputFifosTest : public testing::Test {
 protected:
  OutputPipes make() {
    auto made = fifos.make(seven);
    EXPECT_TRUE(made.ok()) << (made.ok() ? "" : made.error().message);
    return made.ok() ? std::move(made).value() : OutputPipes{};
  }
  TempFolder folder;
  OutputFifos fifos{folder.path() + "/run"};
};

TEST_F(OutputFifosTest, TheEndOfTheLastProcessIsSeen) {
  OutputPipes pipes = make();
  std::array<int, 2> leash_ends{};
  ASSERT_EQ(pipe2(leash_ends.data(), O_CLOEXEC), 0);
  const Fd leash(leash_ends[0]);
  Fd held(leash_ends[1]);
  const int parent = fork();
  if (parent == 0) {
    if (fork() != 0) _exit(0);
    held.reset();
    _exit(static_cast<int>(read_all(leash).size()));
  }
  int status = 0;
  ASSERT_EQ(waitpid(parent, &status, 0), parent);
  pipes.out.write.reset();
  EXPECT_EQ(state_of(pipes.out.read), "open") << "the grandchild has it";
  held.reset();
  fcntl(pipes.out.read.get(), F_SETFL, 0);  // waits
  EXPECT_EQ(state_of(pipes.out.read), "ended");
}

TEST_F(OutputFifosTest, WithoutAReaderWritesWaitInsteadOfFailing) {
  OutputPipes pipes = make();
  pipes.out.read.reset();
  fcntl(pipes.out.write.get(), F_SETFL, O_NONBLOCK);
  const std::string piece(4096, 'x');
  std::size_t taken = 0;
  ssize_t wrote = 0;
  while ((wrote = write(pipes.out.write.get(), piece.data(), piece.size())) > 0)
    taken += static_cast<std::size_t>(wrote);
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_GE(taken, 4096U);
  OutputFifos next(folder.path() + "/run");
  auto again = next.reopen(seven);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(read_all(again.value().out).size(), taken);
  EXPECT_EQ(state_of(again.value().out), "open");
}

TEST_F(OutputFifosTest, ANewReaderGoesOnAtTheNextByte) {
  OutputPipes pipes = make();
  ASSERT_EQ(write(pipes.out.write.get(), "onetwo", 6), 6);
  std::array<char, 3> first{};
  ASSERT_EQ(read(pipes.out.read.get(), first.data(), first.size()), 3);
  pipes.out.read.reset();
  OutputFifos next(folder.path() + "/run");
  auto again = next.reopen(seven);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(read_all(again.value().out), "two");
  pipes.out.write.reset();
  EXPECT_EQ(state_of(again.value().out), "ended");
}

TEST_F(OutputFifosTest, WhatNobodyLivesOnIsHandedOut) {
  OutputPipes pipes = make();
  auto other = fifos.make(InstanceId{8});
  ASSERT_TRUE(other.ok());
  ASSERT_EQ(write(pipes.err.write.get(), "last words", 10), 10);
  pipes.out.write.reset();
  pipes.err.write.reset();
  std::ofstream(fifos.folder() + "/journal") << "not a FIFO";
  OutputFifos next(folder.path() + "/run");
  const auto left = next.open_left({InstanceId{8}});
  ASSERT_EQ(left.size(), 1U);
  EXPECT_EQ(left[0].instance, seven);
  EXPECT_EQ(read_all(left[0].err), "last words");
  EXPECT_EQ(next.open_left({InstanceId{8}}).size(), 1U) << "another that is killed finds it again";
  next.forget(seven);
  EXPECT_TRUE(next.open_left({InstanceId{8}}).empty());
  EXPECT_TRUE(next.reopen(InstanceId{8}).ok());
  EXPECT_FALSE(next.reopen(seven).ok());
  EXPECT_TRUE(std::filesystem::exists(fifos.folder() + "/journal"));
}

TEST_F(OutputFifosTest, AFolderOfSomebodyElsesMakingIsRefused) {
  std::filesystem::create_directories(folder.path() + "/run");
  ASSERT_EQ(chmod((folder.path() + "/run").c_str(), 0777), 0);
  const auto made = fifos.make(seven);
  ASSERT_FALSE(made.ok());
  EXPECT_NE(made.error().message.find(folder.path() + "/run must be a folder"), std::string::npos)
      << made.error().message;
}

TEST_F(OutputFifosTest, NobodyElsePassesTheFolder) {
  const OutputPipes pipes = make();
  struct stat info {};
  ASSERT_EQ(stat(fifos.folder().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0700U);
}

// nginx's `error_log /dev/stderr`: the worker's user is not the one that made the pipe.
TEST_F(OutputFifosTest, AnotherUserOpensItsStandardOutputAnew) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become somebody else";
  OutputPipes pipes = make();
  const int child = fork();
  if (child == 0) {
    if (dup2(pipes.out.write.get(), 1) != 1 || setgid(65534) != 0 || setuid(65534) != 0) _exit(1);
    const int again = open("/dev/stdout", O_WRONLY | O_APPEND);
    const int by_proc = open("/proc/self/fd/1", O_WRONLY);
    _exit(again >= 0 && by_proc >= 0 && write(again, "here", 4) == 4 ? 0 : 2);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  pipes.out.write.reset();
  EXPECT_EQ(read_all(pipes.out.read), "here");
}

}  // namespace
}  // namespace muster::supervisor
