// When a job is due: the five fields of crontab(5) and their arithmetic, as Vixie's and Debian's cron have them. Pure:
// time is an argument.
//
// A day matches when its month does, and its day of the month and its day of the week; when neither of these two
// begins with '*', one of them is enough.
//
// Where the clocks are changed by less than three hours, schedules of fixed times run all the same: times that are
// skipped are due at once when the clocks have jumped, all of them together, and of times that come twice the first
// one counts. A schedule whose minute or hour begins with '*' goes by what the clocks show. After a larger change
// everything does: it is a correction.
#pragma once

#include <bitset>
#include <chrono>
#include <optional>
#include <string>

#include "base/time.h"
#include "spec/time_zone.h"

namespace muster::spec {

// A change of the clocks from here on is a correction, not a summer's beginning or end.
inline constexpr std::chrono::hours clock_correction_min{3};

struct Cron {
  std::string text;  // as written
  std::bitset<60> minutes;
  std::bitset<24> hours;
  std::bitset<32> days;     // from 1
  std::bitset<13> months;   // from 1
  std::bitset<7> weekdays;  // Sunday is 0
  bool any_day = false;     // the field begins with '*'
  bool any_weekday = false;
  bool follows_clock = false;  // its minute or hour begins with '*'
  bool operator==(const Cron&) const = default;
};

// The first time after `after` at which it is due; none within the next 60 years.
std::optional<WallTime> next_due(const Cron& cron, const TimeZone& zone, WallTime after);

}  // namespace muster::spec
