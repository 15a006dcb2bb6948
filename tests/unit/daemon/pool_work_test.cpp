#include "supervisor/pool_work.h"

#include <atomic>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "support/uv_loop.h"

namespace muster::supervisor {
namespace {

using testing::ElementsAre;
using testing_support::UvLoop;

TEST(PoolWork, IsDoneOneAfterTheOtherBesideTheLoop) {
  UvLoop loop;
  PoolWork work(loop.get());
  std::vector<int> done;
  std::atomic<int> at_once = 0;
  std::atomic<bool> beside = true;
  const auto here = std::this_thread::get_id();
  for (int number = 0; number < 3; ++number) {
    EXPECT_TRUE(work.run(
        [&](const PoolWork::Stopped& stopped) {
          if (++at_once != 1 || std::this_thread::get_id() == here || stopped()) beside = false;
          --at_once;
        },
        [&done, number] { done.push_back(number); }));
  }
  EXPECT_TRUE(work.busy());
  EXPECT_TRUE(loop.run_until([&] { return done.size() == 3; }));
  EXPECT_THAT(done, ElementsAre(0, 1, 2));
  EXPECT_TRUE(beside);
  EXPECT_FALSE(work.busy());
}

TEST(PoolWork, TooMuchIsRefused) {
  UvLoop loop;
  PoolWork work(loop.get(), 1);
  int done = 0;
  const auto nothing = [](const PoolWork::Stopped&) {};
  EXPECT_TRUE(work.run(nothing, [&] { ++done; }));
  EXPECT_TRUE(work.run(nothing, [&] { ++done; }));
  EXPECT_FALSE(work.run(nothing, [&] { ++done; }));
  EXPECT_TRUE(loop.run_until([&] { return done == 2; }));
}

TEST(PoolWork, EndsUnheardWithItsOwner) {
  UvLoop loop;
  std::atomic<bool> began = false;
  std::atomic<bool> ended = false;
  bool heard = false;
  {
    PoolWork work(loop.get());
    work.run(
        [&](const PoolWork::Stopped& stopped) {
          began = true;
          while (!stopped()) std::this_thread::yield();
          ended = true;
        },
        [&] { heard = true; });
    while (!began) std::this_thread::yield();
  }
  EXPECT_TRUE(loop.run_until([&] { return ended.load(); }));
  uv_run(loop.get(), UV_RUN_DEFAULT);
  EXPECT_FALSE(heard);
}

}  // namespace
}  // namespace muster::supervisor
