// When which offset from UTC holds in a time zone: the files of tzdata (TZif, RFC 8536) and the rules of TZ as POSIX
// writes them, which such a file ends with. Pure: bytes and text in, values out.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace muster::spec {

// Seconds since 1970 without leap seconds, in UTC or on a zone's clocks.
using Seconds = std::int64_t;

// A stretch of time in which the clocks are one fixed offset ahead of UTC.
struct ZonePeriod {
  Seconds begin = 0;  // of UTC
  Seconds end = 0;    // the first second after it
  Seconds offset = 0;
};

class TimeZone {
 public:
  TimeZone() = default;  // UTC

  static Result<TimeZone> from_tzif(std::string_view bytes);
  // "CET-1CEST,M3.5.0,M10.5.0/3"; none when it is no such rule.
  static std::optional<TimeZone> from_posix(std::string_view rule);

  [[nodiscard]] ZonePeriod period_at(Seconds utc) const;
  bool operator==(const TimeZone&) const = default;

 private:
  // When in a year the clocks are changed.
  struct Change {
    enum class Kind { month_week_day, day_of_year, day_without_leap } kind = Kind::month_week_day;
    int month = 0;
    int week = 0;  // 5 is the last
    int day = 0;
    Seconds time = 7200;                       // after the midnight of that day, by the clocks until then
    [[nodiscard]] Seconds at(int year) const;  // by the clocks
    bool operator==(const Change&) const = default;
  };
  struct Rule {
    Seconds standard = 0;
    std::optional<Seconds> summer;
    Change begin;  // of summer time
    Change end;
    bool operator==(const Rule&) const = default;
  };
  class RuleReader;
  class FileReader;
  static ZonePeriod period_by(const Rule& rule, Seconds utc);

  Seconds first_offset_ = 0;                              // before the first transition
  std::vector<std::pair<Seconds, Seconds>> transitions_;  // since when which offset holds
  std::optional<Rule> rule_;                              // after the last of them
};

}  // namespace muster::spec
