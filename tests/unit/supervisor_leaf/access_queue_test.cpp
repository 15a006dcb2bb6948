#include "supervisor/access_queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace muster::supervisor {
namespace {

lb::AccessLines lines(const std::string& listener, std::string bytes, std::uint64_t lost = 0) {
  return {.listener = listener, .bytes = std::move(bytes), .count = 1, .lost = lost, .last = false};
}

TEST(AccessQueue, GivesInOrderWhatWasPutAndWakesOncePerFilling) {
  int woken = 0;
  AccessQueue queue(1000, [&] { ++woken; });
  lb::AccessLines first = lines("web", "a\n", 3);
  lb::AccessLines second = lines("api", "b\n");
  EXPECT_TRUE(queue.put(first));
  EXPECT_TRUE(queue.put(second));
  EXPECT_TRUE(first.bytes.empty());
  EXPECT_EQ(woken, 1);
  const auto taken = queue.take(1000);
  ASSERT_EQ(taken.size(), 2U);
  EXPECT_EQ(taken[0].listener, "web");
  EXPECT_EQ(taken[0].bytes, "a\n");
  EXPECT_EQ(taken[0].lost, 3U);
  EXPECT_EQ(taken[1].listener, "api");
  EXPECT_TRUE(queue.empty());
  EXPECT_TRUE(queue.put(first));
  EXPECT_EQ(woken, 2);
}

TEST(AccessQueue, WhatDoesNotFitStaysWithTheSender) {
  AccessQueue queue(10, [] {});
  lb::AccessLines six = lines("web", "12345\n");
  ASSERT_TRUE(queue.put(six));
  lb::AccessLines more = lines("web", "12345\n");
  EXPECT_FALSE(queue.put(more));
  EXPECT_EQ(more.bytes, "12345\n");
  EXPECT_EQ(queue.take(1).size(), 1U);
  EXPECT_TRUE(queue.put(more));
  more = lines("web", "12345\n");
  more.last = true;  // these are taken in any case
  EXPECT_TRUE(queue.put(more));
  more = lines("web", "12345\n");
  EXPECT_FALSE(queue.put(more));
  queue.take_all_that_comes();
  EXPECT_TRUE(queue.put(more));
}

TEST(AccessQueue, IsTakenInPieces) {
  AccessQueue queue(1000, [] {});
  for (int i = 0; i < 4; ++i) {
    lb::AccessLines ten = lines("web", "123456789\n");
    ASSERT_TRUE(queue.put(ten));
  }
  EXPECT_EQ(queue.take(0).size(), 1U);  // a piece at least
  EXPECT_EQ(queue.take(11).size(), 2U);
  EXPECT_FALSE(queue.empty());
  EXPECT_EQ(queue.take(11).size(), 1U);
  EXPECT_TRUE(queue.take(11).empty());
}

TEST(AccessQueue, FullBuffersGoRound) {
  AccessQueue queue(1U << 20U, [] {});
  lb::AccessLines full = lines("web", std::string(60000, 'x'));
  const char* const buffer = full.bytes.data();
  ASSERT_TRUE(queue.put(full));
  auto taken = queue.take(1);
  ASSERT_EQ(taken.size(), 1U);
  EXPECT_EQ(taken[0].bytes.data(), buffer);  // moved, not copied
  queue.give_back(std::move(taken[0].bytes));
  full.bytes.assign(60000, 'y');
  ASSERT_TRUE(queue.put(full));
  EXPECT_TRUE(full.bytes.empty());
  EXPECT_EQ(full.bytes.data(), buffer);  // the next sender has it
  // A few lines are copied, and the sender keeps its buffer.
  full.bytes = "few";
  ASSERT_TRUE(queue.put(full));
  EXPECT_EQ(full.bytes.data(), buffer);
}

TEST(AccessQueue, ManyThreadsPutAndNothingIsLostOrTwice) {
  constexpr int threads = 4;
  constexpr int each = 5000;
  AccessQueue queue(1U << 30U, [] {});
  std::atomic<int> putting{threads};
  std::vector<std::thread> senders;
  for (int t = 0; t < threads; ++t) {
    senders.emplace_back([&queue, &putting, t] {
      lb::AccessLines mine = lines(std::to_string(t), "");
      for (int i = 0; i < each; ++i) {
        mine.bytes = std::to_string(i);
        EXPECT_TRUE(queue.put(mine));
      }
      --putting;
    });
  }
  std::vector<int> next(threads, 0);
  while (putting > 0 || !queue.empty()) {
    for (const lb::AccessLines& taken : queue.take(4096)) {
      int& expected = next[static_cast<std::size_t>(std::stoi(taken.listener))];
      EXPECT_EQ(taken.bytes, std::to_string(expected));
      ++expected;
    }
  }
  for (std::thread& sender : senders) sender.join();
  EXPECT_EQ(next, std::vector<int>(threads, each));
}

}  // namespace
}  // namespace muster::supervisor
