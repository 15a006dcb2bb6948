#include "base/mailbox.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstddef>
#include <memory>
#include <thread>
#include <vector>

namespace muster {
namespace {

TEST(Mailbox, DeliversInOrderAndOnce) {
  Mailbox<int> box(8, [] {});
  for (const int letter : {1, 2, 3}) EXPECT_TRUE(box.send(letter));
  EXPECT_EQ(box.take_all(), (std::vector{1, 2, 3}));
  EXPECT_TRUE(box.take_all().empty());
}

TEST(Mailbox, WakesOnlyWhenItWasEmpty) {
  int wakes = 0;
  Mailbox<int> box(8, [&] { ++wakes; });
  box.send(1);
  box.send(2);
  EXPECT_EQ(wakes, 1);
  (void)box.take_all();
  box.send(3);
  EXPECT_EQ(wakes, 2);
}

TEST(Mailbox, RefusesWhatDoesNotFitAndKeepsTheRest) {
  int wakes = 0;
  Mailbox<int> box(2, [&] { ++wakes; });
  EXPECT_TRUE(box.send(1));
  EXPECT_TRUE(box.send(2));
  EXPECT_FALSE(box.send(3));
  EXPECT_EQ(wakes, 1);
  EXPECT_EQ(box.take_all(), (std::vector{1, 2}));
  EXPECT_TRUE(box.send(4));
}

TEST(Mailbox, CarriesMoveOnlyLetters) {
  Mailbox<std::unique_ptr<int>> box(1, [] {});
  EXPECT_TRUE(box.send(std::make_unique<int>(5)));
  EXPECT_EQ(*box.take_all().at(0), 5);
}

TEST(Mailbox, WakeMayTakeTheLettersItself) {
  std::vector<int> seen;
  Mailbox<int>* self = nullptr;
  Mailbox<int> box(4, [&] { seen = self->take_all(); });  // would deadlock if wake ran under the lock
  self = &box;
  box.send(9);
  EXPECT_EQ(seen, std::vector{9});
}

TEST(Mailbox, ManySendersLoseNothing) {
  constexpr int senders = 4;
  constexpr int each = 2000;
  Mailbox<int> box(static_cast<std::size_t>(senders) * each, [] {});
  std::atomic<int> running{senders};
  std::vector<std::thread> threads;
  for (int sender = 0; sender < senders; ++sender) {
    threads.emplace_back([&] {
      for (int letter = 1; letter <= each; ++letter) EXPECT_TRUE(box.send(letter));
      --running;
    });
  }
  long total = 0;
  while (running > 0) {
    for (const int letter : box.take_all()) total += letter;
  }
  for (std::thread& thread : threads) thread.join();
  for (const int letter : box.take_all()) total += letter;
  EXPECT_EQ(total, static_cast<long>(senders) * each * (each + 1) / 2);
}

}  // namespace
}  // namespace muster
