// The observed state: what the planner knows of each app, slot and process. Pure values; only the planner
// writes them, status pages read them.
//
// A slot (app, ordinal) has tenants: processes with an instance id. Most of the time it has one, while a new
// revision rolls out it may have an old and a new one (never if it has a volume or a numbered port), and
// between two lives none.
//
// Phases of a tenant (one function of the planner assigns them; each keeps a reason for people):
//   starting  spawned or being spawned; not yet ready. Ends by readiness, exit or a wish to stop it.
//   ready     in rotation (unless drained by hand). Ends by a fallen readiness probe, exit, a wish to stop
//   it. unready   was ready, its readiness fell; keeps running, gets no new traffic. Never killed for that.
//   draining  out of rotation, still alive: waits for every traffic thread's acknowledgement and for
//   in-flight
//             requests (or the drain deadline), then is stopped - or stays, when it was drained by hand.
//   stopping  stop.exec, signal, and after stop.timeout KILL to the whole tree; also a dead main process
//   whose tree
//             is not gone yet. Ends only by TreeGone.
// Phases of a slot without a tenant:
//   waiting   `after` is not satisfied, or its turn in a rollout has not come
//   backoff   will start at next_start: it exited unasked, could not be spawned, or its port is taken
//   failed    restart policy or max_restarts says no more; ended by start, restart or a new revision
//   stopped   a hold or the end of the daemon
//   completed exited with an ok code under a policy that does not restart it
// When two wishes conflict the one further down this list wins: run, roll out, restart, scale down, stop by
// hand, end of the daemon, end of the daemon at once.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "health/verdict.h"
#include "spec/spec.h"
#include "supervisor/event.h"

namespace muster::supervisor {

enum class Phase {
  waiting,
  starting,
  ready,
  unready,
  draining,
  stopping,
  backoff,
  failed,
  stopped,
  completed
};
std::string_view to_string(Phase phase);

struct LastExit {
  ExitStatus status;
  std::string reason;
  WallTime at;
};

enum class AppState { failed, updating, paused, stopped, waiting, starting, degraded, completed, ready };
std::string_view to_string(AppState state);

}  // namespace muster::supervisor
