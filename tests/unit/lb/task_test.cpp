#include "lb/task.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace muster::lb {
namespace {

// Something to wait for, woken by the test.
struct Gate {
  std::coroutine_handle<> waiter;
  bool open = false;
  auto wait() {
    struct Awaiter {
      Gate& gate;
      [[nodiscard]] bool await_ready() const { return gate.open; }
      void await_suspend(std::coroutine_handle<> handle) const { gate.waiter = handle; }
      static void await_resume() noexcept {}
    };
    return Awaiter{*this};
  }
  void release() {
    open = true;
    if (auto handle = std::exchange(waiter, nullptr)) handle.resume();
  }
};

Task<int> immediate(int value) {
  co_return value;
}

Task<int> after(Gate& gate, int value) {
  co_await gate.wait();
  co_return value;
}

Detached run(Task<int> task, int& result) {
  result = co_await std::move(task);
}

Task<int> sum_of(int count) {
  int sum = 0;
  for (int i = 0; i < count; ++i) sum += co_await immediate(1);
  co_return sum;
}

TEST(Task, EndsAtOnceWhenNothingSuspends) {
  int result = 0;
  run(immediate(7), result);
  EXPECT_EQ(result, 7);
}

TEST(Task, GoesOnWhereItWaited) {
  Gate gate;
  int result = 0;
  run(after(gate, 7), result);
  EXPECT_EQ(result, 0);
  gate.release();
  EXPECT_EQ(result, 7);
}

// A million tasks that are ready at once: the stack must not grow with them.
TEST(Task, ALoopOverReadyTasksDoesNotGrowTheStack) {
  int result = 0;
  run(sum_of(1'000'000), result);
  EXPECT_EQ(result, 1'000'000);
}

Task<> append_after(Gate& gate, std::vector<std::string>& log, std::string text) {
  co_await gate.wait();
  log.push_back(std::move(text));
}

Detached join(Branch& branch, std::vector<std::string>& log) {
  co_await branch.join();
  log.emplace_back("joined");
}

TEST(Branch, IsJoinedWhenItEnds) {
  Gate gate;
  std::vector<std::string> log;
  Branch branch;
  branch.start(append_after(gate, log, "branch"));
  EXPECT_TRUE(branch.running());
  join(branch, log);
  EXPECT_TRUE(log.empty());
  gate.release();
  EXPECT_FALSE(branch.running());
  EXPECT_EQ(log, (std::vector<std::string>{"branch", "joined"}));
}

TEST(Branch, ThatHasEndedIsJoinedAtOnce) {
  Gate gate;
  gate.release();
  std::vector<std::string> log;
  Branch branch;
  branch.start(append_after(gate, log, "branch"));
  EXPECT_FALSE(branch.running());
  join(branch, log);
  EXPECT_EQ(log, (std::vector<std::string>{"branch", "joined"}));
}

// Frames come back from the cache; each size has memory that is its own.
TEST(FrameCache, GivesDisjointFrames) {
  std::vector<std::pair<char*, std::size_t>> frames;
  for (int round = 0; round < 3; ++round) {
    for (std::size_t size = 1; size < 4000; size += 37) {
      auto* const frame = static_cast<char*>(FrameCache::take(size));
      std::fill(frame, frame + size, static_cast<char>(size));
      frames.emplace_back(frame, size);
    }
    for (const auto& [frame, size] : frames) {
      EXPECT_EQ(frame[0], static_cast<char>(size));
      EXPECT_EQ(frame[size - 1], static_cast<char>(size));
      FrameCache::give(frame, size);
    }
    frames.clear();
  }
}

}  // namespace
}  // namespace muster::lb
