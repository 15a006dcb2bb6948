#include "spec/literals.h"

#include <algorithm>
#include <array>
#include <limits>
#include <regex>

#include "base/limits.h"
#include "fmt/core.h"

namespace muster::spec {

namespace {

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

// Largest first, as a duration is read.
constexpr std::array time_units{Unit{"d", 86400000}, Unit{"h", 3600000}, Unit{"m", 60000}, Unit{"s", 1000},
                                Unit{"ms", 1}};
constexpr std::uint64_t duration_ms_max = 100ULL * 365 * 86400000;

constexpr std::array size_units{
    Unit{"TiB", 1ULL << 40U}, Unit{"GiB", 1ULL << 30U},     Unit{"MiB", 1ULL << 20U},
    Unit{"KiB", 1ULL << 10U}, Unit{"TB", 1000000000000ULL}, Unit{"GB", 1000000000ULL},
    Unit{"MB", 1000000ULL},   Unit{"KB", 1000ULL},          Unit{"B", 1}};
constexpr std::uint64_t size_bytes_max = 1ULL << 62U;

bool is_digit(char byte) {
  return byte >= '0' && byte <= '9';
}
bool is_letter(char byte) {
  return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

std::string_view take(std::string_view& text, bool (*wanted)(char)) {
  const auto end = std::ranges::find_if_not(text, wanted);
  const auto length = static_cast<std::size_t>(end - text.begin());
  const std::string_view taken = text.substr(0, length);
  text.remove_prefix(length);
  return taken;
}

struct Amount {
  std::uint64_t whole = 0;
  std::uint64_t fraction = 0;  // of `scale`
  std::uint64_t scale = 1;
};

// "1", "1.5": up to three digits behind the point, which is all that a unit of 1000 parts can hold.
std::optional<Amount> take_amount(std::string_view& text) {
  const auto whole = parse_digits(take(text, is_digit), size_bytes_max);
  if (!whole) return std::nullopt;
  Amount amount{.whole = *whole};
  if (!text.starts_with('.')) return amount;
  text.remove_prefix(1);
  const std::string_view digits = take(text, is_digit);
  const auto fraction = parse_digits(digits, 999);
  if (!fraction || digits.size() > 3) return std::nullopt;
  amount.fraction = *fraction;
  for (std::size_t i = 0; i < digits.size(); ++i) amount.scale *= 10;
  return amount;
}

// amount * factor; none when it overflows `max` or is no whole number.
std::optional<std::uint64_t> times(const Amount& amount, std::uint64_t factor, std::uint64_t max) {
  if (amount.whole > max / factor) return std::nullopt;
  const std::uint64_t part = amount.fraction * factor;  // < 1000 * 2^40
  if (part % amount.scale != 0) return std::nullopt;
  const std::uint64_t product = amount.whole * factor + part / amount.scale;
  return product > max ? std::nullopt : std::optional(product);
}

Complaint no_duration(std::string_view text) {
  return {fmt::format("'{}' is not a duration", text),
          "durations are written like \"250ms\", \"5s\", \"1h30m\""};
}

Complaint no_size(std::string_view text) {
  return {fmt::format("'{}' is not a size", text), "sizes are written like \"64MiB\", \"10GB\""};
}

bool same_but_case(std::string_view one, std::string_view other) {
  const auto lower = [](char byte) {
    return byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte + 32) : byte;
  };
  return std::ranges::equal(one, other, {}, lower, lower);
}

// "64mb" means some unit: which one is asked back, not guessed.
Complaint unknown_size_unit(std::string_view text, std::string_view number, std::string_view unit) {
  for (const Unit& known : size_units) {
    const bool short_form =
        known.name.size() == 3 && unit.size() == 1 && same_but_case(unit, known.name.substr(0, 1));
    if (same_but_case(unit, known.name) || short_form || (unit == "Ki" && known.name == "KiB") ||
        (unit.size() == 2 && unit[1] == 'i' && known.name.starts_with(unit)))
      return {fmt::format("'{}' is not a size", text),
              fmt::format("did you mean \"{}{}\"?", number, known.name)};
  }
  return no_size(text);
}

constexpr std::uint64_t regex_states_max = 5000;

struct SignalName {
  std::string_view name;
  int number;
};
// signal(7), the numbers of Linux.
constexpr std::array signals{SignalName{"HUP", 1},   SignalName{"INT", 2},   SignalName{"QUIT", 3},
                             SignalName{"ABRT", 6},  SignalName{"KILL", 9},  SignalName{"USR1", 10},
                             SignalName{"USR2", 12}, SignalName{"PIPE", 13}, SignalName{"ALRM", 14},
                             SignalName{"TERM", 15}, SignalName{"CONT", 18}, SignalName{"WINCH", 28},
                             SignalName{"PWR", 30}};

std::optional<StatusRange> parse_status_range(std::string_view text) {
  const auto dash = text.find('-');
  const auto from = parse_digits(text.substr(0, dash), 599);
  const auto to = dash == std::string_view::npos ? from : parse_digits(text.substr(dash + 1), 599);
  if (!from || !to || *from < 100 || *to < *from) return std::nullopt;
  return StatusRange{static_cast<int>(*from), static_cast<int>(*to)};
}

// In our words: the library's differ from version to version.
std::string_view regex_fault(std::regex_constants::error_type code) {
  using namespace std::regex_constants;
  if (code == error_paren) return "'(' and ')' do not match";
  if (code == error_brack) return "'[' and ']' do not match";
  if (code == error_brace) return "'{' and '}' do not match";
  if (code == error_badbrace) return "a repetition in '{}' is no range";
  if (code == error_badrepeat) return "nothing stands before '*', '+', '?' or '{'";
  if (code == error_range) return "a range in '[]' runs backwards";
  if (code == error_escape) return "an escape is unknown or cut off";
  if (code == error_ctype) return "a character class is unknown";
  if (code == error_backref) return "back-references are not possible";
  return "it cannot be read";
}

// How many states a pattern unfolds to: repetitions are copies of what they repeat.
std::uint64_t states_of(std::string_view pattern) {
  constexpr std::uint64_t far_too_many = 1ULL << 32U;
  std::vector<std::uint64_t> groups{0};
  std::uint64_t atom = 0;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const char byte = pattern[i];
    if (byte == '{') {
      // The larger of "{2,5}".
      std::string_view rest = pattern.substr(i + 1);
      std::uint64_t most = 1;
      for (int side = 0; side < 2; ++side) {
        most = std::max(most, parse_digits(take(rest, is_digit), 1U << 20U).value_or(1));
        if (rest.starts_with(',')) rest.remove_prefix(1);
      }
      groups.back() = std::min(far_too_many, groups.back() + atom * (most - 1));
      atom = std::min(far_too_many, atom * most);
      i = std::min(pattern.find('}', i), pattern.size());
      continue;
    }
    if (byte == '(') {
      groups.push_back(0);
      continue;
    }
    atom = 1;
    if (byte == ')' && groups.size() > 1) {
      atom = groups.back() + 2;
      groups.pop_back();
    }
    if (byte == '\\') ++i;
    if (byte == '[') i = std::min(pattern.find(']', i + 1), pattern.size());
    groups.back() = std::min(far_too_many, groups.back() + atom);
  }
  std::uint64_t all = 0;
  for (const std::uint64_t group : groups) all += group;
  return all;
}

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

}  // namespace

std::optional<std::uint64_t> parse_digits(std::string_view text, std::uint64_t max) {
  if (text.empty() || !std::ranges::all_of(text, is_digit)) return std::nullopt;
  std::uint64_t value = 0;
  for (const char byte : text) {
    const auto digit = static_cast<std::uint64_t>(byte - '0');
    if (value > (max - std::min(digit, max)) / 10) return std::nullopt;
    value = value * 10 + digit;
  }
  return value > max ? std::nullopt : std::optional(value);
}

Parsed<Millis> parse_duration(std::string_view text) {
  if (!text.empty() && std::ranges::all_of(text, is_digit))
    return Complaint{"a duration needs a unit", fmt::format("did you mean \"{}s\"?", text)};
  std::uint64_t total = 0;
  std::size_t next_unit = 0;
  std::string_view rest = text;
  if (rest.empty()) return no_duration(text);
  while (!rest.empty()) {
    const auto amount = take_amount(rest);
    const std::string_view unit = take(rest, is_letter);
    const auto* known = std::ranges::find(time_units, unit, &Unit::name);
    if (!amount || known == time_units.end()) return no_duration(text);
    const auto index = static_cast<std::size_t>(known - time_units.begin());
    if (index < next_unit) return no_duration(text);
    next_unit = index + 1;
    const auto part = times(*amount, known->factor, duration_ms_max);
    if (!part || total + *part > duration_ms_max)
      return Complaint{fmt::format("'{}' is no whole number of milliseconds up to 100 years", text), ""};
    total += *part;
  }
  return Millis(static_cast<std::int64_t>(total));
}

Parsed<std::uint64_t> parse_size(std::string_view text) {
  if (!text.empty() && std::ranges::all_of(text, is_digit))
    return Complaint{"a size needs a unit", fmt::format("did you mean \"{0}MiB\" or \"{0}B\"?", text)};
  std::string_view rest = text;
  const auto amount = take_amount(rest);
  if (!amount) return no_size(text);
  const std::string_view number = text.substr(0, text.size() - rest.size());
  const auto* known = std::ranges::find(size_units, rest, &Unit::name);
  if (known == size_units.end()) return unknown_size_unit(text, number, rest);
  const auto bytes = times(*amount, known->factor, size_bytes_max);
  if (!bytes)
    return Complaint{fmt::format("'{}' is no whole number of bytes that a host can hold", text), ""};
  return *bytes;
}

Parsed<std::uint32_t> parse_octal(std::string_view text, std::uint32_t max) {
  const bool octal = !text.empty() && text.size() <= 5 &&
                     std::ranges::all_of(text, [](char byte) { return byte >= '0' && byte <= '7'; });
  std::uint32_t value = 0;
  if (octal) {
    for (const char byte : text) value = value * 8 + static_cast<std::uint32_t>(byte - '0');
  }
  if (!octal || value > max)
    return Complaint{fmt::format("'{}' is not an octal mode from 0 to {:04o}", text, max),
                     "modes are written like \"022\", \"0750\""};
  return value;
}

Parsed<int> parse_signal(std::string_view text) {
  const std::string_view name = text.starts_with("SIG") ? text.substr(3) : text;
  const auto number = parse_digits(name, 64);
  for (const SignalName& known : signals)
    if (name == known.name || (number && static_cast<int>(*number) == known.number)) return known.number;
  std::string names;
  for (const SignalName& known : signals) names += (names.empty() ? "" : " ") + std::string(known.name);
  return Complaint{fmt::format("'{}' is not a signal", text), "one of " + names};
}

Parsed<std::optional<RestartLimit>> parse_restart_limit(std::string_view text) {
  if (text == "none") return std::optional<RestartLimit>();
  const auto in = text.find(" in ");
  const Complaint wrong{fmt::format("'{}' is no limit of restarts", text), "write \"10 in 5m\" or \"none\""};
  if (in == std::string_view::npos) return wrong;
  const auto count = parse_digits(trimmed(text.substr(0, in)), 10000);
  const auto window = parse_duration(trimmed(text.substr(in + 4)));
  if (!window) return window.error();
  if (!count || window.value() <= Millis(0)) return wrong;
  return std::optional(RestartLimit{static_cast<int>(*count), window.value()});
}

Parsed<Share> parse_share(std::string_view text, int percent_max) {
  const bool percent = text.ends_with('%');
  const int max = percent ? percent_max : limits::replicas_max;
  const auto value =
      parse_digits(text.substr(0, text.size() - (percent ? 1 : 0)), static_cast<std::uint64_t>(max));
  if (value) return Share{static_cast<int>(*value), percent};
  return Complaint{fmt::format("'{}' is no share of the replicas", text),
                   fmt::format("write \"25%\", at most \"{}%\", or a number of replicas", percent_max)};
}

Parsed<std::vector<StatusRange>> parse_status_ranges(std::string_view text) {
  std::vector<StatusRange> ranges;
  std::string_view rest = text;
  while (true) {
    const auto comma = rest.find(',');
    const auto range = parse_status_range(trimmed(rest.substr(0, comma)));
    if (!range || ranges.size() >= 500)
      return Complaint{fmt::format("'{}' is no range of HTTP statuses", text),
                       "write \"200-399\", \"204\" or \"200,301-302\""};
    ranges.push_back(*range);
    if (comma == std::string_view::npos) return ranges;
    rest.remove_prefix(comma + 1);
  }
}

std::optional<std::string> regex_refusal(const std::string& pattern) {
  // A spec may have thousands of them, each is compiled at each check, and each line of output meets its states.
  if (pattern.size() > 1024) return "the pattern is longer than 1024 bytes";
  if (states_of(pattern) > regex_states_max) return "the pattern repeats too much";
  try {
    // As the matcher compiles it: __polynomial is breadth-first and knows no back-references.
    const std::regex compiled(pattern, std::regex::ECMAScript | std::regex_constants::__polynomial);
    return std::nullopt;
  } catch (const std::regex_error& error) {
    if (error.code() == std::regex_constants::error_complexity)
      return "the pattern is too complex; back-references are not possible";
    return "the pattern is not valid: " + std::string(regex_fault(error.code()));
  }
}

}  // namespace muster::spec
