#include "spec/guard.h"

#include "base/limits.h"
#include "fmt/core.h"
#include "spec/utf8.h"

namespace muster::spec {

namespace {

// Follows TOML's quotes and comments just closely enough to know which characters stand outside of them. Up to
// the first syntax error it agrees with the parser; behind it the parser reads nothing.
class Guard {
 public:
  Guard(std::string_view text, std::uint32_t file) : text_(text), file_(file) {}

  Guarded run() {
    while (at_ < text_.size() && !error_) step();
    end_statement();
    return {std::move(error_), std::move(statements_)};
  }

 private:
  enum class Inside { nothing, comment, basic, literal, basic_lines, literal_lines };

  void step() {
    const CodePoint point = decode_utf8(text_, at_);
    if (point.bytes == 0)
      return refuse(fmt::format("byte 0x{:02X} is not valid UTF-8", static_cast<unsigned char>(text_[at_])));
    const std::size_t bytes = point.bytes;
    if (point.value < 0x20 || point.value == 0x7F) {
      const bool newline = point.value == '\n' || (point.value == '\r' && text_.substr(at_ + 1, 1) == "\n");
      if (!newline && point.value != '\t')
        return refuse(fmt::format("control character 0x{:02X}", static_cast<unsigned>(point.value)),
                      "a TOML file is text; in a quoted string write \\u00XX");
    }
    if (inside_ == Inside::nothing) {
      outside(point.value);
    } else {
      within(point.value);
    }
    if (error_) return;
    if (point.value == '\n') {
      ++line_;
      column_ = 1;
    } else {
      column_ += skip_ + 1;
    }
    at_ += bytes + static_cast<std::size_t>(skip_);
    skip_ = 0;
  }

  void outside(char32_t value) {
    const bool blank = value == ' ' || value == '\t' || value == '\r' || value == '\n' || value == '#';
    if (!open_ && !blank) {
      statements_.push_back({at_, at_, line_, column_, line_});
      open_ = true;
    }
    if (value >= 0x80) return foreign(value);
    switch (value) {
      case '#':
        inside_ = Inside::comment;
        break;
      case '"':
      case '\'':
        open(static_cast<char>(value));
        break;
      case '.':
        if (++chain_ > limits::spec_nesting_max) return refuse("tables are nested too deeply");
        if (++dots_ > limits::spec_tables_max) return refuse("too many tables");
        break;
      case '[':
      case '{':
        if (++depth_ > static_cast<int>(limits::spec_nesting_max))
          return refuse("values are nested too deeply");
        if (++dots_ > limits::spec_tables_max) return refuse("too many tables and lists");
        chain_ = 0;
        break;
      case ']':
      case '}':
        if (depth_ > 0) --depth_;
        chain_ = 0;
        break;
      case '=':
      case ',':
        if (++values_ > limits::spec_values_max) return refuse("too many values");
        chain_ = 0;
        break;
      case '\n':
        chain_ = 0;
        if (open_ && text_[statements_.back().begin] == '[') depth_ = 0;  // a header has one line
        if (depth_ == 0) end_statement();
        break;
      default:
        break;
    }
  }

  void within(char32_t value) {
    const bool lines = inside_ == Inside::basic_lines || inside_ == Inside::literal_lines;
    if (value == '\n' && !lines) {  // a string that never ends: the parser will say so
      inside_ = Inside::nothing;
      return outside(value);
    }
    const bool basic = inside_ == Inside::basic || inside_ == Inside::basic_lines;
    if (value == '\\' && basic) {
      const std::string_view next = text_.substr(at_ + 1, 1);
      if (next == "\"" || next == "\\") skip_ = 1;
      return;
    }
    if (inside_ == Inside::comment) return;
    if (value != (basic ? U'"' : U'\'')) return;
    if (!lines) {
      inside_ = Inside::nothing;
      return;
    }
    // Up to five quotes may end it: two of its own and the three that close.
    std::size_t run = text_.find_first_not_of(basic ? '"' : '\'', at_);
    run = (run == std::string_view::npos ? text_.size() : run) - at_;
    if (run < 3) return;
    inside_ = Inside::nothing;
    skip_ = static_cast<int>(run < 5 ? run : 5) - 1;
  }

  void end_statement() {
    if (!open_) return;
    statements_.back().end = at_;
    statements_.back().last_line = line_;
    open_ = false;
  }

  void open(char quote) {
    const std::string three(3, quote);
    const bool lines = text_.substr(at_, 3) == three;
    if (quote == '"') inside_ = lines ? Inside::basic_lines : Inside::basic;
    if (quote == '\'') inside_ = lines ? Inside::literal_lines : Inside::literal;
    if (lines) skip_ = 2;
  }

  void foreign(char32_t value) {
    const std::string_view written = text_.substr(at_, decode_utf8(text_, at_).bytes);
    const bool visible = !is_control(value) && value != 0xA0 && value != 0xFEFF && value != 0x200B;
    const std::string shown =
        visible ? fmt::format("'{}' (U+{:04X})", written, static_cast<unsigned>(value))
                : fmt::format("the invisible character U+{:04X}", static_cast<unsigned>(value));
    std::string hint = "outside of quotes TOML knows only ASCII characters";
    if (value >= 0x2018 && value <= 0x201F) hint = "quotes in TOML are the plain \" and '";
    refuse(shown + " cannot stand outside of quotes", std::move(hint));
  }

  void refuse(std::string message, std::string hint = {}) {
    error_ = SyntaxError{{file_, line_, column_}, {}, std::move(message), std::move(hint)};
  }

  std::string_view text_;
  std::uint32_t file_;
  std::size_t at_ = 0;
  int line_ = 1;
  int column_ = 1;
  int skip_ = 0;  // ASCII characters that belong to the current one
  int depth_ = 0;
  std::size_t chain_ = 0;  // dots of one key
  std::size_t dots_ = 0;
  std::size_t values_ = 0;
  Inside inside_ = Inside::nothing;
  bool open_ = false;  // a statement has begun
  std::vector<Statement> statements_;
  std::optional<SyntaxError> error_;
};

}  // namespace

std::string_view without_bom(std::string_view text) {
  return text.starts_with("\xEF\xBB\xBF") ? text.substr(3) : text;
}

Guarded guard_text(std::string_view text, std::uint32_t file) {
  return Guard(text, file).run();
}

}  // namespace muster::spec
