// What survives the daemon, on disk: written to a temporary file, synced, renamed over the old one (kept as
// .prev), the folder synced. Whatever the disk holds, the daemon starts.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "supervisor/kept_file.h"
#include "supervisor/persistent.h"

struct uv_loop_s;

namespace muster::supervisor {

struct LoadedState {
  using From = KeptFile::From;
  From from = From::nothing;
  PersistentState state;              // empty when from nothing
  std::vector<std::string> warnings;  // "/…/state.json is damaged: …; starting from …/state.json.prev"
};

// No file at all is a first start: nothing, no warning. A file that cannot be used is kept as PATH.refused.
LoadedState load_state(const std::string& path);

// Blocks for fsync(2). The folder must exist; files are 0600.
Status save_state(const std::string& path, const PersistentState& state);

// Saves off the loop: fsync(2) can take long, and a crash-looping app changes the state at each exit. The newest
// state wins; at most one save is under way, and at most one per 200 ms starts.
class StateSaver {
 public:
  // `on_error` is called on the control thread, once when saving begins to fail; "" when it works again.
  // The loop must run once more after the destructor.
  StateSaver(uv_loop_s* loop, std::string path, std::function<void(const std::string&)> on_error);
  ~StateSaver();
  StateSaver(const StateSaver&) = delete;
  StateSaver& operator=(const StateSaver&) = delete;

  void save(PersistentState state);
  // Calls back once all that was to be saved until now is on disk, or could not be written: at once, inside the call,
  // when nothing is outstanding. What somebody waits for is not held up by the pause between saves.
  void when_written(std::function<void()> done);
  // Calls back once it is on disk, however many saves fail before that. Waits for the pause.
  void after_next_save(std::function<void()> done);
  // Writes what is not written yet, blocking: before the daemon ends.
  Status flush();

  struct Impl;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace muster::supervisor
