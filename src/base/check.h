// Checks for bugs, always on: a broken invariant ends the process with file:line and the service manager
// restarts it. Expected failures (bad input, a full disk, a dead peer) are never checks: they are Result
// values.
#pragma once

namespace muster {
[[noreturn]] void check_failed(const char* condition, const char* file, int line) noexcept;
}  // namespace muster

#define MUSTER_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::muster::check_failed(#condition, __FILE__, __LINE__))
