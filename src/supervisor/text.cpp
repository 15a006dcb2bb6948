#include "supervisor/text.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

namespace muster::supervisor {
namespace {

using std::chrono::floor;

void append_digits(std::string& to, unsigned value, int width) {
  std::array<char, 10> digits{};
  for (int i = width - 1; i >= 0; --i) {
    digits[static_cast<std::size_t>(i)] = static_cast<char>('0' + value % 10);
    value /= 10;
  }
  to.append(digits.data(), static_cast<std::size_t>(width));
}

void append_seconds(std::string& to, WallTime time) {
  const auto day = floor<std::chrono::days>(time);
  const std::chrono::year_month_day date{day};
  const auto second = static_cast<unsigned>(floor<std::chrono::seconds>(time - day).count());
  append_digits(to, static_cast<unsigned>(std::clamp(static_cast<int>(date.year()), 0, 9999)), 4);
  to += '-';
  append_digits(to, static_cast<unsigned>(date.month()), 2);
  to += '-';
  append_digits(to, static_cast<unsigned>(date.day()), 2);
  to += 'T';
  append_digits(to, second / 3600, 2);
  to += ':';
  append_digits(to, second / 60 % 60, 2);
  to += ':';
  append_digits(to, second % 60, 2);
}

// Reads text from its front; every taker says whether what it wants was there.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}
  [[nodiscard]] bool at_end() const { return text_.empty(); }

  bool take(char wanted) {
    if (text_.empty() || text_.front() != wanted) return false;
    text_.remove_prefix(1);
    return true;
  }
  bool take_digits(std::size_t width, int& value) {
    if (text_.size() < width) return false;
    value = 0;
    for (const char c : text_.substr(0, width)) {
      if (c < '0' || c > '9') return false;
      value = value * 10 + (c - '0');
    }
    text_.remove_prefix(width);
    return true;
  }
  // The digits after a decimal point, 1 to 9 of them, as nanoseconds.
  bool take_fraction(int& nanos) {
    int digits = 0;
    nanos = 0;
    for (int digit = 0; digits < 9 && take_digits(1, digit); ++digits) nanos = nanos * 10 + digit;
    for (int i = digits; i < 9; ++i) nanos *= 10;
    return digits > 0;
  }
  // "Z", "+02:00", "-0530"
  bool take_offset(std::chrono::minutes& offset) {
    offset = std::chrono::minutes{0};
    if (take('Z') || take('z')) return true;
    const bool minus = take('-');
    if (!minus && !take('+')) return false;
    int hours = 0;
    int minutes = 0;
    if (!take_digits(2, hours)) return false;
    take(':');
    if (!take_digits(2, minutes) || hours > 23 || minutes > 59) return false;
    offset = std::chrono::minutes{(minus ? -1 : 1) * (hours * 60 + minutes)};
    return true;
  }
  bool take_length(std::uint64_t& value) {
    const auto [end, error] = std::from_chars(text_.data(), text_.data() + text_.size(), value);
    if (error != std::errc{} || value > 1'000'000'000) return false;
    text_.remove_prefix(static_cast<std::size_t>(end - text_.data()));
    return true;
  }

 private:
  std::string_view text_;
};

std::optional<Millis> take_unit(Scanner& text) {
  using std::chrono::hours;
  if (text.take('d')) return hours{24};
  if (text.take('h')) return hours{1};
  if (text.take('s')) return Millis{1000};
  if (!text.take('m')) return std::nullopt;
  return text.take('s') ? Millis{1} : Millis{60000};
}

std::optional<Millis> parse_length(std::string_view text) {
  Scanner scanner(text);
  Millis sum{0};
  if (scanner.at_end()) return std::nullopt;
  while (!scanner.at_end()) {
    std::uint64_t count = 0;
    if (!scanner.take_length(count)) return std::nullopt;
    const auto unit = take_unit(scanner);
    if (!unit) return std::nullopt;
    sum += *unit * static_cast<Millis::rep>(count);
  }
  constexpr Millis century = std::chrono::hours{24} * 36525;
  return std::min(sum, century);
}

bool is_continuation(char c) {
  return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U;
}

void append_hex(std::string& to, char byte) {
  constexpr std::string_view hex = "0123456789abcdef";
  const auto value = static_cast<unsigned char>(byte);
  to += hex[value >> 4U];
  to += hex[value & 15U];
}

// C0 but tab, DEL, and C1 as UTF-8 (U+0080..U+009F): a terminal acts on them.
bool is_control(std::string_view character) {
  const auto first = static_cast<unsigned char>(character[0]);
  if (character.size() == 1) return (first < 0x20 && first != '\t') || first == 0x7F;
  return character.size() == 2 && first == 0xC2 && static_cast<unsigned char>(character[1]) < 0xA0;
}

void append_json_control(std::string& to, char c) {
  switch (c) {
    case '\n':
      to += "\\n";
      return;
    case '\t':
      to += "\\t";
      return;
    case '\r':
      to += "\\r";
      return;
    default:
      to += "\\u00";
      append_hex(to, c);
  }
}

// The name in "NAME=", "--some-name=": what stands before the first '='.
bool names_secret(std::string_view text) {
  while (!text.empty() && text.front() == '-') text.remove_prefix(1);
  return is_secret_name(text);
}

constexpr std::chrono::year first_year{1700};
constexpr std::chrono::year last_year{2200};  // system_clock's nanoseconds hold no more

struct Moment {
  std::chrono::year_month_day date;
  Nanos since_midnight;
};

std::optional<Moment> read_rfc3339(std::string_view text) {
  Scanner in(text);
  int year = 0;
  int month = 0;
  int day = 0;
  int hour = 0;
  int minute = 0;
  int second = 0;
  int nanos = 0;
  std::chrono::minutes offset{0};
  const bool date = in.take_digits(4, year) && in.take('-') && in.take_digits(2, month) && in.take('-') &&
                    in.take_digits(2, day) && (in.take('T') || in.take('t') || in.take(' '));
  if (!date || !in.take_digits(2, hour) || !in.take(':') || !in.take_digits(2, minute) || !in.take(':') ||
      !in.take_digits(2, second))
    return std::nullopt;
  if (in.take('.') && !in.take_fraction(nanos)) return std::nullopt;
  if (!in.take_offset(offset) || !in.at_end()) return std::nullopt;
  const std::chrono::year_month_day ymd{std::chrono::year{year},
                                        std::chrono::month{static_cast<unsigned>(month)},
                                        std::chrono::day{static_cast<unsigned>(day)}};
  if (!ymd.ok() || hour > 23 || minute > 59 || second > 60) return std::nullopt;
  return Moment{ymd, std::chrono::hours{hour} + std::chrono::minutes{minute} - offset +
                         std::chrono::seconds{second} + Nanos{nanos}};
}

}  // namespace

void append_rfc3339_ms(std::string& to, WallTime time) {
  append_seconds(to, time);
  to += '.';
  append_digits(to, static_cast<unsigned>(floor<Millis>(time - floor<std::chrono::seconds>(time)).count()),
                3);
  to += 'Z';
}

std::string rfc3339_ms(WallTime time) {
  std::string text;
  append_rfc3339_ms(text, time);
  return text;
}

std::string rfc3339_s(WallTime time) {
  std::string text;
  append_seconds(text, time);
  return text + 'Z';
}

std::optional<WallTime> parse_rfc3339(std::string_view text) {
  const auto moment = read_rfc3339(text);
  if (!moment || moment->date.year() < first_year || moment->date.year() > last_year) return std::nullopt;
  return WallTime{std::chrono::sys_days{moment->date}} + moment->since_midnight;
}

std::optional<WallTime> parse_since(std::string_view text, WallTime now) {
  if (const auto length = parse_length(text)) return now - *length;
  const auto moment = read_rfc3339(text);
  if (moment && moment->date.year() < first_year) return WallTime::min();
  if (moment && moment->date.year() > last_year) return WallTime::max();
  return parse_rfc3339(text);
}

bool is_secret_name(std::string_view name) {
  std::string upper(name);
  for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  constexpr std::array<std::string_view, 4> words{"PASS", "SECRET", "TOKEN", "KEY"};
  return std::any_of(words.begin(), words.end(),
                     [&](std::string_view word) { return upper.find(word) != std::string::npos; });
}

std::string mask_assignment(std::string_view text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos || !names_secret(text.substr(0, equals))) return std::string(text);
  return std::string(text.substr(0, equals + 1)) + std::string(masked);
}

std::string mask_argv(const std::vector<std::string>& argv) {
  std::string line;
  bool next_is_secret = false;
  for (const std::string& word : argv) {
    if (!line.empty()) line += ' ';
    line += next_is_secret ? std::string(masked) : mask_assignment(word);
    next_is_secret =
        !next_is_secret && word.starts_with('-') && word.find('=') == std::string::npos && names_secret(word);
  }
  return line;
}

std::size_t utf8_char_bytes(std::string_view text) {
  if (text.empty()) return 0;
  const auto first = static_cast<unsigned char>(text[0]);
  if (first < 0x80) return 1;
  const std::size_t size = first >= 0xC2 && first <= 0xDF   ? 2
                           : (first & 0xF0U) == 0xE0U       ? 3
                           : first >= 0xF0 && first <= 0xF4 ? 4
                                                            : 0;
  if (size == 0 || text.size() < size) return 0;
  for (std::size_t i = 1; i < size; ++i) {
    if (!is_continuation(text[i])) return 0;
  }
  // Overlong forms, surrogates and what lies above U+10FFFF begin with these pairs.
  const auto second = static_cast<unsigned char>(text[1]);
  const bool bad = (first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F) ||
                   (first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F);
  return bad ? 0 : size;
}

std::string escape_for_terminal(std::string_view text) {
  std::string safe;
  safe.reserve(text.size());
  while (!text.empty()) {
    const std::size_t size = utf8_char_bytes(text);
    const std::string_view character = text.substr(0, std::max<std::size_t>(size, 1));
    if (size == 0 || is_control(character)) {
      for (const char byte : character) {
        safe += "\\x";
        append_hex(safe, byte);
      }
    } else {
      safe += character;
    }
    text.remove_prefix(character.size());
  }
  return safe;
}

void append_json_string(std::string& to, std::string_view text) {
  to += '"';
  while (!text.empty()) {
    const std::size_t size = utf8_char_bytes(text);
    const char first = text.front();
    if (size == 0) {
      to += "\\\\x";
      append_hex(to, first);
    } else if (first == '"' || first == '\\') {
      to += '\\';
      to += first;
    } else if (static_cast<unsigned char>(first) < 0x20) {
      append_json_control(to, first);
    } else {
      to += text.substr(0, size);
    }
    text.remove_prefix(std::max<std::size_t>(size, 1));
  }
  to += '"';
}

}  // namespace muster::supervisor
