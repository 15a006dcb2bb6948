// The logs of the host, but muster's own. The output of all replicas: their pipes on the control loop, their files,
// their last lines, and whoever listens. Everything here is for the control thread.
//
// Fairness: a pipe that has bytes waits in a queue; each loop turn reads at most limits::log_turn_bytes from the
// front of it, one shared buffer for all. An app that writes faster than that fills its pipe and blocks in
// write(2): the loop is not slowed and memory does not grow.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/ids.h"
#include "base/result.h"
#include "spec/spec.h"
#include "supervisor/action.h"
#include "supervisor/log_line.h"
#include "supervisor/output_pipes.h"

struct uv_loop_s;

namespace muster::supervisor {

struct LogsConfig {
  std::string folder;  // made with its parents, 0750, when it is missing
  std::uint64_t budget_bytes = 1U << 30U;
  // The log journal's file; "": none, and a daemon that is killed loses what it had read. One that cannot be opened is
  // tried again when a new process is attached.
  std::string journal = {};
};

struct LogsHooks {
  // A line matched `ready_pattern`: once for each attach().
  std::function<void(InstanceId)> on_match;
  // Disk trouble and its end, the budget's work, bad patterns: for the event log and muster's own log.
  std::function<void(Note)> on_note;
};

// Both ends of what attach() needs. The read ends are made non-blocking here; either may be invalid.
struct LogPipes {
  InstanceId instance{};
  ReplicaId replica;
  Fd out;
  Fd err;
  std::optional<std::string> ready_pattern;  // health.log
  bool reopened = false;                     // of a process that an earlier daemon started
};

enum class FollowId : std::uint64_t {};

class Logs {
 public:
  // Cannot fail: a folder that cannot be made is a note, and is tried again with each line.
  // The loop must run once more after the destructor, so that libuv closes its handles.
  Logs(uv_loop_s* loop, LogsConfig config, LogsHooks hooks);
  ~Logs();
  Logs(const Logs&) = delete;
  Logs& operator=(const Logs&) = delete;

  // Instances of an earlier daemon whose processes have ended, all that are not attached by now: what their pipes still
  // hold and their incomplete lines are written. Those whose journal was lost are told of.
  void end_others(std::vector<LeftOutput> left);

  // Reads the pipes until both end. An instance of an earlier daemon goes on at the next byte. Two instances of one slot
  // may be attached at the same time; their lines go to one file. `options` are the app's from now on.
  void attach(LogPipes pipes, const spec::LogOptions& options);
  // No process of the instance is left: what the pipes still hold is read (up to 1 MiB), an incomplete line is
  // flushed, the pipes are closed. Fine when they have ended before or the instance is unknown.
  void finish(InstanceId instance);
  [[nodiscard]] bool attached(InstanceId instance) const;  // a pipe of it has not ended
  // This daemon goes and its replicas stay: incomplete lines are left to the next one. Call it last.
  void leave();
  // The slot is gone for good: its last lines are forgotten. Its files stay (the budget owns them).
  void forget(const ReplicaId& replica);

  void set_options(const std::string& app, const spec::LogOptions& options);  // live, from the next line
  void set_budget(std::uint64_t bytes);                                       // live; checked at once
  void reopen();                                                              // USR1: those of the replicas

  // Access logs: see AccessLogs.
  void set_access_logs(const std::map<std::string, spec::LogOptions>& listeners);
  void write_access_log(const std::string& listener, std::string_view lines, std::uint64_t lost);
  void reopen_access_logs();
  [[nodiscard]] std::set<std::string> access_logs() const;  // the stems of their files

  // The slot's last lines, oldest first, at most LogTail::lines_max.
  [[nodiscard]] std::vector<StoredLine> tail(const ReplicaId& replica) const;
  [[nodiscard]] std::uint64_t dropped_lines() const;  // of all files, in this daemon's life
  [[nodiscard]] const std::string& folder() const;

  // `on_line` is called for each line of each slot from now on, on the control thread, before the line can be
  // found in a file by somebody else; it filters by itself. It may not call back into Logs but unfollow().
  FollowId follow(std::function<void(const LogLine&)> on_line);
  void unfollow(FollowId id);

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace muster::supervisor
