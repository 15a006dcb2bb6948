// Which folders must be watched to hear of every change to some files. Pure: the file system comes as functions.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace muster::supervisor {

struct PathInfo {
  enum class Kind { missing, folder, link, other } kind = Kind::missing;
  std::string target;  // of a link, as written
};
using LookAt = std::function<PathInfo(const std::string& path)>;  // lstat(2) + readlink(2)

// folder -> names in it that matter (none = every name: the folder of a path that was given with a trailing "/").
using WatchPlan = std::map<std::string, std::set<std::string>>;

// For each absolute path: its folder; the folder of every symbolic link on the way, followed up to 16 times; and
// for a folder that was given without a trailing "/" the one above it, to hear when it goes; and
// where a folder is missing the nearest one above it that exists, to hear when it is made. A folder that is moved away
// is heard of by its own watch, not by one on the folder above: that may be a busy one (/tmp).
WatchPlan plan_watch(const std::vector<std::string>& paths, const LookAt& look_at);

}  // namespace muster::supervisor
