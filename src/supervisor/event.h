// Everything that can happen to the planner: the left edge of Planner::step. Shells only append events; they
// decide nothing. One closed sum, visited without a catch-all.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "base/time.h"
#include "health/outcome.h"
#include "spec/spec.h"
#include "supervisor/autoscale.h"
#include "supervisor/limit_rules.h"

namespace muster::supervisor {

// Both clocks of one step. Decisions use `mono`; `wall` is carried along to be shown, and says when jobs are due.
struct Now {
  Instant mono;
  WallTime wall;
};

struct ExitStatus {
  std::optional<int> code;    // exit(3) status
  std::optional<int> signal;  // signal(7) number that ended it
  bool core = false;
  bool oom = false;                             // the kernel's OOM killer, as the cgroup's memory.events says
  std::optional<std::uint64_t> oom_limit = {};  // with `oom`: the replica's own limit, which was hit; bytes
};
std::string describe(const ExitStatus& status);  // "exited with status 1", "killed by SIGKILL",
                                                 // "killed by the kernel: out of memory (limit 64MiB)"
std::string signal_name(int signal_number);      // "SIGTERM"; "signal 77" when it has no name

// --- from the host
// ---------------------------------------------------------------------------------------------------

// exec succeeded. `ports` has "" for {port} and the names of `ports`; empty where the app has none. `socket` is
// {port} where that is a path, else empty.
struct ProcessStarted {
  InstanceId instance;
  int pid = 0;
  std::vector<std::pair<std::string, std::uint16_t>> ports;
  std::string socket = {};
};

enum class SpawnFailure {
  port_busy,    // a numbered port is taken: not the app's fault, tried again each second
  volume_busy,  // its volume has a tenant still: the same
  volume_lost,  // its volume is not what it was, or not there: tried again each second, until somebody sees to it
  exec,         // a step of the shim failed (no such file, no such user …): counts as an exit
  resources,  // fork or descriptors or disk ran out on our side: tried again with backoff
};
// No process was left behind. Follows a Spawn instead of ProcessStarted.
struct SpawnFailed {
  InstanceId instance;
  SpawnFailure kind = SpawnFailure::exec;
  std::string
      sentence;  // "port 6379 is held by pid 812 (redis-server)", "exec ./db: No such file or directory"
};

// The main process was reaped. Others of its tree may live until TreeGone.
struct ProcessExited {
  InstanceId instance;
  ExitStatus status;
  std::optional<Instant> at = {};  // when it was reaped: the backoff counts from then; none: now
};

// A limit that the kernel does not enforce here, but muster watches: the replica was found above it.
struct LimitExceeded {
  InstanceId instance;
  LimitKind kind = LimitKind::memory;
  std::uint64_t used = 0;  // bytes; processes and threads
  std::uint64_t limit = 0;
};

// Somebody sent the main process SIGSTOP (or its like): it answers nothing until SIGCONT.
struct ProcessFrozen {
  InstanceId instance;
  int signal = 0;
};
struct ProcessThawed {
  InstanceId instance;
};

// Nothing is left of the instance's processes: its slot may be used again. Comes after ProcessExited, unasked
// when the tree died with the main process, otherwise in answer to KillTree.
struct TreeGone {
  InstanceId instance;
};

struct ProbeFinished {
  InstanceId instance;
  health::ProbeKind kind = health::ProbeKind::readiness;
  health::Outcome outcome;
};

// sd_notify(3) from a process of the replica.
struct Notified {
  InstanceId instance;
  bool ready = false;
  bool stopping = false;
  bool watchdog = false;
  bool watchdog_trigger = false;         // WATCHDOG=trigger: restart now
  std::optional<std::string> status;     // STATUS=
  std::optional<Millis> extend_timeout;  // EXTEND_TIMEOUT_USEC
};

struct LogMatched {  // a line of output matched the `log:` regex of that probe kind
  InstanceId instance;
  health::ProbeKind kind = health::ProbeKind::readiness;
};

// `stop.exec` has ended (or failed to start): the signal may follow.
struct StopCommandDone {
  InstanceId instance;
  std::string sentence;
};

// --- from the balancer
// -----------------------------------------------------------------------------------------------

struct SnapshotInUse {  // every traffic thread has swapped to this version (or a later one)
  SnapshotVersion version;
};
struct EndpointIdle {  // in-flight is 0 on all threads; answers WatchIdle
  InstanceId instance;
};

// How a replica has answered since its start.
struct Answers {
  std::uint64_t all = 0;
  std::uint64_t errors = 0;  // of them with 5xx
};
// The balancer's counts, a few times a second as long as Planner::wants_answers().
struct AnswersCounted {
  std::map<InstanceId, Answers> by_instance;
};

// What the replicas have used since the last time; every autoscale_every while Planner::wants_load().
struct LoadSample {
  std::optional<double> cpu_percent;  // of one core; none: it was not there long enough
  std::optional<double> in_flight;    // on average; none: no listener counts
  std::uint64_t memory_bytes = 0;
};
struct LoadMeasured {
  std::map<InstanceId, LoadSample> by_instance;
  HostLoad host;
};
// A request or connection waits for a replica of an app that is on demand and has none.
struct Demanded {
  std::string app;
};
// When each replica had its last request; every second while Planner::wants_traffic().
struct TrafficSeen {
  std::map<InstanceId, Instant> last;
};

// --- from people
// -----------------------------------------------------------------------------------------------------

// A whole valid spec whose new listeners are bound already. `command` is set when somebody waits for it to
// settle.
struct SpecLoaded {
  std::shared_ptr<const spec::Spec> spec;
  std::optional<CommandId> command;
  bool retry = false;  // revisions that failed are tried again
};
struct SpecRejected {  // the file is bad: everything stays; shown until the next SpecLoaded
  std::string error;
  std::map<std::string, std::string> listeners = {};  // those whose files are bad, and why
};

struct Target {  // "web" or "web/2"
  std::string app;
  std::optional<int> ordinal;
};
struct StartCommand {
  CommandId command;
  Target target;
};
struct StopCommand {
  CommandId command;
  Target target;
};
struct RestartCommand {
  CommandId command;
  Target target;
  bool at_once = false;  // --now: all replicas together
  // The app's env_file contents as they are now.
  std::vector<std::pair<std::string, std::string>> env_file_vars;
};
struct ScaleCommand {
  CommandId command;
  std::string app;
  std::optional<int> replicas;  // none = `scale APP=file`: the hold ends
};
struct DrainCommand {
  CommandId command;
  Target target;      // with an ordinal
  bool drain = true;  // false = undrain
};
struct PauseCommand {
  CommandId command;
  std::string app;
  bool pause = true;  // false = resume
};
struct UndoCommand {  // back to the revision before the one in force
  CommandId command;
  std::string app;
};
struct RunCommand {  // one run of a job, now
  CommandId command;
  std::string job;
};
struct CommandAbandoned {  // the client went away: nobody waits any more; what was asked for goes on
  CommandId command;
};
struct FilesChanged {  // `watch` globs of an app, debounced
  std::string app;
  std::string path;
};
struct ClockSet {};  // the wall clock was set, or the host has slept: what is due by it is looked at anew
struct ShutdownRequested {  // ordered stop; the second one kills everything at once
  std::string why;          // "SIGTERM", "muster down"
  bool at_once = false;
};

using Event =
    std::variant<ProcessStarted, SpawnFailed, ProcessExited, LimitExceeded, ProcessFrozen, ProcessThawed,
                 TreeGone, ProbeFinished, Notified, LogMatched, StopCommandDone, SnapshotInUse, EndpointIdle,
                 AnswersCounted, LoadMeasured, Demanded, TrafficSeen, SpecLoaded, SpecRejected, StartCommand,
                 StopCommand, RestartCommand, ScaleCommand, DrainCommand, PauseCommand, UndoCommand,
                 RunCommand, ClockSet, CommandAbandoned, FilesChanged, ShutdownRequested>;

}  // namespace muster::supervisor
