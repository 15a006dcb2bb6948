// Collects paths that changed and names each once it has been quiet for a while. For the control thread.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "base/time.h"
#include "supervisor/uv_handles.h"

namespace muster::supervisor {

class ChangeTimer {
 public:
  static constexpr std::size_t pending_max = 1000;

  ChangeTimer(uv_loop_t* loop, Millis quiet, std::function<void()> on_due);

  // Paths beyond pending_max are not kept: so much has changed already that one more says nothing new.
  void mark(const std::string& path, Instant now);
  // One path that is due; empty when there is none: then the timer waits for the next.
  [[nodiscard]] std::string take_due(Instant now);
  void clear();

 private:
  struct Change {
    Instant first;
    Instant last;
  };
  [[nodiscard]] Instant due(const Change& change) const;
  void arm(Instant now);

  Millis quiet_;
  std::map<std::string, Change> changes_;
  UvTimer timer_;
};

// One inotify watch by way of libuv, which has one descriptor for all of a loop's.
class FolderWatch : public UvHandle<uv_fs_event_t, std::function<void(const char* name, int events)>> {
 public:
  // 0 or a libuv error. `name` is null when the kernel gave none; an event of the folder itself carries its own last
  // name. `events` of uv_fs_event.
  [[nodiscard]] int start(uv_loop_t* loop, const std::string& folder,
                          std::function<void(const char* name, int events)> callback);
};

// "cannot watch /x: No space left on device (fs.inotify.max_user_watches is reached)"
std::string watch_error(const std::string& folder, int uv_error);

}  // namespace muster::supervisor
