#include "supervisor/log_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "leaf_rig.h"
#include "supervisor/text.h"

namespace muster::supervisor {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

WallTime second(int value) {
  return WallTime{std::chrono::seconds{1'767'225'600 + value}};
}

std::string line(int at, const std::string& text) {
  return rfc3339_ms(second(at)) + " out " + text + "\n";
}

struct Ask {
  std::string app = "";
  std::optional<int> ordinal = std::nullopt;
  std::optional<std::size_t> tail = std::nullopt;
  std::optional<WallTime> since = std::nullopt;
  [[nodiscard]] LogQuery query() const { return {app, ordinal, tail, since}; }
};

class LogReaderTest : public testing::Test {
 protected:
  std::vector<std::string> read(const Ask& ask, std::size_t lines_max = 3) {
    auto reader = LogReader::open(folder.path(), ask.query());
    EXPECT_TRUE(reader.ok());
    return rest_of(reader.value(), lines_max);
  }
  static std::vector<std::string> rest_of(LogReader& reader, std::size_t lines_max = 3) {
    std::vector<std::string> texts;
    for (bool more = true; more;) {
      std::vector<StoredLine> lines;
      more = reader.read_some(lines, lines_max);
      EXPECT_LE(lines.size(), lines_max);
      for (const StoredLine& read : lines) texts.push_back(to_string(read.replica) + " " + read.text);
    }
    return texts;
  }
  TempFolder folder;
};

TEST_F(LogReaderTest, NoFilesAreNoError) {
  EXPECT_THAT(read({}), IsEmpty());
  EXPECT_TRUE(LogReader::open(folder / "none", {}).ok());
  write_file(folder / "file", "");
  EXPECT_FALSE(LogReader::open(folder / "file", {}).ok());
}

TEST_F(LogReaderTest, AnAccessLogIsNoReplicasWhateverItsName) {
  write_file(folder / "access-web-2.log", line(1, "a"));
  write_file(folder / "access-web-3.log", line(2, "b"));
  LogQuery query;
  query.access_logs = {"access-web-2"};
  auto reader = LogReader::open(folder.path(), query);
  ASSERT_TRUE(reader.ok());
  EXPECT_THAT(rest_of(reader.value()), ElementsAre("access-web/3 b"));
}

TEST_F(LogReaderTest, MergesSlotsAndRotatedFilesByTime) {
  write_file(folder / "web-0.log.2", line(1, "a"));
  write_file(folder / "web-0.log.1", line(3, "c") + line(5, "e"));
  write_file(folder / "web-0.log", line(7, "g"));
  write_file(folder / "web-1.log", line(2, "b") + line(6, "f"));
  write_file(folder / "db-0.log", line(4, "d"));
  write_file(folder / "access-web.log", "not ours\n");
  EXPECT_THAT(read({}),
              ElementsAre("web/0 a", "web/1 b", "web/0 c", "db/0 d", "web/0 e", "web/1 f", "web/0 g"));
  EXPECT_THAT(read({.app = "web"}, 1),
              ElementsAre("web/0 a", "web/1 b", "web/0 c", "web/0 e", "web/1 f", "web/0 g"));
  EXPECT_THAT(read({.app = "web", .ordinal = 1}), ElementsAre("web/1 b", "web/1 f"));
  EXPECT_THAT(read({.app = "web", .tail = 2}), ElementsAre("web/1 b", "web/0 e", "web/1 f", "web/0 g"));
  EXPECT_THAT(read({.app = "web", .ordinal = 0, .tail = 3}), ElementsAre("web/0 c", "web/0 e", "web/0 g"));
  EXPECT_THAT(read({.tail = 0}), IsEmpty());
  EXPECT_THAT(read({.app = "nobody"}), IsEmpty());
}

TEST_F(LogReaderTest, SinceCutsTheBeginning) {
  write_file(folder / "web-0.log.1", line(1, "a") + line(2, "b"));
  write_file(folder / "web-0.log", line(3, "c") + line(4, "d"));
  EXPECT_THAT(read({.since = second(2)}), ElementsAre("web/0 b", "web/0 c", "web/0 d"));
  EXPECT_THAT(read({.tail = 3, .since = second(4)}), ElementsAre("web/0 d"));
  EXPECT_THAT(read({.since = second(5)}), IsEmpty());
}

TEST_F(LogReaderTest, EveryTailIsExact) {
  std::vector<std::string> all;
  std::string text;
  int generation = 7;
  for (int i = 0; i < 80; ++i) {
    text += line(i, std::to_string(i) + std::string(static_cast<std::size_t>(i * 37 % 9000), 'x'));
    all.push_back("web/0 " + std::to_string(i));
    if (i % 10 != 9) continue;
    write_file(folder / ("web-0.log" + (generation > 0 ? "." + std::to_string(generation) : "")), text);
    --generation;
    text.clear();
  }
  for (std::size_t tail = 0; tail <= 85; ++tail) {
    const auto lines = read({.tail = tail}, 100);
    ASSERT_EQ(lines.size(), std::min<std::size_t>(tail, 80)) << tail;
    for (std::size_t i = 0; i < lines.size(); ++i)
      EXPECT_TRUE(lines[i].starts_with(all[80 - lines.size() + i])) << tail << " " << lines[i].substr(0, 20);
  }
}

TEST_F(LogReaderTest, ATornLastLineIsALine) {
  write_file(folder / "web-0.log", line(1, "a") + "2026-01-01T00:00:02.000Z out torn");
  EXPECT_THAT(read({}), ElementsAre("web/0 a", "web/0 torn"));
  EXPECT_THAT(read({.tail = 1}), ElementsAre("web/0 torn"));
}

TEST_F(LogReaderTest, RawBytesWithoutLinesAreCut) {
  write_file(folder / "web-0.log", std::string(1'000'000, 'x'));
  std::size_t sum = 0;
  for (const std::string& text : read({})) sum += text.size() - 6;
  EXPECT_EQ(sum, 1'000'000U);
}

TEST_F(LogReaderTest, WhatIsAppendedLaterIsNotRead) {
  write_file(folder / "web-0.log", line(1, "a"));
  auto reader = LogReader::open(folder.path(), {});
  append_file(folder / "web-0.log", line(2, "b"));
  write_file(folder / "web-1.log", line(2, "c"));
  EXPECT_THAT(rest_of(reader.value()), ElementsAre("web/0 a"));
}

TEST_F(LogReaderTest, RotationMeanwhileLosesNothing) {
  write_file(folder / "web-0.log.1", line(1, "a") + line(2, "b"));
  write_file(folder / "web-0.log", line(3, "c") + line(4, "d"));
  auto reader = LogReader::open(folder.path(), {});
  std::vector<StoredLine> first;
  ASSERT_TRUE(reader.value().read_some(first, 1));
  std::filesystem::rename(folder / "web-0.log.1", folder / "web-0.log.2");
  std::filesystem::rename(folder / "web-0.log", folder / "web-0.log.1");
  write_file(folder / "web-0.log", line(5, "new"));
  EXPECT_EQ(first[0].text, "a");
  EXPECT_THAT(rest_of(reader.value()), ElementsAre("web/0 b", "web/0 c", "web/0 d"));
}

TEST_F(LogReaderTest, AFileThatIsRemovedMeanwhileIsLeftOut) {
  write_file(folder / "web-0.log.1", line(1, std::string(9000, 'a')) + line(2, std::string(9000, 'b')));
  write_file(folder / "web-0.log", line(3, "c"));
  auto reader = LogReader::open(folder.path(), {});
  unlink((folder / "web-0.log.1").c_str());
  EXPECT_THAT(rest_of(reader.value()), ElementsAre("web/0 c"));
}

TEST_F(LogReaderTest, ACallIsBounded) {
  std::string text;
  for (int i = 0; i < 60'000; ++i) text += line(i, "x");
  write_file(folder / "web-0.log", text);
  auto reader = LogReader::open(folder.path(), Ask{.since = second(60'000 - 1)}.query());
  std::vector<StoredLine> lines;
  EXPECT_TRUE(reader.value().read_some(lines, 10)) << "1 MiB does not reach the line";
  EXPECT_TRUE(lines.empty());
  EXPECT_EQ(rest_of(reader.value()).size(), 1U);
}

TEST_F(LogReaderTest, AHugeTailGoesBackEightMebibytes) {
  std::string text;
  const std::string filler(970, 'y');
  for (int i = 0; i < 12'000; ++i) text += line(i, filler);
  write_file(folder / "web-0.log", text);
  const auto lines = read({.tail = 1'000'000}, 1000);
  EXPECT_LT(lines.size(), 9'000U);
  EXPECT_GT(lines.size(), 8'000U);
  for (const std::string& got : lines) ASSERT_EQ(got.size(), 6 + filler.size());
}

}  // namespace
}  // namespace muster::supervisor
