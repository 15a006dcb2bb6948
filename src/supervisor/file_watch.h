// Watches files by their folders: a watch on a file goes deaf at the first rename-save. What it says is a hint
// ("look again"): the caller compares contents; HUP and `reload` stay the authority. For the control thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace muster::supervisor {

class FolderWatches;

// `path` is one of set_files(), or a file that matches a glob or a folder that went away and could hold one, absolute;
// called once per path after `debounce` without a further change (at the latest after ten times `debounce`, which is
// also how long a file that is made anew may take until it is closed). When the kernel drops events, every file of the
// set counts as changed, and of globs their root. The hook may change or end the watch.
using OnFileChange = std::function<void(const std::string& path)>;

// The spec, its includes, env_files: named files, also ones that do not exist yet.
class FileWatch {
 public:
  // `folders` must outlive it, and their loop must run once more after the destructor.
  FileWatch(FolderWatches& folders, Millis debounce, OnFileChange on_change);
  ~FileWatch();
  FileWatch(const FileWatch&) = delete;
  FileWatch& operator=(const FileWatch&) = delete;

  // Replaces the set (absolute paths). For an `include` glob give the folder itself with a trailing "/": every
  // name in it counts, and on_change gets the folder's path as given. Error: inotify refuses (EMFILE, ENOSPC:
  // the sentence names the sysctl); what could be watched is watched.
  Status set_files(std::vector<std::string> paths);

  struct Impl;

 private:
  std::shared_ptr<Impl> impl_;
};

// `watch` globs of one app, below the spec's folder.
class GlobWatch {
 public:
  GlobWatch(FolderWatches& folders, Millis debounce, OnFileChange on_change);
  ~GlobWatch();
  GlobWatch(const GlobWatch&) = delete;
  GlobWatch& operator=(const GlobWatch&) = delete;

  // Walks the folders that can hold a match, at most limits::watch_folders_max, links not followed. New folders
  // are taken in as they appear, and files in them count as changed. Error: a bad pattern; or too many folders
  // or inotify refused (what could be watched is watched).
  Status set_globs(const std::string& root, const std::vector<std::string>& patterns);

  struct Impl;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace muster::supervisor
