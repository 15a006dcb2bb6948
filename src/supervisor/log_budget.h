// `log_budget`: which files go so that all logs of the host fit. Pure.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/ids.h"
#include "supervisor/log_files.h"

namespace muster::supervisor {

struct LogRemoval {
  LogFile file;
  bool truncate = false;  // the file is open for writing: it is emptied instead of removed
};

// The largest app (an access log counts as one) loses its oldest file first, again and again until the sum is within
// `budget` bytes. Rotated
// files go before live ones; a live file that `is_open` is truncated, one of an earlier daemon is removed.
std::vector<LogRemoval> plan_log_budget(std::vector<LogFile> files, std::uint64_t budget,
                                        const std::function<bool(const LogFileName&)>& is_open);

}  // namespace muster::supervisor
