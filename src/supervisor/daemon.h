// The daemon: everything of one running muster, for `up`, `daemon` and `demo`. Blocks until it has ended.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "spec/load.h"
#include "spec/spec.h"
#include "supervisor/event_log.h"
#include "supervisor/log_line.h"
#include "supervisor/next_image.h"
#include "supervisor/planner.h"

namespace muster::supervisor {

struct DaemonOptions {
  RunMode mode = RunMode::daemon;
  std::string spec_path;                 // absolute
  std::string socket_path;               // control socket
  std::string state_dir;                 // state.json, volumes/, lock
  std::string log_dir;                   // APP-N.log
  std::string run_dir;                   // of this daemon alone: sockets of replicas
  std::vector<std::string> only_apps;    // `up APP…`: these and what they need; empty: all
  std::vector<std::string> environment;  // as the process was started, before anything was removed from it
  std::optional<int> threads;            // MUSTER_THREADS over [daemon] threads
  StartImage image = {};                 // by which an upgrade in place starts the next image
  std::optional<DaemonHandover> handover = std::nullopt;  // that an earlier image left to this one
  // `up` only: called on the control thread for each line of output and each event; must not block for long.
  std::function<void(const LogLine&)> on_line;
  std::function<void(const LoggedEvent&)> on_event;
  // Before an upgrade: what these two were given is to be written out, as far as its reader takes it in time.
  std::function<void(Millis limit)> settle_output = {};
};

// Exit code: 0 or 1; 64…77 when it could not start (said on standard error); 130, 143, 129 in `up` after INT, TERM,
// HUP.
int run_daemon(DaemonOptions options);

}  // namespace muster::supervisor
