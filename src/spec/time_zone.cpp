#include "spec/time_zone.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <string>

namespace muster::spec {

namespace {

constexpr Seconds day_seconds = 86400;
constexpr Seconds ever = std::numeric_limits<Seconds>::max() / 4;  // room for an offset on either side
constexpr std::size_t header_bytes = 44;
constexpr std::uint32_t counted_max =
    10000;  // transitions or types of a zone; the largest known has some 240

Seconds seconds_of(std::chrono::sys_days at) {
  return Seconds{at.time_since_epoch().count()} * day_seconds;
}

int year_of(Seconds at) {
  const Seconds days = at >= 0 ? at / day_seconds : -((-at + day_seconds - 1) / day_seconds);
  // Far from any date that a schedule meets the calendar's own range ends.
  constexpr Seconds days_max = 5'000'000;
  const auto date =
      std::chrono::sys_days{std::chrono::days{static_cast<int>(std::clamp(days, -days_max, days_max))}};
  return static_cast<int>(std::chrono::year_month_day{date}.year());
}

}  // namespace

Seconds TimeZone::Change::at(int year) const {
  using std::chrono::days;
  using std::chrono::sys_days;
  const std::chrono::year y{year};
  const sys_days first{y / std::chrono::January / 1};
  if (kind == Kind::day_of_year) return seconds_of(first + days{day}) + time;
  if (kind == Kind::day_without_leap) {
    const bool after_february = y.is_leap() && day >= 60;
    return seconds_of(first + days{day - (after_february ? 0 : 1)}) + time;
  }
  const auto named = y / std::chrono::month{static_cast<unsigned>(month)};
  const std::chrono::weekday weekday{static_cast<unsigned>(day)};
  const sys_days date = week == 5 ? sys_days{named / weekday[std::chrono::last]}
                                  : sys_days{named / weekday[static_cast<unsigned>(week)]};
  return seconds_of(date) + time;
}

// std offset [dst [offset] , begin[/time] , end[/time]], as POSIX has it in its chapter 8.3 and RFC 8536 in 3.3.1.
class TimeZone::RuleReader {
 public:
  explicit RuleReader(std::string_view text) : text_(text) {}

  std::optional<Rule> read() {
    Rule rule;
    if (!name()) return std::nullopt;
    const auto west = time(24);
    if (!west) return std::nullopt;
    rule.standard = -*west;
    if (text_.empty()) return rule;
    if (!name()) return std::nullopt;
    rule.summer = rule.standard + 3600;
    if (!text_.empty() && text_.front() != ',') {
      const auto other = time(24);
      if (!other) return std::nullopt;
      rule.summer = -*other;
    }
    if (text_.empty()) text_ = ",M3.2.0,M11.1.0";  // what implementations take where nothing is said
    const auto begin = change();
    const auto end = begin ? change() : std::nullopt;
    if (!end || !text_.empty()) return std::nullopt;
    rule.begin = *begin;
    rule.end = *end;
    return rule;
  }

 private:
  bool take(char wanted) {
    if (text_.empty() || text_.front() != wanted) return false;
    text_.remove_prefix(1);
    return true;
  }
  // "CET" or "<+1030>".
  bool name() {
    const bool quoted = take('<');
    std::size_t length = 0;
    const auto fits = [quoted](char c) {
      const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
      return letter || (quoted && ((c >= '0' && c <= '9') || c == '+' || c == '-'));
    };
    while (length < text_.size() && fits(text_[length])) ++length;
    text_.remove_prefix(length);
    return length >= 3 && (!quoted || take('>'));
  }
  std::optional<int> number(int most) {
    int value = 0;
    std::size_t length = 0;
    while (length < text_.size() && length < 4 && text_[length] >= '0' && text_[length] <= '9')
      value = value * 10 + (text_[length++] - '0');
    text_.remove_prefix(length);
    return length > 0 && value <= most ? std::optional(value) : std::nullopt;
  }
  // [+-]hh[:mm[:ss]]
  std::optional<Seconds> time(int hours_max) {
    const Seconds sign = take('-') ? -1 : 1;
    if (sign > 0) static_cast<void>(take('+'));
    const auto hours = number(hours_max);
    if (!hours) return std::nullopt;
    Seconds sum = Seconds{*hours} * 3600;
    for (const Seconds unit : {Seconds{60}, Seconds{1}}) {
      if (!take(':')) break;
      const auto part = number(59);
      if (!part) return std::nullopt;
      sum += *part * unit;
    }
    return sign * sum;
  }
  std::optional<Change> change() {
    if (!take(',')) return std::nullopt;
    Change made;
    std::optional<int> last;
    if (take('M')) {
      const auto month = number(12);
      const auto week = take('.') ? number(5) : std::nullopt;
      last = take('.') ? number(6) : std::nullopt;
      if (!month || !week || *month < 1 || *week < 1) return std::nullopt;
      made.month = *month;
      made.week = *week;
    } else if (take('J')) {
      made.kind = Change::Kind::day_without_leap;
      last = number(365);
      if (last && *last < 1) return std::nullopt;
    } else {
      made.kind = Change::Kind::day_of_year;
      last = number(365);
    }
    if (!last) return std::nullopt;
    made.day = *last;
    if (!take('/')) return made;
    const auto at = time(167);
    if (!at) return std::nullopt;
    made.time = *at;
    return made;
  }

  std::string_view text_;
};

// The second block of the file, with 64-bit times; the first is for readers of before 2005.
class TimeZone::FileReader {
 public:
  explicit FileReader(std::string_view bytes) : bytes_(bytes) {}

  Result<TimeZone> read() {
    const auto old = header();
    if (!old) return damaged("it is no time zone");
    if (bytes_.size() < 5 || bytes_[4] < '2') return damaged("its format is older than 2005");
    if (!skip(header_bytes + block_bytes(*old, 4))) return damaged("it is cut off");
    const auto counts = header();
    if (!counts || counts->types == 0) return damaged("it is cut off");
    static_cast<void>(skip(header_bytes));
    if (bytes_.size() - at_ < block_bytes(*counts, 8)) return damaged("it is cut off");
    TimeZone zone;
    if (!read_block(*counts, zone)) return damaged("a transition has no type");
    return with_rule(std::move(zone));
  }

 private:
  struct Counts {
    std::uint32_t utc_marks, standard_marks, leaps, times, types, chars;
  };
  static Error damaged(const std::string& why) { return Error{.message = why}; }

  bool skip(std::size_t count) {
    if (bytes_.size() - at_ < count) return false;
    at_ += count;
    return true;
  }
  [[nodiscard]] std::uint64_t big_endian(std::size_t from, std::size_t count) const {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < count; ++i)
      value = value << 8U | static_cast<unsigned char>(bytes_[from + i]);
    return value;
  }
  [[nodiscard]] std::optional<Counts> header() const {
    if (bytes_.size() - at_ < header_bytes || bytes_.substr(at_, 4) != "TZif") return std::nullopt;
    std::array<std::uint32_t, 6> numbers{};
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      numbers[i] = static_cast<std::uint32_t>(big_endian(at_ + 20 + 4 * i, 4));
      if (numbers[i] > counted_max) return std::nullopt;
    }
    return Counts{numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5]};
  }
  static std::size_t block_bytes(const Counts& counts, std::size_t time_bytes) {
    return counts.times * (time_bytes + 1) + counts.types * std::size_t{6} + counts.chars +
           counts.leaps * (time_bytes + 4) + counts.standard_marks + counts.utc_marks;
  }
  bool read_block(const Counts& counts, TimeZone& zone) {
    const std::size_t times = at_;
    const std::size_t indices = times + std::size_t{counts.times} * 8;
    const std::size_t types = indices + counts.times;
    const auto offset_of = [&](std::size_t type) {
      return Seconds{static_cast<std::int32_t>(big_endian(types + type * 6, 4))};
    };
    zone.first_offset_ = offset_of(0);
    for (std::size_t i = 0; i < counts.times; ++i) {
      const auto since = static_cast<Seconds>(big_endian(times + i * 8, 8));
      const auto type = static_cast<unsigned char>(bytes_[indices + i]);
      if (type >= counts.types) return false;
      const bool rises = zone.transitions_.empty() || zone.transitions_.back().first < since;
      if (!rises || since < -ever || since > ever) return false;
      zone.transitions_.emplace_back(since, offset_of(type));
    }
    return skip(block_bytes(counts, 8));
  }
  Result<TimeZone> with_rule(TimeZone zone) {
    const std::string_view footer = bytes_.substr(at_);
    const std::size_t end = footer.find('\n', 1);
    if (footer.empty() || footer.front() != '\n' || end == std::string_view::npos)
      return damaged("it is cut off");
    const std::string_view text = footer.substr(1, end - 1);
    if (text.empty()) return zone;
    zone.rule_ = RuleReader(text).read();
    if (!zone.rule_) return damaged("the rule at its end is none: " + std::string(text));
    return zone;
  }

  std::string_view bytes_;
  std::size_t at_ = 0;
};

Result<TimeZone> TimeZone::from_tzif(std::string_view bytes) {
  return FileReader(bytes).read();
}

std::optional<TimeZone> TimeZone::from_posix(std::string_view rule) {
  TimeZone zone;
  zone.rule_ = RuleReader(rule).read();
  if (!zone.rule_) return std::nullopt;
  zone.first_offset_ = zone.rule_->standard;
  return zone;
}

// The changes of three years hold every moment of the middle one on either side.
ZonePeriod TimeZone::period_by(const Rule& rule, Seconds utc) {
  if (!rule.summer) return {-ever, ever, rule.standard};
  const int year = year_of(utc + rule.standard);
  std::vector<std::pair<Seconds, Seconds>> changes;
  for (int at = year - 1; at <= year + 1; ++at) {
    changes.emplace_back(rule.begin.at(at) - rule.standard, *rule.summer);
    changes.emplace_back(rule.end.at(at) - *rule.summer, rule.standard);
  }
  std::ranges::sort(changes);
  const auto next = std::ranges::upper_bound(changes, utc, {}, &std::pair<Seconds, Seconds>::first);
  const auto now = std::prev(next == changes.begin() ? std::next(next) : next);
  return {now->first, next == changes.end() ? ever : next->first, now->second};
}

ZonePeriod TimeZone::period_at(Seconds utc) const {
  const auto next = std::ranges::upper_bound(transitions_, utc, {}, &std::pair<Seconds, Seconds>::first);
  const bool has_begun = next != transitions_.begin();
  const Seconds begin = has_begun ? std::prev(next)->first : -ever;
  const Seconds offset = has_begun ? std::prev(next)->second : first_offset_;
  if (next != transitions_.end()) return {begin, next->first, offset};
  if (!rule_) return {begin, ever, offset};
  ZonePeriod period = period_by(*rule_, utc);
  period.begin = std::max(period.begin, begin);
  return period;
}

}  // namespace muster::spec
