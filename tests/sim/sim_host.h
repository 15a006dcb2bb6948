// A host that does not exist: processes, ports, probes, traffic threads and time are values. It runs the
// production Planner, carries out its actions, answers with events after virtual delays, and checks the
// invariants after every step. Left alone everything is calm: each start succeeds within a millisecond and is
// healthy. Tests and the chaos driver break things.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sim/invariants.h"
#include "supervisor/planner.h"

namespace muster::sim {

using namespace std::chrono_literals;
using namespace muster::supervisor;

// How one process will behave; chosen when it is spawned.
struct Conduct {
  Nanos start_takes{1ms};
  std::optional<SpawnFailure> fails;
  Nanos healthy_after{0};  // since its start: probes succeed, READY=1 is sent, the line is printed
  bool never_healthy = false;
  std::optional<Nanos> exits_after;  // by itself
  ExitStatus exit{.code = 0, .signal = std::nullopt};
  bool ignores_signal = false;
  Nanos signal_takes{1ms};
  bool tree_outlives = false;  // children stay when the main process ends; KillTree ends them
  int kills_needed = 1;        // KillTree has to come so often
  Nanos kill_takes{1ms};
  Nanos stop_command_takes{1ms};
  std::optional<Nanos> in_flight{0ns};  // until idle, once it is out of rotation; none = never
};

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
  Instant started;
  std::optional<bool> healthy;  // overrides healthy_after
  bool alive = true;            // what liveness probes find
  bool hung = false;            // no watchdog pings
  bool told_ready = false;      // READY=1, or its line of output
  bool exit_told = false;       // the planner has been given ProcessExited: the pid is reaped
  int kills = 0;
  bool kill_works = false;
  bool killed_in_start = false;
  std::set<health::ProbeKind> probes;
};

// A planted bug sits between planner and host: it may change what either side hears.
struct Seam {
  std::function<void(std::vector<Event>&)> events = [](std::vector<Event>&) {};
  std::function<void(std::vector<Action>&)> actions = [](std::vector<Action>&) {};
  bool acknowledge_early = false;  // SnapshotInUse comes before the workers have swapped
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

class SimHost {
 public:
  explicit SimHost(HostOptions options);
  SimHost(const SimHost&) = delete;
  SimHost& operator=(const SimHost&) = delete;

  // --- behaviour; may be replaced at any time
  std::function<Conduct(const Spawn&)> conduct = [](const Spawn&) { return Conduct{}; };
  std::function<Nanos()> probe_takes = [] { return Nanos{1ms}; };
  std::function<Nanos()> acknowledge_takes = [] { return Nanos{1ms}; };
  std::set<std::uint16_t> strangers;  // numbered ports that are held by others
  bool faults = true;                 // off: nothing exits by itself any more, everything becomes healthy

  // --- time
  void advance(Nanos duration);
  bool advance_until(const std::function<bool()>& condition, Nanos limit = 10min);
  [[nodiscard]] Instant now() const { return now_; }
  [[nodiscard]] Nanos uptime() const { return now_ - Instant{}; }

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
  void calm_down();  // ends all faults

  // --- what can be seen
  [[nodiscard]] const Planner& planner() const { return planner_; }
  [[nodiscard]] const World& world() const { return planner_.world(); }
  [[nodiscard]] const AppWorld& app(const std::string& name) const { return world().apps.at(name); }
  [[nodiscard]] const Slot& slot(const std::string& name, int ordinal) const {
    return app(name).slots.at(ordinal);
  }
  [[nodiscard]] int running(const std::string& name) const;
  [[nodiscard]] int ready(const std::string& name) const;
  [[nodiscard]] std::vector<Process*> processes(const std::string& name = "");
  [[nodiscard]] Process* process(const std::string& name, int ordinal);  // the newest; null: none
  [[nodiscard]] const std::map<InstanceId, Process>& all() const { return processes_; }
  [[nodiscard]] std::optional<CommandDone> answer(CommandId id) const;
  [[nodiscard]] const std::set<CommandId>& unanswered() const { return unanswered_; }
  [[nodiscard]] const std::vector<std::pair<Instant, Spawn>>& spawns() const { return spawns_; }
  [[nodiscard]] std::vector<InstanceId> routed(const std::string& app) const;  // in the newest snapshot
  [[nodiscard]] bool pickable(InstanceId id) const;
  [[nodiscard]] std::vector<std::string> notes(const std::string& kind) const;
  [[nodiscard]] const std::vector<Action>& log() const { return log_; }  // all but probes and notes
  [[nodiscard]] const PersistentState& saved() const { return saved_; }
  [[nodiscard]] std::optional<ExitDaemon> ended() const { return ended_; }
  [[nodiscard]] std::uint64_t steps() const { return steps_; }
  [[nodiscard]] std::uint64_t idle_steps() const { return idle_steps_; }  // no event in, no action out

  // The first broken invariant; empty when there is none. Nothing moves any more after it.
  [[nodiscard]] const std::string& violation() const { return violation_; }
  void violate(const std::string& what);
  // Empty once the World is what the spec and the holds want; otherwise what is missing.
  [[nodiscard]] std::string unfinished() const { return invariants_.unfinished(); }
  [[nodiscard]] const std::deque<std::string>& trace() const { return trace_; }

 private:
  friend class Invariants;
  struct Worker {
    SnapshotVersion version{0};
  };
  struct Routes {
    SnapshotVersion version{0};
    std::vector<std::pair<std::string, InstanceId>> endpoints;
  };

  void at(Nanos delay, std::function<void()> what);
  void run_until(Instant end, const std::function<bool()>& condition);
  void step();
  void carry_out(const Spawn& action);
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
  void announce(InstanceId id);
  void ping(InstanceId id);
  void tree_gone(Process& process);
  void hear(const std::vector<Event>& events);
  void swap_worker(std::size_t worker, SnapshotVersion version);
  [[nodiscard]] bool port_taken(const Process& wanted) const;
  [[nodiscard]] bool healthy(const Process& process) const;
  Process* find(InstanceId id);
  Process* signal_target(InstanceId id, const char* what);
  void tell(const std::string& line);

  HostOptions options_;
  Planner planner_;
  Invariants invariants_;
  Instant now_{};
  std::multimap<Instant, std::function<void()>> queue_;
  std::vector<Event> inbox_;
  std::map<InstanceId, Process> processes_;
  std::vector<Worker> workers_;
  std::deque<Routes> routes_;  // from the oldest version that a worker still uses to the newest
  std::set<CommandId> unanswered_;
  std::set<CommandId> abandoned_;  // in this step: their answers may cross
  std::map<CommandId, CommandDone> answers_;
  std::vector<std::pair<Instant, Spawn>> spawns_;
  std::vector<Note> notes_;
  std::vector<Action> log_;
  PersistentState saved_;
  std::optional<ExitDaemon> ended_;
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
