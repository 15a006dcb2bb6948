#include "supervisor/log_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "supervisor/log_match.h"
#include "supervisor/text.h"

namespace muster::supervisor {
namespace {

using testing::ElementsAre;

const ReplicaId web{"web", 2};
const WallTime new_year{Millis{1767225600000}};

std::string line(spec::LogFormat format, Stream stream, std::string_view text) {
  std::string to;
  append_log_line(to, format, web, new_year, stream, text);
  return to;
}

TEST(LogLine, IsWrittenInThreeWays) {
  EXPECT_EQ(line(spec::LogFormat::text, Stream::out, "hello"), "2026-01-01T00:00:00.000Z out hello\n");
  EXPECT_EQ(line(spec::LogFormat::text, Stream::err, ""), "2026-01-01T00:00:00.000Z err \n");
  EXPECT_EQ(line(spec::LogFormat::json, Stream::err, "a\"b"),
            R"({"time":"2026-01-01T00:00:00.000Z","stream":"err","app":"web","ordinal":2,"text":"a\"b"})"
            "\n");
  EXPECT_EQ(line(spec::LogFormat::raw, Stream::out, "hello"), "hello\n");
}

TEST(LogLine, IsReadBackWhateverWayItWasWritten) {
  for (const auto format : {spec::LogFormat::text, spec::LogFormat::json}) {
    for (const char* text :
         {"", "hello", "2026-01-01T00:00:00.000Z out twice", "{\"time\":1}", "\xC3\xA4\tx"}) {
      std::string written = line(format, Stream::err, text);
      written.pop_back();
      EXPECT_EQ(parse_log_line(web, written, WallTime{}), (StoredLine{web, new_year, Stream::err, text}));
    }
  }
  for (const char* raw :
       {"", "hello", "2026-01-01T00:00:00.000Z", "2026-01-01T00:00:00.000Z foo x",
        "2026-13-01T00:00:00.000Z out x", "{\"time\":\"x\"", "{\"time\":\"2026-01-01T00:00:00.000Z\"}"})
    EXPECT_EQ(parse_log_line(web, raw, new_year), (StoredLine{web, new_year, Stream::out, raw})) << raw;
}

// Feeds `bytes` in two pieces.
std::vector<std::string> split(std::string_view bytes, std::size_t at) {
  std::vector<std::string> lines;
  LineSplitter splitter;
  const auto keep = [&](std::string_view text) { lines.emplace_back(text); };
  splitter.feed(bytes.substr(0, at), keep);
  splitter.feed(bytes.substr(at), keep);
  splitter.flush(keep);
  EXPECT_FALSE(splitter.has_rest());
  return lines;
}

TEST(LineSplitter, DoesNotCareHowTheBytesCome) {
  const std::string bytes = "one\ntwo\r\n\n\r\nthr\ree\r\nrest";
  for (std::size_t at = 0; at <= bytes.size(); ++at)
    EXPECT_THAT(split(bytes, at), ElementsAre("one", "two", "", "", "thr\ree", "rest")) << at;
}

TEST(LineSplitter, ByteByByteIsTheSame) {
  const std::string bytes = "a\r\n\xE2\x82\xAC\nb";
  std::vector<std::string> lines;
  LineSplitter splitter;
  const auto keep = [&](std::string_view text) { lines.emplace_back(text); };
  for (const char byte : bytes) splitter.feed({&byte, 1}, keep);
  EXPECT_TRUE(splitter.has_rest());
  splitter.flush(keep);
  EXPECT_THAT(lines, ElementsAre("a", "\xE2\x82\xAC", "b"));
}

TEST(LineSplitter, LongLinesAreCut) {
  const std::size_t most = limits::log_line_bytes_max;
  ASSERT_EQ(most, 16384U);
  for (const std::size_t size : {most - 1, most, most + 1, 2 * most, 3 * most + 5}) {
    for (const std::size_t at : {std::size_t{0}, std::size_t{1}, most - 1, std::min(most, size), size}) {
      const auto lines = split(std::string(size, 'x') + "\ny\n", std::min(at, size));
      std::size_t sum = 0;
      for (const std::string& text : lines) {
        EXPECT_LE(text.size(), most);
        sum += text.size();
      }
      EXPECT_EQ(sum, size + 1) << size << " at " << at;
      EXPECT_EQ(lines.size(), (size + most - 1) / most + 1) << size << " at " << at;
      EXPECT_EQ(lines.back(), "y");
    }
  }
}

TEST(LineSplitter, CutsBetweenCharacters) {
  for (std::size_t shift = 0; shift < 4; ++shift) {
    std::string text(shift, 'a');
    while (text.size() < 2 * limits::log_line_bytes_max) text += "\xF0\x9F\x98\x80";
    for (const std::size_t at : {std::size_t{0}, std::size_t{5000}, limits::log_line_bytes_max - 1,
                                 limits::log_line_bytes_max, limits::log_line_bytes_max + 1}) {
      std::string all;
      for (const std::string& cut : split(text, at)) {
        EXPECT_LE(cut.size(), limits::log_line_bytes_max);
        EXPECT_EQ(escape_for_terminal(cut), cut) << "half a character at " << at;
        all += cut;
      }
      EXPECT_EQ(all, text);
    }
  }
}

TEST(LineSplitter, BytesThatAreNoTextGetThroughToo) {
  const std::string garbage(3 * limits::log_line_bytes_max, '\x80');
  for (const std::size_t at : {std::size_t{0}, std::size_t{1}, std::size_t{20000}}) {
    std::string all;
    for (const std::string& cut : split(garbage, at)) all += cut;
    EXPECT_EQ(all, garbage);
  }
}

TEST(LogTail, KeepsTheLastTwenty) {
  LogTail tail;
  EXPECT_TRUE(tail.lines(web).empty());
  for (int i = 0; i < 50; ++i)
    tail.add(new_year + Millis{i}, i % 2 ? Stream::err : Stream::out, std::to_string(i));
  const auto lines = tail.lines(web);
  ASSERT_EQ(lines.size(), LogTail::lines_max);
  EXPECT_EQ(lines.front(), (StoredLine{web, new_year + Millis{30}, Stream::out, "30"}));
  EXPECT_EQ(lines.back(), (StoredLine{web, new_year + Millis{49}, Stream::err, "49"}));
}

TEST(LogTail, IsBoundedInBytes) {
  LogTail tail;
  for (int i = 0; i < 50; ++i)
    tail.add(new_year, Stream::out, std::string(10000, static_cast<char>('a' + i % 26)));
  std::size_t sum = 0;
  for (const StoredLine& kept : tail.lines(web)) {
    EXPECT_EQ(kept.text.size(), LogTail::line_bytes_max);
    sum += kept.text.size();
  }
  EXPECT_LE(sum, LogTail::bytes_max);
  EXPECT_GE(sum, LogTail::bytes_max / 2);
  EXPECT_EQ(tail.lines(web).back().text[0], static_cast<char>('a' + 49 % 26));
}

TEST(LogMatcher, Searches) {
  const auto matcher = LogMatcher::compile("listening on [0-9]+$");
  ASSERT_TRUE(matcher.ok());
  EXPECT_TRUE(matcher.value().matches("I am listening on 80"));
  EXPECT_FALSE(matcher.value().matches("I am listening on eighty"));
  EXPECT_FALSE(matcher.value().matches(std::string(limits::log_match_bytes_max, 'x') + "listening on 80"));
}

TEST(LogMatcher, RefusesWhatItCannotBound) {
  EXPECT_FALSE(LogMatcher::compile("(").ok());
  EXPECT_FALSE(LogMatcher::compile("(a)\\1").ok());
}

TEST(LogMatcher, IsNotHeldUpByEvilPatterns) {
  const auto matcher = LogMatcher::compile("(a*)*b");
  ASSERT_TRUE(matcher.ok());
  EXPECT_FALSE(matcher.value().matches(std::string(100, 'a')));  // 2^100 ways for a matcher that backtracks
}

}  // namespace
}  // namespace muster::supervisor
