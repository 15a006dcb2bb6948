#include "spec/literals.h"

#include <gtest/gtest.h>

namespace muster::spec {
namespace {

struct Good {
  const char* text;
  std::uint64_t value;
};

TEST(Durations, AreReadAsWritten) {
  for (const auto& [text, ms] :
       {Good{"250ms", 250}, Good{"5s", 5000}, Good{"1h30m", 5400000}, Good{"0s", 0}, Good{"1.5s", 1500},
        Good{"0.001s", 1}, Good{"1d", 86400000}, Good{"1m1s1ms", 61001}, Good{"36500d", 3153600000000}}) {
    const auto parsed = parse_duration(text);
    ASSERT_TRUE(parsed.ok()) << text;
    EXPECT_EQ(parsed.value(), Millis(static_cast<std::int64_t>(ms))) << text;
  }
}

TEST(Durations, OthersAreRefused) {
  for (const char* text :
       {"",      "s",    "5",     "5 s",     "-5s",   "+5s", "5S",  "5sec",   "5s5",
        "30m1h", "1s1s", "1.5ms", "1.2345s", "1..5s", ".5s", "1.s", "36501d", "99999999999999999999s",
        "1e3s",  "５s",  "5s\n"})
    EXPECT_FALSE(parse_duration(text).ok()) << text;
}

TEST(Durations, ABareNumberSuggestsItsUnit) {
  EXPECT_EQ(parse_duration("30").error().message, "a duration needs a unit");
  EXPECT_EQ(parse_duration("30").error().hint, "did you mean \"30s\"?");
}

TEST(Sizes, AreReadAsWritten) {
  for (const auto& [text, bytes] :
       {Good{"0B", 0}, Good{"512B", 512}, Good{"1KiB", 1024}, Good{"64MiB", 67108864},
        Good{"1.5GiB", 1610612736}, Good{"10GB", 10000000000}, Good{"1KB", 1000}, Good{"2MB", 2000000},
        Good{"1TB", 1000000000000}, Good{"3TiB", 3298534883328}}) {
    const auto parsed = parse_size(text);
    ASSERT_TRUE(parsed.ok()) << text;
    EXPECT_EQ(parsed.value(), bytes) << text;
  }
}

TEST(Sizes, OthersAreRefused) {
  for (const char* text : {"", "B", "5", "-1B", "1 MiB", "1PiB", "1.5B", "0.3KiB", "9999999TiB",
                           "99999999999999999999B", "MiB", "1MiBs", "0x10B"})
    EXPECT_FALSE(parse_size(text).ok()) << text;
}

TEST(Sizes, AHalfUnitIsAskedBack) {
  EXPECT_EQ(parse_size("64").error().hint, "did you mean \"64MiB\" or \"64B\"?");
  EXPECT_EQ(parse_size("64M").error().hint, "did you mean \"64MiB\"?");
  EXPECT_EQ(parse_size("64mib").error().hint, "did you mean \"64MiB\"?");
  EXPECT_EQ(parse_size("2Gi").error().hint, "did you mean \"2GiB\"?");
  EXPECT_EQ(parse_size("2gb").error().hint, "did you mean \"2GB\"?");
}

TEST(Modes, AreOctal) {
  EXPECT_EQ(parse_octal("022", 0777).value(), 022U);
  EXPECT_EQ(parse_octal("0750", 07777).value(), 0750U);
  EXPECT_EQ(parse_octal("0", 0777).value(), 0U);
  for (const char* text : {"", "8", "9", "0o22", "1000", "22 ", "-1", "000000"})
    EXPECT_FALSE(parse_octal(text, 0777).ok()) << text;
}

TEST(Signals, ByNameOrNumber) {
  EXPECT_EQ(parse_signal("TERM").value(), 15);
  EXPECT_EQ(parse_signal("SIGINT").value(), 2);
  EXPECT_EQ(parse_signal("10").value(), 10);
  for (const char* text : {"", "term", "STOP", "19", "SIG", "SIGSIGTERM", "65"})
    EXPECT_FALSE(parse_signal(text).ok()) << text;
}

TEST(RestartLimits, CountInWindow) {
  const auto limit = parse_restart_limit("10 in 5m");
  ASSERT_TRUE(limit.ok());
  EXPECT_EQ(limit.value(), (RestartLimit{10, Millis(300000)}));
  EXPECT_FALSE(parse_restart_limit("none").value());
  for (const char* text : {"", "10", "10 in", "10 in 5", "in 5m", "x in 5m", "10 in 0s", "-1 in 5m"})
    EXPECT_FALSE(parse_restart_limit(text).ok()) << text;
}

TEST(StatusRanges, OneOrSeveral) {
  EXPECT_EQ(parse_status_ranges("200-399").value(), (std::vector<StatusRange>{{200, 399}}));
  EXPECT_EQ(parse_status_ranges("204").value(), (std::vector<StatusRange>{{204, 204}}));
  EXPECT_EQ(parse_status_ranges("200, 301-302").value(), (std::vector<StatusRange>{{200, 200}, {301, 302}}));
  for (const char* text : {"", "99", "600", "300-200", "200-", "-200", "200,", "2xx"})
    EXPECT_FALSE(parse_status_ranges(text).ok()) << text;
}

TEST(Regexes, AreThoseThatTheMatcherTakes) {
  EXPECT_FALSE(regex_refusal("ready to accept (connections|clients)$"));
  EXPECT_TRUE(regex_refusal("(a)\\1"));
  EXPECT_TRUE(regex_refusal("("));
  EXPECT_TRUE(regex_refusal("[z-a]"));
  EXPECT_TRUE(regex_refusal("a{2,1}"));
  EXPECT_TRUE(regex_refusal(std::string(2000, 'a')));
}

TEST(Regexes, ThatUnfoldToTooManyStatesAreRefused) {
  EXPECT_TRUE(regex_refusal("((((a{99}){99}){99}){99}){99}"));
  EXPECT_TRUE(regex_refusal("a{999999999}"));
  EXPECT_TRUE(regex_refusal("(a{100}b{2,100}){3,40}"));
  EXPECT_TRUE(regex_refusal("a{99}{99}"));
  EXPECT_FALSE(regex_refusal("a{4000}"));
  EXPECT_FALSE(regex_refusal("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"));
  EXPECT_FALSE(regex_refusal("\\{{2}[)({]{3}\\d{1,3}(\\.\\d{1,3}){3}"));
}

}  // namespace
}  // namespace muster::spec
