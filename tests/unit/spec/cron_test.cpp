#include "spec/cron.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "fmt/core.h"
#include "spec/cron_text.h"

namespace muster::spec {
namespace {

Cron cron(const std::string& text) {
  auto parsed = parse_cron(text);
  EXPECT_TRUE(parsed.ok()) << text << ": " << (parsed ? "" : parsed.error().message);
  return parsed ? parsed.value() : Cron{};
}

// The rules as the zones have had them since 2008, as tzdata writes them.
TimeZone zone(const std::string& name) {
  const auto rule = name == "Europe/Berlin"      ? TimeZone::from_posix("CET-1CEST,M3.5.0,M10.5.0/3")
                    : name == "America/New_York" ? TimeZone::from_posix("EST5EDT,M3.2.0,M11.1.0")
                    : name == "Australia/Lord_Howe"
                        ? TimeZone::from_posix("<+1030>-10:30<+11>-11,M10.1.0,M4.1.0")
                        : std::optional(TimeZone{});
  EXPECT_TRUE(rule) << name;
  return rule.value_or(TimeZone{});
}

// "2026-03-29T01:00" of UTC.
WallTime utc(const std::string& text) {
  int year = 0;
  unsigned month = 0;
  unsigned day = 0;
  int hour = 0;
  int minute = 0;
  EXPECT_EQ(std::sscanf(text.c_str(), "%d-%u-%uT%d:%d", &year, &month, &day, &hour, &minute), 5) << text;
  const std::chrono::sys_days date{std::chrono::year{year} / std::chrono::month{month} /
                                   std::chrono::day{day}};
  return date + std::chrono::hours{hour} + std::chrono::minutes{minute};
}

std::string text(std::optional<WallTime> at) {
  if (!at) return "never";
  const auto day = std::chrono::floor<std::chrono::days>(*at);
  const std::chrono::year_month_day date{day};
  const auto minutes = std::chrono::floor<std::chrono::minutes>(*at - day).count();
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), minutes / 60,
                     minutes % 60);
}

std::vector<std::string> runs(const std::string& schedule, const TimeZone& zone, const std::string& after,
                              std::size_t count) {
  std::vector<std::string> found;
  std::optional<WallTime> at = utc(after);
  const Cron parsed = cron(schedule);
  while (at && found.size() < count) {
    at = next_due(parsed, zone, *at);
    found.push_back(text(at));
  }
  return found;
}

struct Case {
  const char* zone;
  const char* schedule;
  const char* after;  // of UTC, as the runs
  std::vector<std::string> runs;
};

class Due : public testing::TestWithParam<Case> {};

TEST_P(Due, AsCronHasIt) {
  const Case& given = GetParam();
  EXPECT_EQ(runs(given.schedule, zone(given.zone), given.after, given.runs.size()), given.runs)
      << given.zone << " " << given.schedule;
}

INSTANTIATE_TEST_SUITE_P(
    Plain, Due,
    testing::Values(
        Case{"UTC", "30 2 * * *", "2026-01-01T02:30", {"2026-01-02T02:30", "2026-01-03T02:30"}},
        Case{"UTC",
             "*/20 * * * *",
             "2026-01-01T00:00",
             {"2026-01-01T00:20", "2026-01-01T00:40", "2026-01-01T01:00"}},
        Case{"UTC", "0 9-17/4 * * mon-fri", "2026-01-02T14:00", {"2026-01-02T17:00", "2026-01-05T09:00"}},
        Case{"UTC", "0 0 29 2 *", "2026-01-01T00:00", {"2028-02-29T00:00", "2032-02-29T00:00"}},
        Case{"UTC", "0 0 29 2 *", "2096-03-01T00:00", {"2104-02-29T00:00"}},
        Case{"UTC",
             "0 0 13 * fri",
             "2026-01-30T00:00",
             {"2026-02-06T00:00", "2026-02-13T00:00", "2026-02-20T00:00"}},
        Case{"UTC", "0 0 */2 * mon", "2026-01-01T00:00", {"2026-01-05T00:00", "2026-01-19T00:00"}},
        Case{"UTC", "0 0 31 * *", "2026-01-31T00:00", {"2026-03-31T00:00", "2026-05-31T00:00"}},
        Case{"UTC", "0 12 * * 7", "2026-01-01T00:00", {"2026-01-04T12:00"}},
        Case{"UTC",
             "0 12 * * fri-sun",
             "2026-01-01T00:00",
             {"2026-01-02T12:00", "2026-01-03T12:00", "2026-01-04T12:00", "2026-01-09T12:00"}},
        Case{"UTC", "@weekly", "2026-01-01T00:00", {"2026-01-04T00:00"}},
        Case{"UTC", "@yearly", "2026-01-01T00:00", {"2027-01-01T00:00"}},
        Case{"UTC", "59 23 31 DEC *", "2026-12-31T23:59", {"2027-12-31T23:59"}}));

// Clocks go forward in Berlin at 01:00 UTC from 2:00 to 3:00, in New York at 07:00 UTC from 2:00 to 3:00, on Lord Howe
// at 15:30 UTC from 2:00 to 2:30.
INSTANTIATE_TEST_SUITE_P(
    Forward, Due,
    testing::Values(
        Case{"Europe/Berlin", "30 2 * * *", "2026-03-28T12:00", {"2026-03-29T01:00", "2026-03-30T00:30"}},
        Case{
            "Europe/Berlin", "0,15,30 2 * * *", "2026-03-28T12:00", {"2026-03-29T01:00", "2026-03-30T00:00"}},
        Case{"Europe/Berlin", "0 3 * * *", "2026-03-28T12:00", {"2026-03-29T01:00", "2026-03-30T01:00"}},
        Case{"Europe/Berlin", "30 1 * * *", "2026-03-28T12:00", {"2026-03-29T00:30", "2026-03-29T23:30"}},
        Case{"Europe/Berlin", "30 * * * *", "2026-03-29T00:00", {"2026-03-29T00:30", "2026-03-29T01:30"}},
        Case{"Europe/Berlin", "*/30 2 * * *", "2026-03-28T12:00", {"2026-03-30T00:00", "2026-03-30T00:30"}},
        Case{"Europe/Berlin", "30 2 29 3 *", "2026-03-28T12:00", {"2026-03-29T01:00", "2027-03-29T00:30"}},
        Case{"America/New_York", "30 2 * * *", "2026-03-07T12:00", {"2026-03-08T07:00", "2026-03-09T06:30"}},
        Case{"America/New_York", "@daily", "2026-03-07T12:00", {"2026-03-08T05:00", "2026-03-09T04:00"}},
        Case{"America/New_York", "@hourly", "2026-03-08T05:30", {"2026-03-08T06:00", "2026-03-08T07:00"}},
        Case{"Australia/Lord_Howe",
             "15 2 * * *",
             "2026-10-03T12:00",
             {"2026-10-03T15:30", "2026-10-04T15:15"}},
        Case{"Australia/Lord_Howe",
             "30 2 * * *",
             "2026-10-03T12:00",
             {"2026-10-03T15:30", "2026-10-04T15:30"}},
        Case{"Australia/Lord_Howe",
             "15 * * * *",
             "2026-10-03T14:00",
             {"2026-10-03T14:45", "2026-10-03T16:15"}}));

// Back in Berlin at 01:00 UTC from 3:00 to 2:00, in New York at 06:00 UTC from 2:00 to 1:00, on Lord Howe at 15:00 UTC
// from 2:00 to 1:30.
INSTANTIATE_TEST_SUITE_P(
    Back, Due,
    testing::Values(
        Case{"Europe/Berlin", "30 2 * * *", "2026-10-24T12:00", {"2026-10-25T00:30", "2026-10-26T01:30"}},
        Case{"Europe/Berlin",
             "0,30 2 * * *",
             "2026-10-24T12:00",
             {"2026-10-25T00:00", "2026-10-25T00:30", "2026-10-26T01:00"}},
        Case{"Europe/Berlin", "0 3 * * *", "2026-10-24T12:00", {"2026-10-25T02:00"}},
        Case{"Europe/Berlin",
             "30 * * * *",
             "2026-10-25T00:00",
             {"2026-10-25T00:30", "2026-10-25T01:30", "2026-10-25T02:30"}},
        Case{"Europe/Berlin",
             "*/30 2 * * *",
             "2026-10-24T12:00",
             {"2026-10-25T00:00", "2026-10-25T00:30", "2026-10-25T01:00", "2026-10-25T01:30",
              "2026-10-26T01:00"}},
        Case{"America/New_York", "30 1 * * *", "2026-10-31T12:00", {"2026-11-01T05:30", "2026-11-02T06:30"}},
        Case{"America/New_York",
             "@hourly",
             "2026-11-01T04:30",
             {"2026-11-01T05:00", "2026-11-01T06:00", "2026-11-01T07:00"}},
        Case{"Australia/Lord_Howe",
             "45 1 * * *",
             "2026-04-04T12:00",
             {"2026-04-04T14:45", "2026-04-05T15:15"}},
        Case{
            "Australia/Lord_Howe", "0 2 * * *", "2026-04-04T12:00", {"2026-04-04T15:30", "2026-04-05T15:30"}},
        Case{"Australia/Lord_Howe",
             "45 * * * *",
             "2026-04-04T14:00",
             {"2026-04-04T14:45", "2026-04-04T15:15", "2026-04-04T16:15"}}));

TEST(Due, IsLaterThanTheMomentItIsAskedFor) {
  const Cron parsed = cron("* * * * *");
  const WallTime at = utc("2026-01-01T00:00");
  EXPECT_EQ(text(next_due(parsed, TimeZone{}, at)), "2026-01-01T00:01");
  EXPECT_EQ(text(next_due(parsed, TimeZone{}, at - Millis(1))), "2026-01-01T00:00");
  EXPECT_EQ(text(next_due(parsed, TimeZone{}, at + Millis(1))), "2026-01-01T00:01");
}

// Each local time of a year comes once, whatever the clocks did.
TEST(Due, AFixedTimeComesOnceADay) {
  for (const char* name : {"Europe/Berlin", "America/New_York", "Australia/Lord_Howe"}) {
    for (int half_hour = 0; half_hour < 48; ++half_hour) {
      const std::string schedule = fmt::format("{} {} * * *", half_hour % 2 * 30, half_hour / 2);
      const auto found = runs(schedule, zone(name), "2026-01-01T12:00", 365);
      EXPECT_LE(std::chrono::abs(utc(found.back()) - utc("2027-01-01T12:00")), std::chrono::hours(24))
          << name << " " << schedule;
    }
  }
}

// What tzdata has on this host says the same as the rules above, before and after the end of its tables.
TEST(TimeZones, FilesOfThisHostAgree) {
  for (const char* name : {"Europe/Berlin", "America/New_York", "Australia/Lord_Howe"}) {
    std::ifstream file(std::string("/usr/share/zoneinfo/") + name, std::ios::binary);
    if (!file) GTEST_SKIP() << "tzdata is not installed";
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    const auto read = TimeZone::from_tzif(bytes);
    ASSERT_TRUE(read.ok()) << name << read.error().message;
    for (const char* from :
         {"2009-01-01T00:00", "2026-01-01T00:00", "2036-06-01T00:00", "2090-01-01T00:00"}) {
      EXPECT_EQ(runs("30 2 * * *", read.value(), from, 800), runs("30 2 * * *", zone(name), from, 800))
          << name;
      EXPECT_EQ(runs("15 * * * *", read.value(), from, 9000), runs("15 * * * *", zone(name), from, 9000))
          << name;
    }
  }
}

TEST(TimeZones, NoCutFileIsRead) {
  std::ifstream file("/usr/share/zoneinfo/Europe/Berlin", std::ios::binary);
  if (!file) GTEST_SKIP() << "tzdata is not installed";
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  for (std::size_t length = 0; length < bytes.size(); ++length)
    EXPECT_FALSE(TimeZone::from_tzif(std::string_view(bytes).substr(0, length)).ok()) << length;
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    std::string wrong = bytes;
    wrong[at] = static_cast<char>(wrong[at] ^ 0xff);
    const auto read = TimeZone::from_tzif(wrong);  // whatever it is, it is bounded
    if (read) static_cast<void>(next_due(cron("30 2 * * *"), read.value(), utc("2026-01-01T00:00")));
  }
}

TEST(TimeZones, RulesAreReadStrictly) {
  for (const char* rule :
       {"UTC0", "CET-1CEST", "<-03>3", "IST-2IDT,M3.4.4/26,M10.5.0", "AAA1BBB,J60/2,300/-1:30"})
    EXPECT_TRUE(TimeZone::from_posix(rule)) << rule;
  for (const char* rule : {"", "CE-1", "CET", "CET-25", "CET-1CEST,M3.5.0", "CET-1CEST,M13.5.0,M10.5.0",
                           "CET-1CEST,M3.6.0,M10.5.0", "CET-1CEST,M3.5.7,M10.5.0", "CET-1CEST,J0,J5",
                           "CET-1CEST,M3.5.0,M10.5.0,", "<+1>-1", "Europe/Berlin"})
    EXPECT_FALSE(TimeZone::from_posix(rule)) << rule;
}

struct Wrong {
  const char* text;
  const char* message;
  const char* hint;
};

TEST(Schedules, SayWhatIsWrong) {
  for (const auto& [text, message, hint] :
       {Wrong{"0 3 * *", "has 4 fields, a schedule has 5", "minute, hour"},
        Wrong{"0 0 3 * * *", "has 6 fields", "no seconds"},
        Wrong{"", "has 0 fields", "minute, hour"},
        Wrong{"60 * * * *", "the minute '60': 60 is not from 0 to 59", ""},
        Wrong{"* 24 * * *", "the hour '24': 24 is not from 0 to 23", ""},
        Wrong{"* * 0 * *", "the day of the month '0': 0 is not from 1 to 31", ""},
        Wrong{"* * * 13 *", "the month '13'", ""},
        Wrong{"* * * * 8", "the day of the week '8'", ""},
        Wrong{"* * * * mno", "'mno' is no value", "did you mean 'mon'?"},
        Wrong{"* * * jun-feb *", "goes backwards", "write '6-12,1-2'"},
        Wrong{"* 22-5 * * *", "goes backwards", "write '22-23,0-5'"},
        Wrong{"5/10 * * * *", "a step needs a range", "'5-59/10', or '*/10'"},
        Wrong{"*/0 * * * *", "'0' is no step", ""},
        Wrong{"*/90 * * * *", "a step of 90 is longer", "begins anew"},
        Wrong{"1,,2 * * * *", "a value is missing", ""},
        Wrong{"-5 * * * *", "a value is missing", ""},
        Wrong{"0 12 ? * mon", "'?' is not known to cron", "'*' stands"},
        Wrong{"0 0 L * *", "'L' is not known to cron", ""},
        Wrong{"0 0 30 2 *", "never comes", ""},
        Wrong{"0 0 31 4,6,9,11 *", "never comes", ""},
        Wrong{"@reboot", "is no schedule of muster", "without `schedule` runs once per start"},
        Wrong{"@every 5m", "is not known to cron", "*/5"},
        Wrong{"@dayly", "is no schedule", "did you mean '@daily'?"},
        Wrong{"@ever", "is no schedule", "@hourly"}}) {
    const auto parsed = parse_cron(text);
    ASSERT_FALSE(parsed.ok()) << text;
    EXPECT_THAT(parsed.error().message, testing::HasSubstr(message)) << text;
    EXPECT_THAT(parsed.error().hint, testing::HasSubstr(hint)) << text;
  }
}

TEST(Schedules, OfADayThatComesBySomeOtherFieldAreFine) {
  for (const char* text : {"0 0 30 2 mon", "0 0 31 * *", "0 0 29 2 *", "0 0 29 2 */7", "  0\t0  1 1  * "})
    EXPECT_TRUE(parse_cron(text).ok()) << text;
}

}  // namespace
}  // namespace muster::spec
