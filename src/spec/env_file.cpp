#include "spec/env_file.h"

#include <algorithm>
#include <map>
#include <optional>

#include "base/limits.h"
#include "fmt/core.h"
#include "spec/guard.h"

namespace muster::spec {

namespace {

bool is_blank(char byte) {
  return byte == ' ' || byte == '\t' || byte == '\r';
}

bool is_name(char byte) {
  return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
         byte == '_';
}

class EnvFile {
 public:
  EnvFile(std::string_view text, const std::string& name) : rest_(without_bom(text)), name_(name) {}

  Result<EnvVars> run() {
    while (!rest_.empty() && !failed_) {
      skip_blanks();
      if (rest_.starts_with('#')) skip_line();
      if (rest_.starts_with('\n')) {
        take(1);
      } else if (!rest_.empty()) {
        assignment();
      }
    }
    if (failed_) return *failed_;
    return std::move(variables_);
  }

 private:
  void assignment() {
    std::string name = take_name();
    if (name == "export" && !rest_.empty() && is_blank(rest_.front())) {
      skip_blanks();
      name = take_name();
    }
    skip_blanks();
    if (name.empty() || (name.front() >= '0' && name.front() <= '9')) return fail("a line is NAME=VALUE");
    if (!rest_.starts_with('=')) return fail(fmt::format("no '=' behind '{}'", name));
    take(1);
    skip_blanks();
    std::string value = take_value();
    if (value.find('\0') != std::string::npos) return fail("a NUL byte");
    if (!failed_) variables_.emplace_back(std::move(name), std::move(value));
  }

  std::string take_value() {
    if (rest_.starts_with('\'') || rest_.starts_with('"')) {
      std::string value = take_quoted(rest_.front());
      skip_blanks();
      if (rest_.starts_with('#')) skip_line();
      if (!failed_ && !rest_.empty() && !rest_.starts_with('\n')) fail("text behind the closing quote");
      return value;
    }
    const std::string_view line = rest_.substr(0, rest_.find('\n'));
    std::size_t end = line.size();
    for (std::size_t i = 0; i < line.size(); ++i) {
      if (line[i] != '#' || (i > 0 && !is_blank(line[i - 1]))) continue;
      end = i;
      break;
    }
    while (end > 0 && is_blank(line[end - 1])) --end;
    std::string value(line.substr(0, end));
    take(line.size());
    return value;
  }

  std::string take_quoted(char quote) {
    const int opened = line_;
    std::string value;
    take(1);
    while (!rest_.empty() && rest_.front() != quote) {
      const bool escape = quote == '"' && rest_.front() == '\\' && rest_.size() > 1;
      value += escape ? escaped(rest_[1]) : std::string(1, rest_.front());
      take(escape ? 2 : 1);
    }
    if (rest_.empty()) {
      line_ = opened;
      fail(fmt::format("the quote {} is never closed", quote));
      return value;
    }
    take(1);
    return value;
  }

  static std::string escaped(char byte) {
    switch (byte) {
      case 'n':
        return "\n";
      case 'r':
        return "\r";
      case 't':
        return "\t";
      case '"':
      case '\\':
      case '$':
        return std::string(1, byte);
      default:
        return std::string("\\") + byte;
    }
  }

  std::string take_name() {
    const auto length = static_cast<std::size_t>(std::ranges::find_if_not(rest_, is_name) - rest_.begin());
    std::string name(rest_.substr(0, length));
    take(length);
    return name;
  }

  void skip_blanks() {
    while (!rest_.empty() && is_blank(rest_.front())) take(1);
  }
  void skip_line() { take(std::min(rest_.find('\n'), rest_.size())); }
  void take(std::size_t bytes) {
    line_ += static_cast<int>(std::ranges::count(rest_.substr(0, bytes), '\n'));
    rest_.remove_prefix(bytes);
  }
  void fail(const std::string& what) {
    if (!failed_) failed_ = Error{fmt::format("{}:{}: {}", name_, line_, what), ExitCode::bad_spec};
  }

  std::string_view rest_;
  const std::string& name_;
  int line_ = 1;
  EnvVars variables_;
  std::optional<Error> failed_;
};

}  // namespace

Result<EnvVars> parse_env_file(std::string_view text, const std::string& name) {
  return EnvFile(text, name).run();
}

Result<EnvVars> read_env_file(const std::string& path, const ReadFile& read_file, std::size_t& bytes) {
  bytes = 0;
  auto text = read_file(path);
  if (!text) return Error{text.error().message, ExitCode::bad_spec, text.error().errno_value};
  bytes = text.value().size();
  if (bytes > limits::env_file_bytes_max)
    return Error{fmt::format("{}: larger than {} bytes", path, limits::env_file_bytes_max),
                 ExitCode::bad_spec};
  return parse_env_file(text.value(), path);
}

Result<EnvVars> read_env_files(const App& app, const ReadFile& read_file) {
  EnvVars all;
  for (const std::string& path : app.env_files) {
    std::size_t bytes = 0;
    auto variables = read_env_file(path, read_file, bytes);
    if (!variables) return variables.error();
    for (auto& variable : variables.value()) all.push_back(std::move(variable));
  }
  return the_last_of_each(all);
}

EnvVars the_last_of_each(const EnvVars& variables) {
  std::map<std::string, std::string> last;
  for (const auto& [name, value] : variables) last[name] = value;
  return {last.begin(), last.end()};
}

}  // namespace muster::spec
