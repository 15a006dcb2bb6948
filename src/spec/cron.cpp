#include "spec/cron.h"

#include <algorithm>

namespace muster::spec {

namespace {

using std::chrono::days;
using std::chrono::sys_days;

constexpr Seconds minute_seconds = 60;
constexpr Seconds day_seconds = 86400;
// The 29th of February on one day of the week comes after 40 years at the latest.
constexpr Seconds horizon = Seconds{60} * 366 * day_seconds;
constexpr Seconds correction = std::chrono::seconds(clock_correction_min).count();

Seconds floor_to(Seconds at, Seconds unit) {
  return (at >= 0 ? at / unit : -((-at + unit - 1) / unit)) * unit;
}

bool day_matches(const Cron& cron, sys_days date) {
  const std::chrono::year_month_day parts{date};
  if (!cron.months[static_cast<unsigned>(parts.month())]) return false;
  const bool day = cron.days[static_cast<unsigned>(parts.day())];
  const bool weekday = cron.weekdays[std::chrono::weekday{date}.c_encoding()];
  return cron.any_day || cron.any_weekday ? day && weekday : day || weekday;
}

// Of a day that matches; at or after `minute` of it.
std::optional<int> first_minute(const Cron& cron, int minute) {
  for (; minute < 24 * 60; ++minute) {
    if (!cron.hours[static_cast<std::size_t>(minute / 60)]) {
      minute = (minute / 60 + 1) * 60 - 1;
    } else if (cron.minutes[static_cast<std::size_t>(minute % 60)]) {
      return minute;
    }
  }
  return std::nullopt;
}

// What the clocks show at the first match from `from` until before `end`.
std::optional<Seconds> first_match(const Cron& cron, Seconds from, Seconds end) {
  from = floor_to(from + minute_seconds - 1, minute_seconds);
  while (from < end) {
    const Seconds midnight = floor_to(from, day_seconds);
    const sys_days date{days{static_cast<int>(midnight / day_seconds)}};
    if (day_matches(cron, date)) {
      const auto minute = first_minute(cron, static_cast<int>((from - midnight) / minute_seconds));
      const Seconds at = midnight + minute.value_or(0) * minute_seconds;
      if (minute) return at < end ? std::optional(at) : std::nullopt;
    }
    from = midnight + day_seconds;
    const std::chrono::year_month_day parts{date};
    if (cron.months[static_cast<unsigned>(parts.month())]) continue;
    const sys_days next_month{(parts.year() / parts.month() + std::chrono::months{1}) / 1};
    from = Seconds{next_month.time_since_epoch().count()} * day_seconds;
  }
  return std::nullopt;
}

WallTime wall(Seconds utc) {
  return WallTime{} + std::chrono::seconds{utc};
}

}  // namespace

std::optional<WallTime> next_due(const Cron& cron, const TimeZone& zone, WallTime after) {
  Seconds from =
      std::chrono::floor<std::chrono::seconds>(after.time_since_epoch()).count() + 1;  // of UTC, as all here
  const Seconds limit = from + horizon;
  while (from < limit) {
    const ZonePeriod period = zone.period_at(from);
    const ZonePeriod before = zone.period_at(period.begin - 1);
    const Seconds jump = period.offset - before.offset;
    const bool handled = !cron.follows_clock && jump > -correction && jump < correction;
    Seconds shown = from + period.offset;
    if (handled && jump > 0 && period.begin == from) {
      if (first_match(cron, from + before.offset, shown)) return wall(from);
    }
    if (handled && jump < 0) shown = std::max(shown, period.begin + before.offset);
    const Seconds end = std::min(period.end, limit);
    if (const auto found = first_match(cron, shown, end + period.offset)) return wall(*found - period.offset);
    from = end;
  }
  return std::nullopt;
}

}  // namespace muster::spec
