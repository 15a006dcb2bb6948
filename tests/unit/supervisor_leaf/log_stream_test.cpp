#include "supervisor/log_stream.h"

#include <gtest/gtest.h>

#include "leaf_rig.h"

namespace muster::supervisor {
namespace {

struct Ask {
  std::string app = "";
  std::optional<int> ordinal = std::nullopt;
  std::optional<std::size_t> tail = std::nullopt;
  std::optional<WallTime> since = std::nullopt;
  [[nodiscard]] LogQuery query() const { return {app, ordinal, tail, since}; }
};

class LogStreamTest : public testing::Test {
 protected:
  LogStreamTest() : logs(std::make_unique<Logs>(loop.get(), LogsConfig{folder / "log"}, LogsHooks{})) {
    logs->attach({InstanceId{1}, {"web", 0}, std::move(pipe.read_end), Fd{}, std::nullopt},
                 {.rotate_bytes = 2000, .keep = 50});
  }
  void say(int number) {
    put(pipe.write_end, std::to_string(number) + "\n");
    ASSERT_TRUE(loop.until([&] {
      const auto tail = logs->tail({"web", 0});
      return !tail.empty() && tail.back().text == std::to_string(number);
    }));
  }
  std::unique_ptr<LogStream> open(const Ask& ask, bool follow) {
    auto opened = LogStream::open(*logs, ask.query(), follow, [this] { ++woken; });
    EXPECT_TRUE(opened.ok());
    return std::move(opened).value();
  }
  // Takes until it would wait or is over.
  LogStream::Taken::State drain(LogStream& stream, std::vector<int>& to, std::size_t at_a_time = 7) {
    for (;;) {
      const auto taken = stream.take(at_a_time);
      EXPECT_LE(taken.lines.size(), at_a_time);
      lost += taken.lost;
      for (const StoredLine& line : taken.lines) to.push_back(std::stoi(line.text));
      if (taken.state != LogStream::Taken::State::more) return taken.state;
    }
  }

  Loop loop;
  TempFolder folder;
  TestPipe pipe;
  std::unique_ptr<Logs> logs;
  int woken = 0;
  std::uint64_t lost = 0;
};

using State = LogStream::Taken::State;

TEST_F(LogStreamTest, WithoutFollowItEnds) {
  for (int i = 0; i < 10; ++i) say(i);
  std::vector<int> seen;
  EXPECT_EQ(drain(*open({.tail = 3}, false), seen), State::ended);
  EXPECT_EQ(seen, (std::vector<int>{7, 8, 9}));
}

// Files that rotate under the reader, live lines while the files are read: each number once, in order.
TEST_F(LogStreamTest, NoGapAndNothingTwiceOverRotation) {
  int next = 0;
  for (; next < 400; ++next) say(next);
  auto stream = open({}, true);
  std::vector<int> seen;
  for (int round = 0; round < 40; ++round) {
    const auto taken = stream->take(5);
    for (const StoredLine& line : taken.lines) seen.push_back(std::stoi(line.text));
    for (int i = 0; i < 10; ++i) say(next++);
  }
  EXPECT_EQ(drain(*stream, seen), State::waiting);
  EXPECT_EQ(lost, 0U);
  ASSERT_EQ(seen.size(), static_cast<std::size_t>(next));
  for (int i = 0; i < next; ++i) EXPECT_EQ(seen[static_cast<std::size_t>(i)], i);
}

TEST_F(LogStreamTest, WakesOnceWhenThereIsSomethingAgain) {
  auto stream = open({}, true);
  std::vector<int> seen;
  EXPECT_EQ(drain(*stream, seen), State::waiting);
  say(1);
  say(2);
  EXPECT_EQ(woken, 1);
  EXPECT_EQ(drain(*stream, seen), State::waiting);
  say(3);
  EXPECT_EQ(woken, 2);
  drain(*stream, seen);
  EXPECT_EQ(seen, (std::vector<int>{1, 2, 3}));
}

TEST_F(LogStreamTest, OthersLinesAreNotFollowed) {
  auto stream = open({.app = "db"}, true);
  std::vector<int> seen;
  drain(*stream, seen);
  say(1);
  EXPECT_EQ(woken, 0);
  EXPECT_EQ(drain(*stream, seen), State::waiting);
  EXPECT_TRUE(seen.empty());
}

TEST_F(LogStreamTest, ASlowReaderLosesTheOldestAndIsTold) {
  auto stream = open({}, true);
  std::vector<int> seen;
  drain(*stream, seen);
  constexpr int count = 40'000;  // more than log_stream_bytes_max holds
  for (int i = 0; i < count; i += 1000) {
    std::string lines;
    for (int k = i; k < i + 1000; ++k) lines += std::to_string(k) + "\n";
    put(pipe.write_end, lines);
    ASSERT_TRUE(loop.until([&] {
      const auto tail = logs->tail({"web", 0});
      return !tail.empty() && tail.back().text == std::to_string(i + 999);
    }));
  }
  EXPECT_EQ(drain(*stream, seen, 1000), State::waiting);
  EXPECT_GT(lost, 0U);
  ASSERT_FALSE(seen.empty());
  EXPECT_EQ(seen.back(), count - 1);
  EXPECT_EQ(lost + seen.size(), static_cast<std::uint64_t>(count));
  EXPECT_EQ(static_cast<std::uint64_t>(seen.front()), lost);
}

TEST_F(LogStreamTest, EndsWhileItFollows) {
  auto stream = open({}, true);
  stream.reset();
  say(1);
  EXPECT_EQ(woken, 0);
}

}  // namespace
}  // namespace muster::supervisor
