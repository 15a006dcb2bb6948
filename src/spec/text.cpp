#include "spec/text.h"

#include <algorithm>

#include "fmt/core.h"

namespace muster::spec {

namespace {

constexpr int default_nesting_max = 8;

bool is_lower(char byte) {
  return byte >= 'a' && byte <= 'z';
}
bool is_digit(char byte) {
  return byte >= '0' && byte <= '9';
}
bool is_name(char byte) {
  return is_lower(byte) || (byte >= 'A' && byte <= 'Z') || is_digit(byte) || byte == '_';
}

// The length of "${…}" at the start of `text`, inner ${…} included; 0 when it has no end.
std::size_t substitution_length(std::string_view text) {
  int open = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text.substr(i, 2) == "${") {
      ++open;
      ++i;
    } else if (text[i] == '}' && --open == 0) {
      return i + 1;
    }
  }
  return 0;
}

Parsed<std::string> expand(std::string_view raw, const Environment& environment, int depth);

// The value of "${…}", braces included.
Parsed<std::string> substitute(std::string_view whole, const Environment& environment, int depth) {
  const std::string_view inner = whole.substr(2, whole.size() - 3);
  const auto end = static_cast<std::size_t>(std::ranges::find_if_not(inner, is_name) - inner.begin());
  const std::string name(inner.substr(0, end));
  const std::string_view operation = inner.substr(end);
  const bool fallback = operation.starts_with(":-");
  const bool demand = operation.starts_with(":?");
  if (name.empty() || is_digit(name.front()) || !(operation.empty() || fallback || demand))
    return Complaint{fmt::format("'{}' is no variable of the environment", whole),
                     "write ${VAR}, ${VAR:-default} or ${VAR:?message}; $$ is a $"};
  const auto value = environment(name);
  if (operation.empty() && value) return *value;
  if (operation.empty())
    return Complaint{fmt::format("the environment has no '{}'", name),
                     fmt::format("${{{}:-default}} gives a default; $$ is a $", name)};
  if (value && !value->empty()) return *value;
  if (depth >= default_nesting_max) return Complaint{"${…} are nested too deeply", ""};
  auto words = expand(operation.substr(2), environment, depth + 1);
  if (!words || fallback) return words;
  return Complaint{words.value().empty() ? fmt::format("the environment has no '{}'", name) : words.value(),
                   ""};
}

// Replaces what starts with the $ at the start of `rest`, and takes it away.
Parsed<std::string> take_dollar(std::string_view& rest, const Environment& environment, int depth) {
  if (rest.starts_with("$$")) {
    rest.remove_prefix(2);
    return std::string("$");
  }
  if (!rest.starts_with("${")) {
    rest.remove_prefix(1);
    return std::string("$");
  }
  const std::size_t length = substitution_length(rest);
  if (length == 0) return Complaint{fmt::format("'{}' has no closing '}}'", rest.substr(0, 40)), "$$ is a $"};
  const std::string_view whole = rest.substr(0, length);
  rest.remove_prefix(length);
  return substitute(whole, environment, depth);
}

Parsed<std::string> expand(std::string_view raw, const Environment& environment, int depth) {
  std::string text;
  while (!raw.empty()) {
    const auto dollar = std::min(raw.find('$'), raw.size());
    text += raw.substr(0, dollar);
    raw.remove_prefix(dollar);
    if (raw.empty()) break;
    auto value = take_dollar(raw, environment, depth);
    if (!value) return value;
    text += value.value();
  }
  return text;
}

// "{port}" or "{port.admin}" at the start of `rest`, taken away.
Parsed<TemplateVariable> take_variable(std::string_view& rest) {
  const auto in_name = [](char byte) {
    return is_lower(byte) || is_digit(byte) || byte == '_' || byte == '-';
  };
  const std::string_view all = rest;
  const auto take = [&](std::string_view& from) {
    const auto length = static_cast<std::size_t>(std::ranges::find_if_not(from, in_name) - from.begin());
    std::string taken(from.substr(0, length));
    from.remove_prefix(length);
    return taken;
  };
  rest.remove_prefix(1);
  TemplateVariable variable;
  variable.name = take(rest);
  const bool argument = rest.starts_with('.');
  if (argument) {
    rest.remove_prefix(1);
    variable.argument = take(rest);
  }
  const std::string_view read = all.substr(0, all.size() - rest.size());
  if (!rest.starts_with('}') || (argument && variable.argument.empty()))
    return Complaint{fmt::format("'{}' has no closing '}}'", read), "{{ is a brace"};
  rest.remove_prefix(1);
  return variable;
}

class TemplateBuilder {
 public:
  void literal(std::string_view text) {
    if (text.empty()) return;
    if (parts_.empty() || !std::holds_alternative<std::string>(parts_.back()))
      parts_.emplace_back(std::string());
    std::get<std::string>(parts_.back()) += text;
  }
  void variable(TemplateVariable variable) { parts_.emplace_back(std::move(variable)); }
  Template take() { return Template(std::move(parts_)); }

 private:
  std::vector<Template::Part> parts_;
};

// Words of `sh`, one character at a time. What a backslash protects is doubled where the expansion that follows
// would take it for its own.
class Splitter {
 public:
  explicit Splitter(std::string_view raw) : rest_(raw) {}

  Parsed<std::vector<std::string>> run() {
    while (!rest_.empty() && !failed_) step();
    if (failed_) return *failed_;
    if (quote_ != 0) return Complaint{fmt::format("the quote {} is never closed", quote_), ""};
    finish_word();
    return std::move(words_);
  }

 private:
  void step() {
    const char byte = rest_.front();
    if (rest_.starts_with("$$")) return copy(2);
    if (rest_.starts_with("${")) {
      const std::size_t length = substitution_length(rest_);
      if (length == 0) {
        failed_ = Complaint{fmt::format("'{}' has no closing '}}'", rest_.substr(0, 40)), "$$ is a $"};
        return;
      }
      return copy(length);
    }
    if (quote_ == '\'') return byte == '\'' ? close() : copy(1);
    if (byte == '\\') return backslash();
    if (quote_ == '"') return byte == '"' ? close() : copy(1);
    if (byte == '\'' || byte == '"') {
      quote_ = byte;
      in_word_ = true;
      rest_.remove_prefix(1);
    } else if (byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r') {
      finish_word();
      rest_.remove_prefix(1);
    } else {
      copy(1);
    }
  }

  void backslash() {
    rest_.remove_prefix(1);
    in_word_ = true;
    if (rest_.empty()) {
      failed_ = Complaint{"a backslash at the end escapes nothing", ""};
      return;
    }
    const char byte = rest_.front();
    rest_.remove_prefix(1);
    if (byte == '\n') return;  // a continued line
    const bool escapes = quote_ == 0 || byte == '"' || byte == '\\' || byte == '$' || byte == '`';
    if (!escapes) word_ += '\\';
    word_ += byte;
    if (escapes && (byte == '$' || byte == '{' || byte == '}')) word_ += byte;
  }

  void copy(std::size_t bytes) {
    word_ += rest_.substr(0, bytes);
    rest_.remove_prefix(bytes);
    in_word_ = true;
  }

  void close() {
    quote_ = 0;
    rest_.remove_prefix(1);
  }

  void finish_word() {
    if (in_word_) words_.push_back(std::move(word_));
    word_.clear();
    in_word_ = false;
  }

  std::string_view rest_;
  std::vector<std::string> words_;
  std::string word_;
  std::optional<Complaint> failed_;
  char quote_ = 0;
  bool in_word_ = false;
};

}  // namespace

Parsed<std::string> expand_environment(std::string_view raw, const Environment& environment) {
  return expand(raw, environment, 0);
}

Parsed<Template> parse_template(std::string_view raw, const Environment& environment) {
  TemplateBuilder builder;
  while (!raw.empty()) {
    const auto special = std::min(raw.find_first_of("${}"), raw.size());
    builder.literal(raw.substr(0, special));
    raw.remove_prefix(special);
    if (raw.empty()) break;
    if (raw.front() == '$') {
      auto value = take_dollar(raw, environment, 0);
      if (!value) return value.error();
      builder.literal(value.value());
    } else if (raw.starts_with("{{") || raw.starts_with("}}")) {
      builder.literal(raw.substr(0, 1));
      raw.remove_prefix(2);
    } else if (raw.size() > 1 && raw.front() == '{' && is_lower(raw[1])) {
      auto variable = take_variable(raw);
      if (!variable) return variable.error();
      builder.variable(std::move(variable).value());
    } else {
      builder.literal(raw.substr(0, 1));
      raw.remove_prefix(1);
    }
  }
  return builder.take();
}

Parsed<std::vector<std::string>> split_words(std::string_view raw) {
  return Splitter(raw).run();
}

}  // namespace muster::spec
