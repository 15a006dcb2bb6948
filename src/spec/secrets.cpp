#include "spec/secrets.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace muster::spec {
namespace {

constexpr std::size_t mask_width = 8;

bool is_name_byte(char byte) {
  return std::isalnum(static_cast<unsigned char>(byte)) != 0 || byte == '_' || byte == '-' || byte == '.';
}
bool is_quote(char byte) {
  return byte == '"' || byte == '\'';
}

// In a basic string of TOML the next character belongs to it.
bool escapes(char quote, char byte) {
  return quote == '"' && byte == '\\';
}

class Masking {
 public:
  Masking(std::string_view line, bool keep_width) : line_(line), keep_width_(keep_width) {}

  std::string run() {
    while (at_ < line_.size()) {
      if (is_name_byte(line_[at_])) {
        name();
      } else {
        copy(1);
      }
    }
    return std::move(made_);
  }

 private:
  void copy(std::size_t count) {
    made_ += line_.substr(at_, count);
    at_ = std::min(at_ + count, line_.size());
  }
  [[nodiscard]] char next() const { return at_ < line_.size() ? line_[at_] : '\0'; }
  void copy_blanks() {
    while (next() == ' ' || next() == '\t') copy(1);
  }

  void name() {
    const std::size_t begin = at_;
    while (at_ < line_.size() && is_name_byte(line_[at_])) ++at_;
    const std::string_view name = line_.substr(begin, at_ - begin);
    made_ += name;
    if (!names_a_secret(name)) return;
    const char before = begin > 0 ? line_[begin - 1] : ' ';
    const bool quoted = is_quote(before);
    if (quoted && next() == before) copy(1);  // a quoted key
    const bool option = name.starts_with('-');
    const bool blank = next() == ' ' || next() == '\t';
    copy_blanks();
    if (next() == '=') {
      copy(1);
      copy_blanks();
      // `key = "…"` of `tls` is a path.
      if (name != "key" || !is_quote(next())) value(quoted ? before : '\0');
    } else if (option && blank && next() != '-') {
      value('\0');
    }
  }

  // `word_quote`: the word with the name began with this quote, and ends with the next.
  void value(char word_quote) {
    std::size_t end = at_;
    if (is_quote(next())) {
      const char quote = next();
      const std::size_t open = line_.substr(at_, 3) == std::string(3, quote) ? 3 : 1;
      copy(open);
      end = at_;
      while (end < line_.size() && line_[end] != quote) end += escapes(quote, line_[end]) ? 2U : 1U;
    } else if (word_quote != '\0' && line_.find(word_quote, at_) != std::string_view::npos) {
      end = line_.find(word_quote, at_);
    } else {
      while (end < line_.size() && std::string_view(" \t\"',;}]").find(line_[end]) == std::string_view::npos)
        ++end;
    }
    end = std::min(end, line_.size());
    if (end > at_) made_ += std::string(keep_width_ ? characters(at_, end) : mask_width, '*');
    at_ = end;
  }

  [[nodiscard]] std::size_t characters(std::size_t begin, std::size_t end) const {
    return static_cast<std::size_t>(std::ranges::count_if(line_.substr(begin, end - begin), [](char byte) {
      return (static_cast<unsigned char>(byte) & 0xC0U) != 0x80U;
    }));
  }

  std::string_view line_;
  bool keep_width_;
  std::size_t at_ = 0;
  std::string made_;
};

}  // namespace

bool names_a_secret(std::string_view name) {
  std::string upper(name);
  for (char& letter : upper) letter = static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
  constexpr std::array<std::string_view, 4> words{"PASS", "SECRET", "TOKEN", "KEY"};
  return std::ranges::any_of(words,
                             [&](std::string_view word) { return upper.find(word) != std::string::npos; });
}

std::string mask_secrets(std::string_view line, bool keep_width) {
  return Masking(line, keep_width).run();
}

}  // namespace muster::spec
