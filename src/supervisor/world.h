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
// A run of a job lives in a slot, too: it is ready as soon as it runs, its slot is in backoff between two tries and
// goes when the run is over.
// When two wishes conflict the one further down this list wins: run, roll out, restart, scale down, stop by
// hand, end of the daemon, end of the daemon at once.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/ids.h"
#include "health/verdict.h"
#include "spec/spec.h"
#include "supervisor/autoscale.h"
#include "supervisor/event.h"
#include "supervisor/living.h"

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

enum class AppState { failed, updating, paused, stopped, waiting, starting, degraded, completed, ready };
std::string_view to_string(AppState state);

struct LastExit {
  ExitStatus status;
  std::string reason;
  WallTime at;
};

// How far the end of a tenant has come.
enum class StopStep { none, drain, command, signal, kill };

// Why a tenant leaves, in rising order: a later wish replaces an earlier one.
enum class Leaving { no, replaced, unhealthy, unwanted, shutdown, exited };

struct Tenant {
  InstanceId id{};
  ReplicaId replica;
  Revision revision{};
  bool outdated = false;  // a restart was asked for: to be replaced although its revision is current
  bool at_once = false;   // … without waiting for its turn
  std::shared_ptr<const spec::App> app;

  Phase phase = Phase::starting;
  std::string reason;
  WallTime since;

  bool started = false;  // ProcessStarted came
  int pid = 0;
  std::vector<std::pair<std::string, std::uint16_t>> ports;
  std::string address = "127.0.0.1";  // where its port answers
  std::string socket;                 // what it has instead of a port
  Instant spawned_at;
  Instant start_due;  // killed when it has not become the app by then
  Instant started_at;
  WallTime started_wall;

  health::Verdict ready_verdict{spec::HealthCheck{}, false};
  bool was_ready = false;
  Instant ready_since;
  bool notify_ready = false;
  bool log_ready = false;
  bool said_stopping = false;  // STOPPING=1: no new traffic
  int frozen_by = 0;           // the signal that stopped it: no new traffic until SIGCONT; 0: it runs
  bool probing = false;
  bool stale_probe = false;  // the probe under way is by rules that were edited meanwhile
  Instant next_probe;
  std::optional<health::Outcome> last_probe;
  std::string warning;  // "listens on every address"

  health::Verdict live_verdict{spec::HealthCheck{}, true};
  bool live_probing = false;
  Instant next_live;
  std::optional<health::Outcome> last_live;
  std::optional<Millis> watchdog;  // as its environment says; an edit reaches the next process
  std::optional<Instant> watchdog_due;
  std::string status_text;  // STATUS= of sd_notify(3)

  Leaving leaving = Leaving::no;
  StopStep step = StopStep::none;
  Instant step_due;
  bool hasty = false;  // hangs: killed as soon as no worker can pick it, without drain and signal
  bool exited = false;
  bool idle_asked = false;
  bool idle = false;
  bool routed = false;             // in the newest snapshot
  std::optional<Answers> counted;  // as last heard in a rollout
  ReplicaMark marked;              // as last written down
  SnapshotVersion left_in{0};      // the first snapshot without it; 0 = it never was in one

  [[nodiscard]] bool is_leaving() const { return leaving != Leaving::no; }
  [[nodiscard]] std::optional<std::uint16_t> main_port() const {
    for (const auto& [name, port] : ports) {
      if (name.empty()) return port;
    }
    return std::nullopt;
  }
  // "127.0.0.1:20001", "[::1]:20001", "unix:/path"; "" where it has neither port nor socket.
  [[nodiscard]] std::string shown_address() const;
};

struct Slot {
  ReplicaId replica;
  std::vector<Tenant> tenants;  // oldest first
  // Without a tenant:
  Phase phase = Phase::waiting;
  std::string reason;
  WallTime since;
  std::optional<Instant> next_start;  // backoff only

  int failures = 0;                    // unasked ends in a row: the exponent of the backoff
  int failures_unready = 0;            // of these, since it was last ready
  int starts = 0;                      // of this revision: restarts = starts - 1
  int shortages = 0;                   // failed starts in a row that were our fault
  bool port_busy = false;              // the start just failed: a numbered port is taken
  std::string problem;                 // why the last start failed without being the app's fault
  std::vector<Instant> failure_times;  // for max_restarts
  std::optional<LastExit> last_exit;
  bool held = false;     // stopped by hand
  bool drained = false;  // out of rotation by hand
};

struct ScaleHold {
  int replicas = 0;
  int file_replicas = 0;  // what the file said: editing that ends the hold
};

// What was in force once, and is needed to run it again.
struct PastRevision {
  Revision number{};
  std::shared_ptr<const spec::App> app;
  WallTime since;
  bool was_ready = false;    // all its replicas were available at once
  std::string failure = {};  // why it is not tried again; empty: it did not fail
  bool admitted = true;      // the jobs before it have succeeded
};

// The way to the revision in force, until all its replicas are available.
struct Rollout {
  Instant began;
  Instant progress;            // when a further replica became available
  std::optional<Instant> due;  // without one until then it has failed
  bool judged = false;         // it can fail: there is a revision to go back to
  bool done = false;           // all are available; only the answers are watched on
  int available = 0;           // the most so far
  Answers old_answers = {};    // since it began
  Answers new_answers = {};
};

// What a new revision waits for: each job with the app in its `before`. It comes into force once all have succeeded;
// the first one of an app is in force already, and its replicas wait.
struct BeforeGate {
  Revision number{};
  std::set<std::string> passed = {};
  std::string reason = {};
  std::string failure = {};  // of the first revision only: another one is given up
};

struct AppWorld {
  std::shared_ptr<const spec::App> app;   // in force
  std::shared_ptr<const spec::App> file;  // what the file says: another one after a rollback
  bool removed = false;                   // no longer in the spec: ends when its slots are empty
  Revision revision{1};
  std::string revision_text;
  Revision file_revision{1};
  bool undone = false;                // rolled back by hand
  std::vector<PastRevision> history;  // oldest first; with the one in force
  std::optional<Rollout> rollout;
  std::optional<BeforeGate> before;
  bool of_job = false;     // the place of a job's runs
  bool gate_open = false;  // `after` held once
  std::string gate_reason;
  bool held = false;    // stopped by hand
  bool paused = false;  // by hand: its requests wait in the queue
  std::optional<ScaleHold> scale;
  std::optional<int> autoscaled;  // by load, as `scale` of the spec says
  Instant asked_for;              // on demand: when a request last came, or it began
  Autoscaler scaler;
  std::string scale_reason;   // of the newest look at the load
  bool is_held_back = false;  // by the host's memory, as the newest look found
  std::map<int, Slot> slots;

  [[nodiscard]] int desired() const;
  // The first request starts it. Not while a hold says how many replicas there are.
  [[nodiscard]] bool is_on_demand() const;
};

// One run of a job, from the wish to the end of its last try's last process.
struct JobRun {
  std::string why;                              // "due at 2026-01-01T02:30:00Z", "run by hand"
  std::map<std::string, Revision> before = {};  // the revisions that wait for it
  std::set<CommandId> commands = {};            // that wait for its end
  int tries = 0;
  bool over = false;     // no further try
  bool stopped = false;  // by muster: its end says nothing about the program
  bool ok = false;
  std::string outcome = {};
};

struct JobEnd {
  LastExit exit;
  bool ok = false;
  bool operator==(const JobEnd&) const;
};

struct JobWorld {
  std::shared_ptr<const spec::Job> job;
  AppWorld task;                 // its slots are the runs under way; `removed` as an app's
  std::map<int, JobRun> runs;    // as task.slots
  std::optional<JobRun> asked;   // wanted, and cannot begin yet
  bool met = false;              // what is due at the start of the daemon was asked for
  bool ran = false;              // a try has started, in this daemon's life
  std::optional<bool> ended_ok;  // how the newest run of this daemon's life ended
  std::optional<WallTime> next;  // when its schedule wants it
  std::optional<JobEnd> last;    // the end of the newest try, also of an earlier daemon's

  [[nodiscard]] const std::string& name() const { return job->name(); }
};

enum class JobState { waiting, starting, running, stopping, backoff, completed, failed };
std::string_view to_string(JobState state);
JobState job_state(const JobWorld& job);
std::string job_reason(const JobWorld& job);  // empty when it runs or has completed

struct World {
  std::shared_ptr<const spec::Spec> spec;
  std::string spec_error;  // rendered diagnostics of the newest rejected file; empty when the file is fine
  std::map<std::string, std::string> listener_errors;  // as SpecRejected::listeners
  std::uint32_t spec_revision = 0;
  std::map<std::string, AppWorld> apps;
  std::map<std::string, JobWorld> jobs;
  bool shutting_down = false;
  bool at_once = false;
  SnapshotVersion published{0};
  SnapshotVersion in_use{0};
};

// One row of `ps`: a tenant, or the slot when it has none.
struct ReplicaView {
  ReplicaId replica;
  const Slot* slot = nullptr;
  const Tenant* tenant = nullptr;  // null: no process
  Phase phase = Phase::waiting;
  std::string reason;  // never empty for a phase other than ready and completed
};

AppState app_state(const World& world, const AppWorld& app);
std::string app_reason(const World& world, const AppWorld& app);  // empty when ready
std::string hold_text(const AppWorld& app);                       // empty without a hold
int ready_count(const AppWorld& app);
const PastRevision* past_revision(const AppWorld& app, Revision number);  // null: not kept
// Why what the file says is not in force, or goes no further; empty where it has not failed.
std::string failure_text(const AppWorld& app);
bool is_stuck(const AppWorld& app);  // the revision in force failed and stays as it is
// The file's revision is not in force yet: it waits for jobs.
bool waits_for_jobs(const AppWorld& app);
std::vector<ReplicaView> replica_views(const AppWorld& app);
// A process was asked for, and nobody has heard what became of that.
bool has_start_under_way(const World& world);

}  // namespace muster::supervisor
