// Everything the planner can ask for: the right edge of Planner::step. The executor carries actions out in
// order and answers with events. Each carries its reason, and the same words reach the log, `why`, the event
// stream and the plan.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/ids.h"
#include "health/outcome.h"
#include "spec/spec.h"
#include "supervisor/living.h"

namespace muster::supervisor {

// So long before the program of a replica that backs off may begin, its start is prepared: up to exec(3).
inline constexpr std::chrono::milliseconds start_lead{1};

// Start one process. Answered by ProcessStarted or SpawnFailed. The executor makes the volumes, picks the
// "auto" ports, refuses taken numbered ports, expands the templates and builds the environment.
struct Spawn {
  InstanceId instance;
  ReplicaId replica;
  Revision revision;
  std::shared_ptr<const spec::App> app;
  int replicas = 1;  // {replicas}, MUSTER_REPLICAS
  // APP -> "addr:port[,…]": for MUSTER_ADDR_<APP> (every name in `after`) and {addr.APP}
  std::vector<std::pair<std::string, std::string>> addresses;
  std::string why;
  int starts = 1;                   // of this revision at this ordinal, with this one
  std::optional<RunMemo> run = {};  // of a job
  // The program begins then at the earliest, start_lead from now at most; none: as soon as it can.
  std::optional<Instant> not_before = {};
};

// The mark of a process is another than before: to be written down at once.
struct MarkReplica {
  InstanceId instance;
  ReplicaMark mark;
};

// What bounds the instance as a whole (limits.memory, .cpu, .pids of `app`) is another than what it was started with,
// or somebody else has started it: from now on.
struct SetLimits {
  InstanceId instance;
  std::shared_ptr<const spec::App> app;
  std::string why;
};

struct Signal {  // to the main process only (pidfd_send_signal)
  InstanceId instance;
  int signal = 0;
  std::string why;
};

// SIGKILL to everything the instance ever forked; answered by TreeGone. May come again while it has not
// answered.
struct KillTree {
  InstanceId instance;
  std::string why;
};

struct RunStopCommand {  // `stop.exec`, bounded by `stop.timeout`; answered by StopCommandDone
  InstanceId instance;
  std::string why;
};

struct RunProbe {  // one probe now; answered by ProbeFinished. At most one of a kind is under way per
                   // instance
  InstanceId instance;
  health::ProbeKind kind = health::ProbeKind::readiness;
};

struct EndpointState {
  InstanceId instance;
  ReplicaId replica;
  std::string address;  // "127.0.0.1", "::1" or the path of a socket, which has no port
  std::uint16_t port = 0;
};
struct PoolState {
  std::string app;
  std::vector<EndpointState> endpoints;  // ready and in rotation, by ordinal then instance
  bool paused = false;                   // requests wait all the same
  bool on_demand = false;                // to be told when one waits for a replica: Demanded
};

// The whole routing, as it should be from now on; answered by SnapshotInUse. The listeners are those of
// `spec`.
struct Publish {
  SnapshotVersion version;
  std::shared_ptr<const spec::Spec> spec;
  std::vector<PoolState> pools;  // one for each app that a listener names, also when it is empty
  std::string why;
};

struct WatchIdle {  // answered by EndpointIdle; only asked once a snapshot without the instance is in use
                    // everywhere
  InstanceId instance;
};

enum class Severity { info, warning, error };

// One line for people: log, `events`, `why`. `kind` is a stable word ("exited", "ready", "backoff", "reload"
// …).
struct Note {
  Severity severity = Severity::info;
  std::string kind;
  std::string app;  // empty: about the daemon
  std::optional<int> ordinal;
  std::optional<InstanceId> instance;
  std::string text;  // "exited with status 1; next start in 2.0 s"
};

struct CommandDone {
  CommandId command;
  ExitCode code = ExitCode::ok;
  std::string message;
};

// What survives a restart of the daemon has changed: Planner::persistent() is worth saving.
struct SaveState {};

// Nothing is left to do or to run: the daemon ends with this code.
struct ExitDaemon {
  int code = 0;
  std::string why;
};

using Action = std::variant<Spawn, MarkReplica, SetLimits, Signal, KillTree, RunStopCommand, RunProbe,
                            Publish, WatchIdle, Note, CommandDone, SaveState, ExitDaemon>;

}  // namespace muster::supervisor
