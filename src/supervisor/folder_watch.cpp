#include "supervisor/folder_watch.h"

#include <algorithm>

#include "base/error.h"

namespace muster::supervisor {

ChangeTimer::ChangeTimer(uv_loop_t* loop, Millis quiet, std::function<void()> on_due)
    : quiet_(quiet), timer_(loop, std::move(on_due)) {}

Instant ChangeTimer::due(const Change& change) const {
  return std::min(change.last + quiet_, change.first + 10 * quiet_);
}

void ChangeTimer::mark(const std::string& path, Instant now) {
  if (const auto known = changes_.find(path); known != changes_.end()) {
    known->second.last = now;
  } else if (changes_.size() < pending_max) {
    changes_.emplace(path, Change{now, now});
  }
  if (!timer_.armed()) arm(now);
}

void ChangeTimer::arm(Instant now) {
  if (changes_.empty()) return timer_.stop();
  Instant next = Instant::max();
  for (const auto& [path, change] : changes_) next = std::min(next, due(change));
  timer_.start(std::max(std::chrono::ceil<Millis>(next - now), Millis{1}));
}

std::string ChangeTimer::take_due(Instant now) {
  const auto found = std::find_if(changes_.begin(), changes_.end(),
                                  [&](const auto& change) { return due(change.second) <= now; });
  if (found == changes_.end()) {
    arm(now);
    return {};
  }
  return std::move(changes_.extract(found).key());
}

void ChangeTimer::clear() {
  changes_.clear();
  timer_.stop();
}

int FolderWatch::start(uv_loop_t* loop, const std::string& folder,
                       std::function<void(const char* name, int events)> callback) {
  close();
  Box* box = new Box{{}, std::move(callback)};
  if (const int error = uv_fs_event_init(loop, &box->handle); error != 0) {
    delete box;
    return error;
  }
  box->handle.data = box;
  box_ = box;
  const int error = uv_fs_event_start(
      &box->handle,
      [](uv_fs_event_t* handle, const char* name, int events, int /*status*/) {
        static_cast<Box*>(handle->data)->callback(name, events);
      },
      folder.c_str(), 0);
  if (error != 0) close();
  return error;
}

std::string watch_error(const std::string& folder, int uv_error) {
  std::string text = "cannot watch " + folder + ": " + errno_text(-uv_error);
  if (uv_error == UV_ENOSPC) text += " (fs.inotify.max_user_watches is reached)";
  if (uv_error == UV_EMFILE)
    text += " (fs.inotify.max_user_instances or the limit of descriptors is reached)";
  return text;
}

}  // namespace muster::supervisor
