// `log:REGEX`: whether a line of output says that the replica is ready. Pure.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace muster::supervisor {

// An ECMAScript pattern, searched (not anchored) in the first limits::log_match_bytes_max bytes of a line.
// Matching takes time polynomial in the line and a stack that does not grow with it, whatever the pattern:
// libstdc++'s default matcher recurses per byte and backtracks exponentially. The price: a pattern with
// back-references is refused.
class LogMatcher {
 public:
  static Result<LogMatcher> compile(const std::string& pattern);
  LogMatcher(LogMatcher&&) noexcept;
  LogMatcher& operator=(LogMatcher&&) noexcept;
  ~LogMatcher();

  [[nodiscard]] bool matches(std::string_view line) const;

 private:
  struct Impl;
  explicit LogMatcher(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace muster::supervisor
