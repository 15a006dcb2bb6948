// The part that decides. Desired state (Spec, holds) against observed state (World) in, actions with reasons
// out. Pure: no clock, no I/O, no randomness but a seeded one, so the daemon, the tests and the simulator run
// the same code.
//
// One step: every event is written into the World; deadlines that have passed are acted on; then each app is
// compared with what is wanted of it and the difference becomes actions. A step without events is right
// whenever next_wakeup() has come.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "supervisor/action.h"
#include "supervisor/event.h"
#include "supervisor/persistent.h"
#include "supervisor/world.h"

namespace muster::supervisor {

enum class RunMode { up, daemon };

struct PlannerOptions {
  RunMode mode = RunMode::daemon;
  std::uint64_t seed = 1;  // of the backoff's jitter
  PersistentState restored;
  // Set: this daemon takes over from one that did not end in order (or from its own earlier image), with these
  // processes. What ends of them is told by events as of others.
  std::optional<std::vector<LivingProcess>> living = {};
  InstanceId first_instance{1};  // greater than those of all living ones
  // Of these, those that the balancer has of an earlier image's: they may have requests and tunnels.
  std::set<InstanceId> served = {};
  // … and those whose end waits for these, with when it no longer does.
  std::map<InstanceId, Instant> drains = {};
};

// How many processes more and how many replicas fewer an update may make of `replicas`. Rolling is Kubernetes'
// arithmetic: surge rounds up, unavailable down and ends at `replicas`; both 0 means unavailable 1.
struct RolloutBounds {
  int surge = 0;
  int unavailable = 0;
};
RolloutBounds rollout_bounds(const spec::Update& update, int replicas, bool exclusive_slots);

// The pause before the next start after `failures` unasked ends in a row (this one included), without jitter:
// 0, b, 2b, 4b … max.
Millis backoff_pause(const spec::Restart& restart, int failures);

// When time alone may change the readiness of a tenant.
std::optional<Instant> readiness_due(const Tenant& tenant);

class Planner {
 public:
  explicit Planner(PlannerOptions options);

  std::vector<Action> step(std::span<const Event> events, Now now);
  [[nodiscard]] std::optional<Instant> next_wakeup() const { return wakeup_; }
  [[nodiscard]] const World& world() const { return world_; }
  [[nodiscard]] PersistentState persistent() const;
  // A rollout under way is judged by its answers: AnswersCounted is due now and then.
  [[nodiscard]] bool wants_answers() const;
  // An app is scaled by its load: LoadMeasured is due each autoscale_every.
  [[nodiscard]] bool wants_load() const;
  // An app on demand runs: TrafficSeen is due each second.
  [[nodiscard]] bool wants_traffic() const;

 private:
  struct Place {  // where a tenant lives
    AppWorld* app = nullptr;
    Slot* slot = nullptr;
    Tenant* tenant = nullptr;
    explicit operator bool() const { return tenant != nullptr; }
  };
  struct Waiter {
    CommandId command;
    std::set<std::string> apps;
    std::optional<int> ordinal;  // only this replica of them
    std::string done_text;
    std::optional<Instant> idle_by;            // what is drained by hand is to have no request in flight
    std::string verdict;                       // not empty: it has failed, whatever it settles to
    std::optional<SnapshotVersion> routed_by;  // settled but for the workers' acknowledgement
  };

  // events.cpp: what was seen
  void on(const ProcessStarted& event);
  void on(const SpawnFailed& event);
  void on(const ProcessExited& event);
  void on(const LimitExceeded& event);
  void on(const ProcessFrozen& event);
  void on(const ProcessThawed& event);
  void on(const TreeGone& event);
  void on(const ProbeFinished& event);
  void on(const Notified& event);
  void on(const LogMatched& event);
  void on(const StopCommandDone& event);
  void on(const SnapshotInUse& event);
  void on(const EndpointIdle& event);
  void on(const AnswersCounted& event);
  void on(const LoadMeasured& event);
  void on(const Demanded& event);
  void on(const TrafficSeen& event);
  void scale_by_load(AppWorld& app, const LoadMeasured& event, HostLoad& left);
  void scale_to(AppWorld& app, int replicas, const std::string& why);
  void wake(AppWorld& app, const std::string& why);  // where it is on demand
  void readiness_probed(Place place, const health::Outcome& outcome);
  [[nodiscard]] Millis pause_after(const Tenant& tenant, const health::Outcome& outcome) const;
  void liveness_probed(Place place, const health::Outcome& outcome);

  // commands.cpp: what was asked for
  void on(const SpecLoaded& event);
  void on(const SpecRejected& event);
  void on(const StartCommand& event);
  void on(const StopCommand& event);
  void on(const RestartCommand& event);
  void on(const ScaleCommand& event);
  void on(const DrainCommand& event);
  void on(const PauseCommand& event);
  void on(const UndoCommand& event);
  void on(const RunCommand& event);
  void on(const ClockSet& event);
  void on(const CommandAbandoned& event);
  void on(const FilesChanged& event);
  void on(const ShutdownRequested& event);
  void adopt_app(const spec::App& app, std::set<std::string>& touched, bool retry = false);
  bool restore_app(AppWorld& app, const PersistentApp& saved);
  [[nodiscard]] bool still_runs(const std::string& app) const;
  void restore_slots(AppWorld& app, const PersistentApp& saved);
  void take_over(const LivingProcess& process);
  void take_over_end(Place place);
  AppWorld& home_of(const LivingProcess& process);
  [[nodiscard]] std::optional<RunMemo> run_memo(const AppWorld& app, int ordinal) const;
  void mark_tenants(AppWorld& app);
  void meet_app(AppWorld& mine, const std::shared_ptr<const spec::App>& fresh, bool added);
  void try_on(AppWorld& app);
  void outdate(AppWorld& app, std::optional<int> ordinal, bool at_once, const std::string& why);
  AppWorld* command_app(CommandId command, const Target& target);
  Slot& slot_of(AppWorld& app, int ordinal);
  void wait_for(CommandId command, std::set<std::string> apps, std::optional<int> ordinal,
                std::string done_text);
  void dismiss_waiters(const std::string& why);
  void kill_now(Slot& slot, const std::string& why);
  void live_change(Tenant& tenant, const std::shared_ptr<const spec::App>& fresh);
  void bound_runs(JobWorld& job);
  void change_live(AppWorld& app);

  // rollout.cpp: from one revision to the next
  struct Tally {
    int wanted = 0;
    int available = 0;  // of them, under the revision in force
  };
  static PastRevision& in_force(AppWorld& app);
  [[nodiscard]] std::string ports_lost(const AppWorld& app, const PastRevision& past) const;
  static const PastRevision* fallback(const AppWorld& app);  // the last that was ready; null: none
  void remember(AppWorld& app, Revision number, std::shared_ptr<const spec::App> settings);
  void new_revision(AppWorld& app);
  void put_in_force(AppWorld& app, Revision number, std::shared_ptr<const spec::App> settings, bool back);
  void begin_rollout(AppWorld& app, bool back);
  void follow_rollout(AppWorld& app);
  void finish_rollout(AppWorld& app);
  void fail_rollout(AppWorld& app, const std::string& why);
  void redo(AppWorld& app);
  [[nodiscard]] Tally tally(const AppWorld& app) const;

  // jobs.cpp: when jobs run
  void adopt_jobs(const spec::Spec& spec);
  void adopt_job(const spec::Job& job);
  void restore_job(JobWorld& job, const PersistentJob& saved);
  void follow_clock();
  void follow_jobs();
  void ask_when_due(JobWorld& job);
  void ask(JobWorld& job, JobRun run);
  void begin_run(JobWorld& job);
  [[nodiscard]] std::optional<int> free_place(JobWorld& job);

  // job_runs.cpp: what becomes of a run
  void follow_runs(JobWorld& job);
  void follow_run(JobWorld& job, int ordinal);
  void start_try(JobWorld& job, int ordinal);
  void try_ended(Place place, const std::string& why, bool clean);
  void finish_run(JobWorld& job, int ordinal);
  void end_runs(JobWorld& job, Leaving leaving, const std::string& why);
  void dismiss(JobRun& run, const std::string& why);
  [[nodiscard]] bool jobs_busy() const;
  [[nodiscard]] std::optional<Instant> job_wakeup(const JobWorld& job) const;
  [[nodiscard]] std::string job_gate(const JobWorld& job, spec::AfterCondition condition) const;

  // job_gates.cpp: revisions that wait for jobs
  [[nodiscard]] std::vector<std::string> jobs_before(const AppWorld& app) const;
  void hold_back(AppWorld& app);
  void admit(AppWorld& app);
  void follow_gate(AppWorld& app);
  void gate_failed(AppWorld& app, const std::string& why);
  void bring_in_file(AppWorld& app);
  void await_jobs_of_first(AppWorld& app, bool is_new);
  void tell_gates(const JobRun& run, const std::string& job);
  [[nodiscard]] std::map<std::string, Revision> gates_of(const JobWorld& job) const;

  // lifecycle.cpp: one way down, one place where a phase changes
  void set_phase(Tenant& tenant, Phase phase, std::string reason);
  void set_idle(Slot& slot, Phase phase, std::string reason);
  void spawn(AppWorld& app, Slot& slot, const std::string& why);
  void leave(Place place, Leaving leaving, const std::string& why);
  void begin_stop(Tenant& tenant);
  void begin_signal(Tenant& tenant);
  void begin_kill(Tenant& tenant, const std::string& why);
  void ended_unasked(Place place, const std::string& why, bool clean);
  void count_failure(AppWorld& app, Slot& slot, const std::string& why, bool clean);
  Nanos pause_before_start(const spec::Restart& restart, int failures);
  void not_our_turn(Slot& slot, const std::string& kind, const std::string& why, Nanos pause);
  void tenant_gone(Slot& slot, InstanceId id);
  void update_readiness(Place place);
  void fell_out(Place place, const std::string& why);
  [[nodiscard]] std::string unready_reason(const Tenant& tenant) const;
  void watchdog_missed(Place place);
  void deadlines(Place place);
  void probe_deadlines(Place place);
  void start_deadline(Tenant& tenant);
  // Whether no worker can pick it any more; asks then, once, to hear of it when nothing is in flight.
  bool has_left(Tenant& tenant);
  void stop_deadlines(Tenant& tenant);

  // reconcile.cpp: what is wanted against what is
  void reconcile();
  void reconcile_app(AppWorld& app);
  void ensure_slots(AppWorld& app);
  void end_unwanted(AppWorld& app, Slot& slot);
  void start_if_due(AppWorld& app, Slot& slot);
  void roll_out(AppWorld& app);
  void roll_in_order(AppWorld& app);
  void end_all_old(AppWorld& app);
  struct Succession {
    Slot* slot;
    Tenant* old;         // null: none is old
    const Tenant* heir;  // null: none is current
    InstanceId old_id;
  };
  Succession succession(AppWorld& app, Slot& slot, const std::string& why);
  struct Round {                    // of a rolling update: the wanted ordinals as they are now
    std::vector<Succession> pairs;  // those with an old process
    int wanted = 0;
    int available = 0;
    int surging = 0;  // have a new process that does not count yet beside the old one
    int broken = 0;   // have nothing that counts
  };
  Round survey(AppWorld& app, const std::string& why);
  void roll_with_surge(AppWorld& app);
  void start_heirs(AppWorld& app, Round& round, const RolloutBounds& bounds);
  void make_room(AppWorld& app, Round& round, const RolloutBounds& bounds, const std::string& why);
  void free_ports(const AppWorld& app, const Slot& slot);
  void unhealthy_restarts(AppWorld& app);
  void open_gate(AppWorld& app);
  [[nodiscard]] bool may_host(const AppWorld& app, const Slot& slot) const;
  [[nodiscard]] bool may_stop_in_shutdown(const AppWorld& app) const;
  [[nodiscard]] bool wanted(const AppWorld& app, const Slot& slot) const;
  [[nodiscard]] bool current(const AppWorld& app, const Tenant& tenant) const;
  [[nodiscard]] bool is_rolling(const AppWorld& app) const;  // has an old process that has to go
  [[nodiscard]] bool one_by_one(const AppWorld& app) const;
  [[nodiscard]] bool old_ones_end_first(const AppWorld& app) const;
  [[nodiscard]] bool available(const AppWorld& app, const Tenant& tenant) const;
  [[nodiscard]] bool available(const AppWorld& app, const Slot& slot) const;
  [[nodiscard]] std::optional<Instant> available_at(const AppWorld& app, const Tenant& tenant) const;

  // routing.cpp
  using Addresses = std::vector<std::pair<std::string, std::string>>;
  void publish_if_changed();
  [[nodiscard]] std::string address_of(const std::string& name) const;
  const Addresses& addresses_for(const spec::App& app);

  // settle.cpp
  struct Progress {
    bool pending = false;
    bool busy = false;    // requests are in flight where none is to be
    std::string failure;  // nothing more is to be waited for
  };
  [[nodiscard]] Progress progress(const Waiter& waiter) const;
  void settle_commands();
  void finish_daemon();
  void compute_wakeup();
  void wake_by(Instant at);  // or earlier
  // `awaited`: somebody waits for it to be available.
  void wake_for(const AppWorld& app, const Slot& slot, const Tenant& tenant, bool awaited);

  Place find(InstanceId id);
  void act(Action action) { actions_.push_back(std::move(action)); }
  void note(Severity severity, std::string kind, const ReplicaId& replica, std::optional<InstanceId> instance,
            std::string text);
  void note_app(Severity severity, std::string kind, const std::string& app, std::string text);
  void changed() { save_ = true; }

  const PlannerOptions options_;
  PersistentState restored_;
  std::vector<LivingProcess> living_;  // until the first spec is there
  World world_;
  Now now_{};
  std::mt19937_64 random_;
  std::uint64_t next_instance_;
  std::vector<Action> actions_;
  std::vector<Waiter> waiters_;
  std::map<InstanceId, ReplicaId> where_;
  std::vector<PoolState> routed_;
  std::shared_ptr<const spec::Spec> routed_spec_;
  std::map<std::string, Addresses> addresses_;  // of this step
  std::optional<Instant> wakeup_;
  int starting_ = 0;                   // are probed and were never ready, after the last step
  std::optional<Nanos> clock_offset_;  // of the wall clock from the steady one
  bool routes_dirty_ = true;
  bool save_ = false;
  bool ended_ = false;
};

}  // namespace muster::supervisor
