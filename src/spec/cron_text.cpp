#include "spec/cron_text.h"

#include <algorithm>
#include <array>
#include <vector>

#include "fmt/core.h"
#include "spec/keys.h"

namespace muster::spec {

namespace {

constexpr std::size_t chars_max = 1000;

struct Field {
  std::string_view name;
  int min;
  int max;
  std::span<const std::string_view> words;  // for min, min + 1 …
};

constexpr std::array<std::string_view, 12> months{"jan", "feb", "mar", "apr", "may", "jun",
                                                  "jul", "aug", "sep", "oct", "nov", "dec"};
constexpr std::array<std::string_view, 7> weekdays{"sun", "mon", "tue", "wed", "thu", "fri", "sat"};
constexpr int sunday_again = 7;

const std::array<Field, 5>& fields() {
  static const std::array<Field, 5> table{Field{"minute", 0, 59, {}}, Field{"hour", 0, 23, {}},
                                          Field{"day of the month", 1, 31, {}}, Field{"month", 1, 12, months},
                                          Field{"day of the week", 0, sunday_again, weekdays}};
  return table;
}

struct Short {
  std::string_view name;
  std::string_view text;
};
constexpr std::array shorts{Short{"@hourly", "0 * * * *"},   Short{"@daily", "0 0 * * *"},
                            Short{"@midnight", "0 0 * * *"}, Short{"@weekly", "0 0 * * 0"},
                            Short{"@monthly", "0 0 1 * *"},  Short{"@yearly", "0 0 1 1 *"},
                            Short{"@annually", "0 0 1 1 *"}};

std::string lower(std::string_view text) {
  std::string made(text);
  for (char& c : made) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return made;
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  for (const char c : text) {
    if (c != ' ' && c != '\t') {
      word += c;
    } else if (!word.empty()) {
      words.push_back(std::exchange(word, {}));
    }
  }
  if (!word.empty()) words.push_back(std::move(word));
  return words;
}

// One of the five; the first thing that is wrong is the complaint.
class FieldReader {
 public:
  FieldReader(const Field& field, std::string_view text) : field_(field), text_(text) {}

  // Bits of the values it names.
  std::uint64_t read() {
    std::uint64_t bits = 0;
    for (std::size_t at = 0; at <= text_.size() && complaint_.message.empty();) {
      const std::size_t end = std::min(text_.find(',', at), text_.size());
      bits |= range(text_.substr(at, end - at));
      at = end + 1;
    }
    return bits;
  }
  [[nodiscard]] const Complaint& complaint() const { return complaint_; }

 private:
  std::uint64_t wrong(std::string message, std::string hint = {}) {
    if (complaint_.message.empty())
      complaint_ = {fmt::format("the {} '{}': {}", field_.name, text_, message), std::move(hint)};
    return 0;
  }

  std::uint64_t range(std::string_view part) {
    if (part.empty()) return wrong("a value is missing");
    const std::size_t slash = part.find('/');
    const std::string_view values = part.substr(0, slash);
    const std::size_t dash = values.find('-');
    int first = field_.min;
    int last = field_.name == "day of the week" ? sunday_again - 1 : field_.max;
    if (values != "*") {
      const auto low = value(values.substr(0, dash), false);
      const auto high = dash == std::string_view::npos ? low : value(values.substr(dash + 1), true);
      if (!low || !high) return 0;
      first = *low;
      last = *high;
      if (first > last) return falling(values, first, last);
      if (slash != std::string_view::npos && dash == std::string_view::npos)
        return wrong("a step needs a range in front of it",
                     fmt::format("write '{}-{}{}', or '*{}'", values, field_.max, part.substr(slash),
                                 part.substr(slash)));
    }
    const auto step = slash == std::string_view::npos ? std::optional(1) : step_of(part.substr(slash + 1));
    if (!step) return 0;
    std::uint64_t bits = 0;
    for (int at = first; at <= last; at += *step) bits |= std::uint64_t{1} << static_cast<unsigned>(at);
    return bits;
  }

  std::uint64_t falling(std::string_view values, int first, int last) {
    return wrong(
        fmt::format("the range '{}' goes backwards", values),
        fmt::format("write '{}-{},{}-{}' for one that wraps around", first, field_.max, field_.min, last));
  }

  std::optional<int> step_of(std::string_view text) {
    const auto step = parse_digits(text, 1000);
    const int width = field_.max - field_.min;
    if (step && *step >= 1 && *step <= static_cast<std::uint64_t>(width)) return static_cast<int>(*step);
    if (step && *step > 0)
      wrong(fmt::format("a step of {} is longer than the whole field ({}-{})", *step, field_.min, field_.max),
            "a step begins anew with each hour, day, month or year: what does not fit into one cannot be "
            "said");
    else
      wrong(fmt::format("'{}' is no step", text));
    return std::nullopt;
  }

  // `ends` a range: there, Sunday comes after Saturday.
  std::optional<int> value(std::string_view text, bool ends) {
    const std::string word = lower(text);
    const auto named = std::ranges::find(field_.words, word);
    if (named != field_.words.end()) {
      const int found = static_cast<int>(named - field_.words.begin()) + field_.min;
      return ends && word == "sun" ? sunday_again : found;
    }
    const auto number = parse_digits(text, 1000);
    if (number && *number >= static_cast<std::uint64_t>(field_.min) &&
        *number <= static_cast<std::uint64_t>(field_.max))
      return static_cast<int>(*number);
    if (number) {
      wrong(fmt::format("{} is not from {} to {}", *number, field_.min, field_.max));
    } else if (text.find_first_of("?LW#") != std::string_view::npos && field_.words.empty()) {
      wrong(fmt::format("'{}' is not known to cron", text), "'*' stands for every value");
    } else {
      std::string hint = suggest(word, field_.words);
      wrong(text.empty() ? "a value is missing" : fmt::format("'{}' is no value", text), std::move(hint));
    }
    return std::nullopt;
  }

  const Field& field_;
  std::string_view text_;
  Complaint complaint_;
};

Parsed<Cron> short_form(std::string_view text, const std::string& word) {
  const auto* found = std::ranges::find(shorts, word, &Short::name);
  if (found != shorts.end()) {
    auto parsed = parse_cron(found->text);
    parsed.value().text = text;
    return parsed;
  }
  if (word == "@reboot")
    return Complaint{"'@reboot' is no schedule of muster",
                     "a job without `schedule` runs once per start of the daemon"};
  if (word.starts_with("@every"))
    return Complaint{fmt::format("'{}' is not known to cron", text), "'*/5 * * * *' is every five minutes"};
  std::vector<std::string_view> names;
  names.reserve(shorts.size());
  for (const Short& known : shorts) names.push_back(known.name);
  std::string hint = suggest(word, names);
  return Complaint{fmt::format("'{}' is no schedule", text),
                   hint.empty() ? "there are @hourly @daily @weekly @monthly @yearly" : std::move(hint)};
}

Complaint wrong_count(std::string_view text, std::size_t count) {
  std::string hint = "minute, hour, day of the month, month, day of the week, such as '30 2 * * mon-fri'";
  if (count == 6 || count == 7) hint = "there are no seconds and no years; the first field is the minute";
  return {fmt::format("'{}' has {} field{}, a schedule has 5", text, count, count == 1 ? "" : "s"),
          std::move(hint)};
}

// With a day of the week to choose from, too, some day always comes.
bool never_comes(const Cron& cron) {
  if (!cron.any_day && !cron.any_weekday) return false;
  constexpr std::array<std::size_t, 13> longest{0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  for (std::size_t month = 1; month < longest.size(); ++month) {
    for (std::size_t day = 1; cron.months[month] && day <= longest[month]; ++day) {
      if (cron.days[day]) return false;
    }
  }
  return true;
}

}  // namespace

Parsed<Cron> parse_cron(std::string_view text) {
  if (text.size() > chars_max) return Complaint{"the schedule is too long", ""};
  const std::vector<std::string> words = words_of(text);
  if (words.size() == 1 && words.front().starts_with('@')) return short_form(text, lower(words.front()));
  if (!words.empty() && lower(words.front()) == "@every") return short_form(text, "@every");
  if (words.size() != fields().size()) return wrong_count(text, words.size());
  std::array<std::uint64_t, 5> bits{};
  for (std::size_t i = 0; i < words.size(); ++i) {
    FieldReader reader(fields()[i], words[i]);
    bits[i] = reader.read();
    if (!reader.complaint().message.empty()) return reader.complaint();
  }
  const auto star = [&](std::size_t field) { return words[field].starts_with('*'); };
  const std::uint64_t sundays = bits[4] >> static_cast<unsigned>(sunday_again) & 1U;
  Cron cron;
  cron.text = text;
  cron.minutes = bits[0];
  cron.hours = bits[1];
  cron.days = bits[2];
  cron.months = bits[3];
  cron.weekdays = bits[4] | sundays;
  cron.any_day = star(2);
  cron.any_weekday = star(4);
  cron.follows_clock = star(0) || star(1);
  if (never_comes(cron))
    return Complaint{fmt::format("'{}' never comes: no such day is in these months", text), ""};
  return cron;
}

}  // namespace muster::spec
