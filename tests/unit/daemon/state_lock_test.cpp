// One daemon per state folder, by whatever name it is called, and the others know which.
#include "supervisor/state_lock.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "support/temp_folder.h"

namespace muster::supervisor {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing_support::TempFolder;

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) std::abort();
    read.reset(ends[0]);
    write.reset(ends[1]);
  }
  Fd read;
  Fd write;
};

std::string line_of(const Fd& from) {
  std::string text;
  char byte = 0;
  while (::read(from.get(), &byte, 1) == 1 && byte != '\n') text += byte;
  return text;
}

// Waits for `go` to close, takes the lock of the folder, says "pid" or the refusal, and holds on until it is killed.
pid_t contender(const std::string& folder, const Fd& go, const Pipe& said, const Fd& go_write) {
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  ::close(go_write.get());
  char byte = 0;
  if (::read(go.get(), &byte, 1) != 0) ::_exit(1);
  const auto lock = lock_state_folder(folder);
  const std::string text = (lock ? "mine" : lock.error().message) + "\n";
  static_cast<void>(!::write(said.write.get(), text.data(), text.size()));
  ::close(said.write.get());
  for (;;) ::pause();
}

// At the same instant, again and again; each time the file still names the one before.
TEST(StateLock, OfManyAtOnceOneHasItAndTheOthersNameIt) {
  const TempFolder state;
  for (int round = 0; round < 50; ++round) {
    Pipe go;
    std::vector<Pipe> said(4);
    std::vector<pid_t> pids;
    pids.reserve(said.size());
    for (const Pipe& pipe : said) pids.push_back(contender(state.path(), go.read, pipe, go.write));
    go.write.reset();
    std::vector<std::string> texts;
    for (Pipe& pipe : said) {
      pipe.write.reset();
      texts.push_back(line_of(pipe.read));
    }
    pid_t owner = 0;
    for (std::size_t i = 0; i < pids.size(); ++i) {
      if (texts[i] == "mine") {
        EXPECT_EQ(owner, 0) << "two have it in round " << round;
        owner = pids[i];
      }
    }
    EXPECT_NE(owner, 0) << round;
    for (const std::string& text : texts) {
      if (text != "mine") {
        EXPECT_THAT(text, HasSubstr("(pid " + std::to_string(owner) + ")")) << round;
      }
    }
    for (const pid_t pid : pids) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, nullptr, 0);
    }
  }
}

TEST(StateLock, ALinkToTheFolderIsTheFolder) {
  const TempFolder state;
  const TempFolder other;
  fs::create_directory_symlink(state.path(), other.path() + "/link");
  const auto mine = lock_state_folder(state.path());
  ASSERT_TRUE(mine.ok());
  const auto second = lock_state_folder(other.path() + "/link");
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(second.error().message, HasSubstr("(pid " + std::to_string(getpid()) + ")"));
}

TEST(StateLock, ABindMountOfTheFolderIsTheFolder) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root: mounts";
  const TempFolder state;
  const TempFolder other;
  const auto mine = lock_state_folder(state.path());
  ASSERT_TRUE(mine.ok());
  Pipe said;
  const pid_t pid = ::fork();
  if (pid == 0) {
    std::string text = "cannot mount";
    if (::unshare(CLONE_NEWNS) == 0 && ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
        ::mount(state.path().c_str(), other.path().c_str(), nullptr, MS_BIND, nullptr) == 0) {
      const auto second = lock_state_folder(other.path());
      text = second ? "mine" : second.error().message;
    }
    static_cast<void>(!::write(said.write.get(), text.data(), text.size()));
    ::_exit(0);
  }
  said.write.reset();
  const std::string text = line_of(said.read);
  ::waitpid(pid, nullptr, 0);
  if (text == "cannot mount") GTEST_SKIP() << text;
  EXPECT_THAT(text, HasSubstr("(pid " + std::to_string(getpid()) + ")"));
}

// What an earlier daemon wrote there does not count.
TEST(StateLock, TheNextOneTakesOver) {
  const TempFolder state;
  std::ofstream(state.path() + "/lock") << "1\n";
  EXPECT_TRUE(lock_state_folder(state.path()).ok());
  EXPECT_TRUE(lock_state_folder(state.path()).ok());
}

// A child that it was just starting has the lock until it has called execve(2).
TEST(StateLock, WaitsForTheChildOfADeadDaemon) {
  const TempFolder state;
  const std::string path = state.path() + "/lock";
  const pid_t dead = ::fork();
  if (dead == 0) ::_exit(0);
  ASSERT_EQ(::waitpid(dead, nullptr, 0), dead);
  std::ofstream(path) << dead << "\n";
  Fd child(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(::flock(child.get(), LOCK_EX | LOCK_NB), 0);
  const Fd watch(::inotify_init1(IN_CLOEXEC));
  ASSERT_GE(::inotify_add_watch(watch.get(), path.c_str(), IN_OPEN), 0);
  std::thread execs([&] {
    int opened = 0;
    std::array<char, 4096> events{};
    while (opened < 2) {
      const ssize_t got = ::read(watch.get(), events.data(), events.size());
      opened += static_cast<int>(got / static_cast<ssize_t>(sizeof(inotify_event)));
      if (got <= 0) break;
    }
    child.reset();
  });
  EXPECT_TRUE(lock_state_folder(state.path()).ok());
  execs.join();
}

}  // namespace
}  // namespace muster::supervisor
