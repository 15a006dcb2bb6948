// A file whose loss would be noticed: written to a temporary file and renamed over the old one, which stays as .prev.
// Whatever the disk holds, it is read or told about. What the text means is the caller's.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "supervisor/write_file.h"

namespace muster::supervisor {

struct KeptFile {
  enum class From { nothing, current, previous } from = From::nothing;
  std::vector<std::string> warnings;  // "/…/state.json is damaged: …; starting from /…/state.json.prev"
};

// Gives `take` the text of PATH, else of PATH.prev; it says by an error (without the file's name: "is damaged: …") that
// it cannot use it. No file at all is a first start: nothing, no warning. A file that cannot be used is kept as
// PATH.refused. `otherwise` ends the warning when there is neither: "; starting without …".
KeptFile load_kept(const std::string& path, std::size_t bytes_max,
                   const std::function<Status(const std::string& text)>& take, std::string_view otherwise);

// The folder must exist; files are 0600. Synced::yes blocks for fsync(2) of file and folder.
Status write_kept(const std::string& path, std::string_view text, Synced synced);

// What was written without being synced is on disk when this returns. For any thread.
Status sync_kept(const std::string& path);

}  // namespace muster::supervisor
