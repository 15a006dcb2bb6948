// What is in a volume, walked by descriptors: never through a link, never onto another file system. An app may change
// it meanwhile; what has gone by then is passed over. For threads of the pool: it may take long.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "base/time.h"

namespace muster::supervisor {

// When a walk has to end early.
struct WalkBounds {
  std::function<bool()> enough;  // asked for each folder
};

struct FilesUse {
  std::uint64_t bytes = 0;  // as allocated on disk; a file with several names counts once
  bool complete = true;     // false: it is at least so much
};
FilesUse use_of_tree(int folder, const WalkBounds& bounds);

// Where another file system is mounted at `path` or below it, by the text of /proc/self/mountinfo. Empty: nowhere. Pure.
std::string mount_below(std::string_view mountinfo, std::string_view path);

// Removes the folder `name` in the opened folder `above` and all that is in it. EXDEV: another file system is mounted
// in it; ECANCELED: `bounds`; nothing is told apart from what was removed by then.
Status remove_tree(int above, const std::string& name, const WalkBounds& bounds);

// Calls `assign` for each file and folder below `folder`, and for itself: files before the folder that they are in,
// which is then looked through once more for those that came meanwhile. Other kinds of files are left out.
Status assign_tree(int folder, const WalkBounds& bounds,
                   const std::function<Status(int file, bool is_folder)>& assign);

}  // namespace muster::supervisor
