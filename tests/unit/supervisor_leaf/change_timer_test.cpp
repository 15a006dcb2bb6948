#include "supervisor/change_timer.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "leaf_rig.h"

namespace muster::supervisor {
namespace {

constexpr Millis quiet{20};

// Asked at instants of the test's choice; the loop turns only to close the timer.
class ChangeTimerTest : public testing::Test {
 protected:
  [[nodiscard]] Instant at(int ms) const { return start + Millis{ms}; }

  Loop loop;
  ChangeTimer timer{loop.get(), quiet, [] {}};
  Instant start = Instant{} + std::chrono::hours{1};
};

TEST_F(ChangeTimerTest, NamesAPathOnceItHasBeenQuiet) {
  timer.mark("a", Writing::over, at(0));
  timer.mark("a", Writing::over, at(15));
  EXPECT_EQ(timer.take_due(at(34)), "");
  EXPECT_EQ(timer.take_due(at(35)), "a");
  EXPECT_EQ(timer.take_due(at(35)), "");
}

TEST_F(ChangeTimerTest, DoesNotWaitForEver) {
  for (int ms = 0; ms < 200; ms += 10) timer.mark("a", Writing::over, at(ms));
  EXPECT_EQ(timer.take_due(at(199)), "");
  EXPECT_EQ(timer.take_due(at(200)), "a");
}

TEST_F(ChangeTimerTest, WaitsForTheEndOfAWritingThatHasBegun) {
  timer.mark("a", Writing::going_on, at(0));
  EXPECT_EQ(timer.take_due(at(199)), "");
  EXPECT_EQ(timer.take_due(at(200)), "a") << "the writer takes its time, or is none";
  timer.mark("a", Writing::going_on, at(1000));
  timer.mark("a", Writing::over, at(1100));
  EXPECT_EQ(timer.take_due(at(1119)), "");
  EXPECT_EQ(timer.take_due(at(1120)), "a");
}

// On the real clock: the date that comes nearer moves the timer.
TEST_F(ChangeTimerTest, WakesForTheFirstThatIsDue) {
  int fired = 0;
  ChangeTimer one(loop.get(), Millis{1}, [&] { ++fired; });
  const Instant now = std::chrono::steady_clock::now();
  one.mark("a", Writing::going_on, now + std::chrono::hours{1});
  one.mark("a", Writing::over, now);
  EXPECT_TRUE(loop.until([&] { return fired > 0; }));
}

TEST_F(ChangeTimerTest, OfANewNameOnlyAFileIsStillWritten) {
  const TempFolder folder;
  write_file(folder / "file", "");
  EXPECT_EQ(writing_to(folder / "file"), Writing::going_on);
  ASSERT_EQ(link((folder / "file").c_str(), (folder / "second").c_str()), 0);
  EXPECT_EQ(writing_to(folder / "second"), Writing::over);
  ASSERT_EQ(symlink("file", (folder / "link").c_str()), 0);
  EXPECT_EQ(writing_to(folder / "link"), Writing::over);
  EXPECT_EQ(writing_to(folder.path()), Writing::over);
  EXPECT_EQ(writing_to(folder / "gone"), Writing::over);
}

}  // namespace
}  // namespace muster::supervisor
