#include "supervisor/log_budget.h"

#include <algorithm>
#include <deque>
#include <map>
#include <tuple>

namespace muster::supervisor {
namespace {

struct AppLogs {
  std::uint64_t bytes = 0;
  std::deque<LogFile> files;  // in the order in which they may go
};

// Rotated before live; then by age; of equal age the higher generation is the older.
bool goes_before(const LogFile& a, const LogFile& b) {
  const auto rank = [](const LogFile& f) {
    return std::tuple(f.name.generation == 0, f.modified, -f.name.generation,
                      f.name.replica ? f.name.replica->ordinal : 0);
  };
  return rank(a) < rank(b);
}

}  // namespace

std::vector<LogRemoval> plan_log_budget(std::vector<LogFile> files, std::uint64_t budget,
                                        const std::function<bool(const LogFileName&)>& is_open) {
  std::uint64_t total = 0;
  std::map<std::string, AppLogs> apps;
  std::sort(files.begin(), files.end(), goes_before);
  for (LogFile& file : files) {
    if (file.bytes == 0) continue;
    total += file.bytes;
    AppLogs& app = apps[file.name.owner()];
    app.bytes += file.bytes;
    app.files.push_back(std::move(file));
  }
  std::vector<LogRemoval> removals;
  while (total > budget) {
    const auto largest = std::max_element(apps.begin(), apps.end(), [](const auto& a, const auto& b) {
      return a.second.bytes < b.second.bytes;
    });
    if (largest == apps.end() || largest->second.files.empty()) break;
    AppLogs& app = largest->second;
    LogFile file = std::move(app.files.front());
    app.files.pop_front();
    total -= file.bytes;
    app.bytes -= file.bytes;
    const bool truncate = file.name.generation == 0 && is_open(file.name);
    removals.push_back({std::move(file), truncate});
  }
  return removals;
}

}  // namespace muster::supervisor
