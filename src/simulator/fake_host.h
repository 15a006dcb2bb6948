// A host that does not exist: processes, ports, probes, traffic threads, the disk and time are values. It runs the
// production Planner, carries out its actions and answers with events after virtual delays. Left alone everything is
// calm: each start succeeds within a millisecond and is healthy. Whoever holds it breaks things and looks on. Pure.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "simulator/conduct.h"
#include "supervisor/planner.h"

namespace muster::sim {

using namespace muster::supervisor;

struct Process {
  enum class State { spawning, running, exited, gone };
  InstanceId id{};
  ReplicaId replica;
  Revision revision{};
  std::shared_ptr<const spec::App> app;
  Conduct conduct;
  State state = State::spawning;
  int pid = 0;
  std::vector<std::uint16_t> numbered_ports;
  std::vector<std::pair<std::string, std::uint16_t>> ports;
  Instant started;
  std::optional<bool> healthy;  // overrides healthy_after
  bool alive = true;            // what liveness probes find
  bool hung = false;            // no watchdog pings
  bool told_ready = false;      // READY=1, or its line of output
  bool exit_told = false;       // the planner has been given ProcessExited: the pid is reaped
  bool busy = false;            // requests were in flight when it was asked, and are not done
  int idle_questions = 0;       // not answered: what is asked again meanwhile has one answer
  std::optional<Instant> asked_idle;
  int kills = 0;
  bool kill_works = false;
  bool killed_in_start = false;
  std::set<health::ProbeKind> probes;
  Answers answers;
  LivingProcess record;     // as it is written down
  spec::Limits bounds;      // as they were last set
  bool taken_over = false;  // by a daemon that did not start it
};

// A planted bug sits between planner and host: it may change what either side hears.
struct Seam {
  std::function<void(std::vector<Event>&)> events = [](std::vector<Event>&) {};
  std::function<void(std::vector<Action>&)> actions = [](std::vector<Action>&) {};
  std::function<void(PersistentState&)> restored = [](PersistentState&) {};
  bool acknowledge_early = false;  // SnapshotInUse comes before the workers have swapped
};

// Looks on. Events come as they happened, actions as they are carried out: a planted bug does not hide from it.
struct Watcher {
  std::function<void(const std::vector<Event>&)> before_step = [](const std::vector<Event>&) {};
  std::function<void(const Spawn&)> on_spawn = [](const Spawn&) {};
  std::function<void(const std::vector<Action>&)> after_step = [](const std::vector<Action>&) {};
  std::function<void()> on_restart = [] {};  // another daemon is there, and has done nothing yet
};

struct HostOptions {
  std::uint64_t seed = 1;
  std::shared_ptr<const spec::Spec> spec;  // loaded at the start, when given
  RunMode mode = RunMode::daemon;
  PersistentState restored = {};
  int workers = 2;
  bool trace = false;
  Seam seam = {};
};

class FakeHost {
 public:
  explicit FakeHost(HostOptions options);
  FakeHost(const FakeHost&) = delete;
  FakeHost& operator=(const FakeHost&) = delete;

  // --- behaviour; may be replaced at any time
  std::function<Conduct(const Spawn&)> conduct = [](const Spawn&) { return Conduct{}; };
  std::function<ProbeConduct(const Process&)> probe_conduct = [](const Process&) { return ProbeConduct{}; };
  std::function<Nanos()> acknowledge_takes = [] { return Nanos{1ms}; };  // asked once for each worker
  std::set<std::uint16_t> strangers;  // numbered ports that are held by others
  bool faults = true;                 // off: nothing exits by itself any more, everything becomes healthy
  Watcher watcher;

  // --- time
  void advance(Nanos duration);
  bool advance_until(const std::function<bool()>& condition, Nanos limit = 10min);
  [[nodiscard]] Instant now() const { return now_; }
  // When the program begins.
  [[nodiscard]] Instant begin_of(const Spawn& spawn) const {
    return std::max(now_, spawn.not_before.value_or(now_));
  }
  [[nodiscard]] Nanos uptime() const { return now_ - Instant{} - 1h; }  // of the host
  [[nodiscard]] WallTime wall() const;
  void stall(Nanos duration);     // muster stands still, all else goes on
  void freeze(Nanos duration);    // everything stands still, only the clocks go on: a paused virtual machine
  void set_clock(Nanos forward);  // the wall clock jumps: suspend to memory, NTP

  // --- what happens
  void send(Event event);  // heard in a step at this very instant, together with what else happens then
  void load(std::shared_ptr<const spec::Spec> spec) { send(SpecLoaded{std::move(spec), std::nullopt}); }
  // A fresh id for a command; its answer is awaited from now on.
  CommandId command_id();
  CommandId apply(std::shared_ptr<const spec::Spec> spec, bool retry = false);
  CommandId undo(const std::string& app);
  CommandId start(Target target);
  CommandId stop(Target target);
  CommandId restart(Target target, bool at_once = false);
  CommandId scale(const std::string& app, std::optional<int> replicas);
  CommandId drain(Target target, bool out = true);
  CommandId pause(const std::string& app, bool pause = true);
  void abandon(CommandId id);
  void shutdown(bool at_once = false);
  void exit(InstanceId id, ExitStatus status);
  void fail_starts(const std::string& app, StartFault fault, Nanos duration);
  // Requests that were answered by the processes of an app: those of its newest revision, or all others.
  void answer_requests(const std::string& app, bool newest, std::uint64_t all, std::uint64_t errors);
  void set_disk(bool writable);
  // Another daemon, which reads what the disk holds, and the file as it is now. In order: the first one stops
  // everything and saves; otherwise the host has lost its power and nothing is left.
  void restart_daemon(bool in_order, std::shared_ptr<const spec::Spec> edited = {});
  // The daemon dies at once; another one is there after a while, and finds what is still running.
  void crash_daemon(Nanos away, std::shared_ptr<const spec::Spec> edited = {});
  void calm_down();  // ends all faults

  // --- what can be seen
  [[nodiscard]] const Planner& planner() const { return *planner_; }
  [[nodiscard]] const World& world() const { return planner_->world(); }
  [[nodiscard]] RunMode mode() const { return options_.mode; }
  [[nodiscard]] int life() const { return life_; }  // counts the daemons from 1
  [[nodiscard]] const std::shared_ptr<const spec::Spec>& file() const { return file_; }  // the last valid one
  [[nodiscard]] const AppWorld& app(const std::string& name) const { return world().apps.at(name); }
  [[nodiscard]] const Slot& slot(const std::string& name, int ordinal) const {
    return app(name).slots.at(ordinal);
  }
  [[nodiscard]] int running(const std::string& name) const;
  [[nodiscard]] int ready(const std::string& name) const;
  [[nodiscard]] std::vector<Process*> processes(const std::string& name = "");
  // The newest, or the oldest; null: none.
  [[nodiscard]] Process* process(const std::string& name, int ordinal, bool oldest = false);
  [[nodiscard]] const std::map<InstanceId, Process>& all() const { return processes_; }
  [[nodiscard]] std::optional<CommandDone> answer(CommandId id) const;
  [[nodiscard]] const std::set<CommandId>& unanswered() const { return unanswered_; }
  [[nodiscard]] const std::vector<std::pair<Instant, Spawn>>& spawns() const { return spawns_; }
  [[nodiscard]] std::vector<InstanceId> routed(const std::string& app) const;  // in the newest snapshot
  [[nodiscard]] bool pickable(InstanceId id) const;
  [[nodiscard]] std::vector<std::string> notes(const std::string& kind) const;
  [[nodiscard]] const std::vector<Action>& log() const { return log_; }        // all but probes and notes
  [[nodiscard]] const PersistentState& saved() const { return saved_; }        // what the disk holds
  [[nodiscard]] const PersistentState& restored() const { return restored_; }  // what this daemon found there
  [[nodiscard]] bool disk_stale() const { return disk_stale_; }                // something could not be saved
  [[nodiscard]] std::optional<ExitDaemon> ended() const { return ended_; }
  [[nodiscard]] std::uint64_t steps() const { return steps_; }
  [[nodiscard]] std::uint64_t idle_steps() const { return idle_steps_; }  // no event in, no action out

  // The first broken invariant; empty when there is none. Nothing moves any more after it.
  [[nodiscard]] const std::string& violation() const { return violation_; }
  void violate(const std::string& what);
  [[nodiscard]] const std::deque<std::string>& trace() const { return trace_; }

 private:
  struct Worker {
    SnapshotVersion version{0};
  };
  struct Routes {
    SnapshotVersion version{0};
    std::vector<std::pair<std::string, InstanceId>> endpoints;
  };
  struct FailingStarts {
    StartFault fault;
    Instant until;
  };

  void at(Nanos delay, std::function<void()> what);
  void at_in_life(Nanos delay, std::function<void()> what);  // what this daemon waits for, or its helpers do
  void begin_life(std::optional<std::vector<LivingProcess>> living = {});
  [[nodiscard]] bool read_state(std::shared_ptr<const spec::Spec> edited);
  std::vector<LivingProcess> records();
  void tell_of_dead();
  void save();
  void run_until(Instant end, const std::function<bool()>& condition);
  void run_due();
  void step();
  void carry_out(const Spawn& action);
  void carry_out(const MarkReplica& action);
  void carry_out(const SetLimits& action);
  void carry_out(const Signal& action);
  void carry_out(const KillTree& action);
  void carry_out(const RunStopCommand& action);
  void carry_out(const RunProbe& action);
  void carry_out(const Publish& action);
  void carry_out(const WatchIdle& action);
  void carry_out(const Note& action);
  void carry_out(const CommandDone& action);
  void carry_out(const SaveState& action);
  void carry_out(const ExitDaemon& action);
  void start_process(InstanceId id);
  [[nodiscard]] std::optional<StartFault> start_fault(const Process& process) const;
  void kill_in_start(Process& starting);
  void announce(InstanceId id);
  void ping(InstanceId id);
  void tree_gone(Process& process);
  void count_answers();
  void hear(const std::vector<Event>& events);
  void swap_worker(std::size_t worker, SnapshotVersion version);
  [[nodiscard]] bool port_taken(const Process& wanted) const;
  [[nodiscard]] bool healthy(const Process& process) const;
  Process* find(InstanceId id);
  Process* signal_target(InstanceId id, const char* what);
  void tell(const std::string& line);

  HostOptions options_;
  std::unique_ptr<Planner> planner_;
  Instant now_{};
  Nanos clock_ahead_{0};  // what the wall clock has jumped by
  std::multimap<Instant, std::function<void()>> queue_;
  std::vector<Event> inbox_;
  std::map<InstanceId, Process> processes_;
  std::map<std::string, FailingStarts> failing_starts_;
  std::vector<Worker> workers_;
  std::deque<Routes> routes_;  // from the oldest version that a worker still uses to the newest
  std::set<CommandId> unanswered_;
  std::set<CommandId> abandoned_;  // in this step: their answers may cross
  std::map<CommandId, CommandDone> answers_;
  std::vector<std::pair<Instant, Spawn>> spawns_;
  std::vector<Note> notes_;
  std::vector<Action> log_;
  std::shared_ptr<const spec::Spec> file_;
  PersistentState restored_;
  PersistentState saved_;
  bool disk_writable_ = true;
  bool disk_stale_ = false;
  std::optional<ExitDaemon> ended_;
  int life_ = 0;
  std::uint64_t next_command_ = 1;
  std::uint64_t steps_ = 0;
  std::uint64_t idle_steps_ = 0;
  InstanceId newest_{0};
  int next_pid_ = 1000;
  std::uint16_t next_port_ = 20000;
  std::string violation_;
  std::deque<std::string> trace_;
};

}  // namespace muster::sim
