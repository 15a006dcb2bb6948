#include "supervisor/log_match.h"

#include <regex>

#include "base/limits.h"

namespace muster::supervisor {

struct LogMatcher::Impl {
  std::regex pattern;
};

LogMatcher::LogMatcher(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LogMatcher::LogMatcher(LogMatcher&&) noexcept = default;
LogMatcher& LogMatcher::operator=(LogMatcher&&) noexcept = default;
LogMatcher::~LogMatcher() = default;

Result<LogMatcher> LogMatcher::compile(const std::string& pattern) {
  try {
    // __polynomial is libstdc++'s breadth-first matcher; it knows no back-references and says so by throwing.
    const auto flags = std::regex::ECMAScript | std::regex::optimize | std::regex_constants::__polynomial;
    return LogMatcher(std::make_unique<Impl>(Impl{std::regex(pattern, flags)}));
  } catch (const std::regex_error& error) {
    const bool reference = error.code() == std::regex_constants::error_complexity;
    const std::string reason = reference ? "back-references are not possible in a log pattern" : error.what();
    return Error{"the pattern '" + pattern + "' cannot be used: " + reason, ExitCode::bad_spec};
  }
}

bool LogMatcher::matches(std::string_view line) const {
  line = line.substr(0, limits::log_match_bytes_max);
  try {
    return std::regex_search(line.begin(), line.end(), impl_->pattern);
  } catch (const std::regex_error&) {
    return false;  // out of the library's own bounds: no match
  }
}

}  // namespace muster::supervisor
