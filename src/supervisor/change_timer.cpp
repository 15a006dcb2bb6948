#include "supervisor/change_timer.h"

#include <sys/stat.h>

#include <algorithm>

namespace muster::supervisor {

Writing writing_to(const std::string& path) {
  struct stat info {};
  const bool begun = lstat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode) && info.st_nlink == 1;
  return begun ? Writing::going_on : Writing::over;
}

ChangeTimer::ChangeTimer(uv_loop_t* loop, Millis quiet, std::function<void()> on_due)
    : quiet_(quiet), timer_(loop, std::move(on_due)) {}

Instant ChangeTimer::due(const Change& change) const {
  const Instant latest = change.first + patience * quiet_;
  return change.writing == Writing::going_on ? latest : std::min(change.last + quiet_, latest);
}

void ChangeTimer::mark(const std::string& path, Writing writing, Instant now) {
  auto at = changes_.find(path);
  if (at == changes_.end()) {
    if (changes_.size() >= pending_max) return;
    at = changes_.emplace(path, Change{now, now, writing}).first;
  } else {
    at->second.last = now;
    at->second.writing = writing;
  }
  // A later date is found when the timer fires.
  if (const Instant next = due(at->second); !timer_.armed() || next < armed_for_) arm(next, now);
}

void ChangeTimer::arm(Instant at, Instant now) {
  armed_for_ = at;
  timer_.start(std::max(std::chrono::ceil<Millis>(at - now), Millis{1}));
}

std::string ChangeTimer::take_due(Instant now) {
  const auto first = std::min_element(changes_.begin(), changes_.end(), [this](const auto& a, const auto& b) {
    return due(a.second) < due(b.second);
  });
  if (first == changes_.end()) {
    timer_.stop();
    return {};
  }
  if (const Instant next = due(first->second); next > now) {
    arm(next, now);
    return {};
  }
  return std::move(changes_.extract(first).key());
}

void ChangeTimer::clear() {
  changes_.clear();
  timer_.stop();
}

}  // namespace muster::supervisor
