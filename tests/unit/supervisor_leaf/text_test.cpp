#include "supervisor/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace muster::supervisor {
namespace {

WallTime at(long long millis) {
  return WallTime{Millis{millis}};
}

TEST(Times, AreWrittenInUtc) {
  struct Case {
    long long millis;
    const char* with_millis;
    const char* seconds;
  };
  for (const Case& c : {Case{0, "1970-01-01T00:00:00.000Z", "1970-01-01T00:00:00Z"},
                        Case{1767225600000, "2026-01-01T00:00:00.000Z", "2026-01-01T00:00:00Z"},
                        Case{951782399999, "2000-02-28T23:59:59.999Z", "2000-02-28T23:59:59Z"},
                        Case{951782400001, "2000-02-29T00:00:00.001Z", "2000-02-29T00:00:00Z"},
                        Case{-1, "1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59Z"}}) {
    EXPECT_EQ(rfc3339_ms(at(c.millis)), c.with_millis);
    EXPECT_EQ(rfc3339_s(at(c.millis)), c.seconds);
    EXPECT_EQ(parse_rfc3339(c.with_millis), at(c.millis)) << c.with_millis;
  }
}

TEST(Times, AreReadWithOffsetAndFraction) {
  EXPECT_EQ(parse_rfc3339("2026-01-01T02:00:00+02:00"), at(1767225600000));
  EXPECT_EQ(parse_rfc3339("2025-12-31T18:30:00-0530"), at(1767225600000));
  EXPECT_EQ(parse_rfc3339("2026-01-01t00:00:00.5z"), at(1767225600500));
  EXPECT_EQ(parse_rfc3339("2026-01-01 00:00:00.000000001Z"), WallTime{Millis{1767225600000}} + Nanos{1});
}

TEST(Times, ThatAreNoneAreRefused) {
  for (const char* text :
       {"", "2026", "2026-01-01", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z",
        "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z", "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00.1234567890Z", "2026-01-01T00:00:00Zx", "2026-01-01T00:00:00+2:00",
        "1600-01-01T00:00:00Z", "9999-01-01T00:00:00Z", " 2026-01-01T00:00:00Z", "2026-1-01T00:00:00Z"})
    EXPECT_EQ(parse_rfc3339(text), std::nullopt) << text;
}

TEST(Since, IsALengthOrATime) {
  const WallTime now = at(1767225600000);
  struct Case {
    const char* text;
    Millis back;
  };
  for (const Case& c : {Case{"250ms", Millis{250}}, Case{"90s", Millis{90000}}, Case{"5m", Millis{300000}},
                        Case{"1h30m", Millis{5400000}}, Case{"2d", Millis{172800000}}, Case{"0s", Millis{0}},
                        Case{"999999999d", Millis{std::chrono::hours{24} * 36525}}})
    EXPECT_EQ(parse_since(c.text, now), now - c.back) << c.text;
  EXPECT_EQ(parse_since("2026-01-01T00:00:00Z", at(5)), now);
  EXPECT_EQ(parse_since("2999-01-01T00:00:00Z", now), WallTime::max());
  EXPECT_EQ(parse_since("0001-01-01T00:00:00Z", now), WallTime::min());
  EXPECT_EQ(parse_since("2999-13-01T00:00:00Z", now), std::nullopt);
  for (const char* text :
       {"", "5", "m", "5x", "-5m", "5 m", "5m ", "99999999999999999999s", "1.5h", "yesterday"})
    EXPECT_EQ(parse_since(text, now), std::nullopt) << text;
}

TEST(Secrets, AreKnownByTheirNames) {
  for (const char* name : {"DB_PASS", "password", "ApiToken", "SECRET", "SSH_KEY_FILE", "monkey"})
    EXPECT_TRUE(is_secret_name(name)) << name;
  for (const char* name : {"", "PORT", "PAS", "PATH", "TOKE"}) EXPECT_FALSE(is_secret_name(name)) << name;
}

TEST(Secrets, AreMasked) {
  EXPECT_EQ(mask_assignment("DB_PASS=x=y"), "DB_PASS=********");
  EXPECT_EQ(mask_assignment("--api-token=abc"), "--api-token=********");
  EXPECT_EQ(mask_assignment("PORT=80"), "PORT=80");
  EXPECT_EQ(mask_assignment("a token"), "a token");
  EXPECT_EQ(mask_argv({"db", "--password", "hunter2", "--port", "1", "--key=k", "tail"}),
            "db --password ******** --port 1 --key=******** tail");
  EXPECT_EQ(mask_argv({"x", "--token"}), "x --token");
}

TEST(Utf8, KnowsWholeCharacters) {
  struct Case {
    std::string text;
    std::size_t bytes;
  };
  for (const Case& c : {Case{"", 0}, Case{"a", 1}, Case{std::string(1, '\0'), 1}, Case{"\xC3\xA4x", 2},
                        Case{"\xE2\x82\xAC", 3}, Case{"\xF0\x9F\x98\x80", 4}, Case{"\x80", 0},
                        Case{"\xC0\x80", 0}, Case{"\xC1\xBF", 0}, Case{"\xC3", 0}, Case{"\xE0\x9F\xBF", 0},
                        Case{"\xED\xA0\x80", 0}, Case{"\xF0\x8F\xBF\xBF", 0}, Case{"\xF4\x90\x80\x80", 0},
                        Case{"\xF5\x80\x80\x80", 0}, Case{"\xFF", 0}, Case{"\xE2\x82", 0}})
    EXPECT_EQ(utf8_char_bytes(c.text), c.bytes) << testing::PrintToString(c.text);
}

TEST(Terminal, GetsNoControlBytes) {
  EXPECT_EQ(escape_for_terminal("a\tb"), "a\tb");
  EXPECT_EQ(escape_for_terminal("\x1b[31m"), "\\x1b[31m");
  EXPECT_EQ(escape_for_terminal("\xC2\x9B"
                                "31m"),
            "\\xc2\\x9b31m");  // CSI as one character of C1
  EXPECT_EQ(escape_for_terminal("\x7F\n\r"), "\\x7f\\x0a\\x0d");
  EXPECT_EQ(escape_for_terminal("\xFF\xC3\xA4"), "\\xff\xC3\xA4");
}

TEST(Json, StringsAreAlwaysValid) {
  std::string text;
  append_json_string(text, "a\"b\\c\n\t\r\x01\xFF\xC3\xA4");
  EXPECT_EQ(text, "\"a\\\"b\\\\c\\n\\t\\r\\u0001\\\\xff\xC3\xA4\"");
}

}  // namespace
}  // namespace muster::supervisor
