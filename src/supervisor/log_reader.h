// Reads logs back from their files: one slot, one app or all, merged by time over rotated files. Memory is
// bounded by 8 KiB per slot and the lines that are asked for; each call does a bounded piece of work, so it can
// run on the control loop.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "supervisor/log_line.h"

namespace muster::supervisor {

struct LogQuery {
  std::string app;                  // empty: all
  std::optional<int> ordinal;       // none: all of the app
  std::optional<std::size_t> tail;  // the last so many lines of each slot
  std::optional<WallTime> since;    // lines at or after this
  // Stems of files that are access logs, whatever their names look like; their lines are not read.
  std::set<std::string> access_logs = {};
  [[nodiscard]] bool covers(const ReplicaId& replica) const {
    return (app.empty() || app == replica.app) && (!ordinal || *ordinal == replica.ordinal);
  }
};

class LogReader {
 public:
  // The files as they are now: what is appended later is not read, what is rotated meanwhile is found again by
  // its inode, what is removed meanwhile is left out. An error when the folder cannot be read; no files or
  // no folder at all is no error. A tail goes back over 8 MiB of a slot at most.
  static Result<LogReader> open(const std::string& folder, LogQuery query);
  LogReader(LogReader&&) noexcept;
  LogReader& operator=(LogReader&&) noexcept;
  ~LogReader();

  // Appends up to `lines_max` lines in order of time; reads at most about 1 MiB. False when there is nothing
  // more; true with no line added means "call again".
  bool read_some(std::vector<StoredLine>& to, std::size_t lines_max);

 private:
  struct Impl;
  explicit LogReader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace muster::supervisor
