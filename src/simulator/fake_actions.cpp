// What the fake host does about each action, and what it finds wrong with it.
#include <algorithm>
#include <csignal>

#include "fmt/core.h"
#include "simulator/fake_host.h"

namespace muster::sim {

namespace {
constexpr std::size_t log_actions_max = 100000;

std::vector<std::uint16_t> numbered_ports(const spec::App& app, int ordinal) {
  std::vector<std::uint16_t> ports;
  if (app.port.kind == spec::PortKind::numbered)
    ports.push_back(static_cast<std::uint16_t>(app.port.base + ordinal));
  for (const spec::NamedPort& named : app.ports) {
    if (named.port.kind == spec::PortKind::numbered)
      ports.push_back(static_cast<std::uint16_t>(named.port.base + ordinal));
  }
  return ports;
}
}  // namespace

void FakeHost::carry_out(const Spawn& action) {
  const std::string label = fmt::format("{} (instance {})", to_string(action.replica), raw(action.instance));
  if (action.instance <= newest_) return violate("an instance id is used twice: " + label);
  newest_ = action.instance;
  for (const auto& [id, other] : processes_) {
    if (other.replica != action.replica || other.state == Process::State::gone) continue;
    if (action.app->exclusive_slots() || other.app->exclusive_slots())
      return violate(
          fmt::format("two tenants of one exclusive ordinal: {} while instance {} is there", label, raw(id)));
  }
  watcher.on_spawn(action);
  spawns_.emplace_back(begin_of(action), action);
  if (log_.size() < log_actions_max) log_.emplace_back(action);
  Process process;
  process.id = action.instance;
  process.replica = action.replica;
  process.revision = action.revision;
  process.app = action.app;
  process.conduct = conduct(action);
  process.numbered_ports = numbered_ports(*action.app, action.replica.ordinal);
  process.bounds = action.app->limits;
  process.record = LivingProcess{.instance = action.instance,
                                 .replica = action.replica,
                                 .revision = action.revision,
                                 .app = action.app,
                                 .run = action.run,
                                 .started = {},
                                 .starts = action.starts};
  const Nanos takes = begin_of(action) - now_ + process.conduct.start_takes;
  processes_.emplace(action.instance, std::move(process));
  at(takes, [this, id = action.instance] { start_process(id); });
}

bool FakeHost::port_taken(const Process& wanted) const {
  return std::ranges::any_of(wanted.numbered_ports, [&](std::uint16_t port) {
    return strangers.contains(port) || std::ranges::any_of(processes_, [&](const auto& entry) {
             const Process& other = entry.second;
             const bool holds =
                 other.state == Process::State::running || other.state == Process::State::exited;
             return other.id != wanted.id && holds &&
                    std::ranges::find(other.numbered_ports, port) != other.numbered_ports.end();
           });
  });
}

std::optional<StartFault> FakeHost::start_fault(const Process& process) const {
  if (!faults) return std::nullopt;
  const auto failing = failing_starts_.find(process.replica.app);
  if (failing != failing_starts_.end() && now_ < failing->second.until) return failing->second.fault;
  return process.conduct.fails;
}

void FakeHost::fail_starts(const std::string& app, StartFault fault, Nanos duration) {
  failing_starts_[app] = FailingStarts{fault, now_ + duration};
}

void FakeHost::start_process(InstanceId id) {
  Process* const starting = find(id);
  if (starting == nullptr || starting->state != Process::State::spawning) return;  // killed meanwhile
  Process& process = *starting;
  if (process.taken_over && (port_taken(process) || start_fault(process))) {
    process.state = Process::State::exited;
    send(ProcessExited{.instance = id, .status = {}});
    return tree_gone(process);
  }
  if (port_taken(process)) {
    send(SpawnFailed{.instance = id,
                     .kind = SpawnFailure::port_busy,
                     .sentence = fmt::format("port {} is held by pid 812 (redis-server)",
                                             process.numbered_ports.front())});
    processes_.erase(id);
    return;
  }
  if (const auto fault = start_fault(process)) {
    const StartFaultRow& row = start_fault_row(*fault);
    send(SpawnFailed{.instance = id, .kind = row.kind, .sentence = std::string(row.sentence)});
    processes_.erase(id);
    return;
  }
  process.state = Process::State::running;
  process.pid = next_pid_++;
  process.started = now_;
  ProcessStarted started{.instance = id, .pid = process.pid, .ports = {}};
  if (process.app->port.kind != spec::PortKind::none)
    started.ports.emplace_back(
        "", process.numbered_ports.empty() ? next_port_++ : process.numbered_ports.front());
  process.ports = started.ports;
  if (!process.taken_over) send(std::move(started));
  if (process.conduct.exits_after) {
    at(*process.conduct.exits_after, [this, id, status = process.conduct.exit] {
      const Process* ending = find(id);
      if (ending == nullptr) return;
      if (faults || world().jobs.contains(ending->replica.app)) exit(id, status);
    });
  }
  if (!faults || !process.conduct.never_healthy)
    at(process.conduct.healthy_after, [this, id] { announce(id); });
  if (process.app->watchdog) ping(id);
}

void FakeHost::announce(InstanceId id) {
  Process* process = find(id);
  if (process == nullptr || process->state != Process::State::running || process->told_ready) return;
  process->told_ready = true;
  if (process->app->health.notify) {
    Notified notified{};
    notified.instance = id;
    notified.ready = true;
    send(notified);
  }
  if (process->app->health.log) send(LogMatched{.instance = id});
}

void FakeHost::ping(InstanceId id) {
  const Process* process = find(id);
  if (process == nullptr || process->state != Process::State::running) return;
  if (!process->hung) {
    Notified notified{};
    notified.instance = id;
    notified.watchdog = true;
    send(notified);
  }
  at(*process->app->watchdog / 2, [this, id] { ping(id); });
}

// The main process is reaped; its tree goes with it unless it outlives it.
void FakeHost::exit(InstanceId id, ExitStatus status) {
  Process* process = find(id);
  if (process == nullptr || process->state != Process::State::running) return;
  process->state = Process::State::exited;
  send(ProcessExited{.instance = id, .status = status});
  if (process->kill_works || !process->conduct.tree_outlives) tree_gone(*process);
}

void FakeHost::tree_gone(Process& process) {
  if (process.state != Process::State::exited) return;
  process.state = Process::State::gone;
  send(TreeGone{process.id});
}

void FakeHost::calm_down() {
  faults = false;
  strangers.clear();
  failing_starts_.clear();
  disk_writable_ = true;
  for (auto& [id, process] : processes_) {
    process.healthy.reset();
    process.alive = true;
    process.hung = false;
    process.conduct.never_healthy = false;
    if (process.state != Process::State::running) continue;
    announce(id);
    Notified notified{};  // takes back a STOPPING=1
    notified.instance = id;
    notified.ready = true;
    send(notified);
  }
}

Process* FakeHost::signal_target(InstanceId id, const char* what) {
  Process* process = find(id);
  if (process == nullptr || process->state == Process::State::spawning) {
    violate(fmt::format("{} to instance {}, which has no process", what, raw(id)));
    return nullptr;
  }
  const bool urgent = world().at_once || process->state != Process::State::running;
  if (!urgent && pickable(id)) {
    violate(fmt::format("{} to {} while a worker may still pick it", what, to_string(process->replica)));
    return nullptr;
  }
  return process;
}

void FakeHost::carry_out(const MarkReplica& action) {
  if (Process* process = find(action.instance); process != nullptr) process->record.mark = action.mark;
}

void FakeHost::carry_out(const SetLimits& action) {
  Process* process = find(action.instance);
  if (process == nullptr)
    return violate(fmt::format("limits of instance {}, which has no process", raw(action.instance)));
  process->bounds = action.app->limits;
}

void FakeHost::carry_out(const Signal& action) {
  Process* process = signal_target(action.instance, "signal");
  if (process == nullptr) return;
  if (process->exit_told) return violate("signal to a reaped pid of " + to_string(process->replica));
  if (log_.size() < log_actions_max) log_.emplace_back(action);
  if (process->conduct.ignores_signal || action.signal == SIGCONT) return;
  at(process->conduct.signal_takes, [this, id = action.instance, number = action.signal] {
    exit(id, ExitStatus{.code = std::nullopt, .signal = number});
  });
}

// A start that hangs is killed too; it never became the app.
void FakeHost::kill_in_start(Process& starting) {
  if (std::exchange(starting.killed_in_start, true)) return;
  at(starting.conduct.kill_takes, [this, id = starting.id] {
    const Process* found = find(id);
    if (found == nullptr || found->state != Process::State::spawning) return;
    if (found->taken_over) {
      Process& ending = processes_.at(id);
      ending.state = Process::State::exited;
      send(ProcessExited{.instance = id, .status = {}});
      return tree_gone(ending);
    }
    const std::string sentence = "muster's start helper ended before it could start the process";
    send(SpawnFailed{.instance = id, .kind = SpawnFailure::resources, .sentence = sentence});
    processes_.erase(id);
  });
}

void FakeHost::carry_out(const KillTree& action) {
  if (Process* starting = find(action.instance);
      starting != nullptr && starting->state == Process::State::spawning) {
    if (log_.size() < log_actions_max) log_.emplace_back(action);
    return kill_in_start(*starting);
  }
  Process* process = signal_target(action.instance, "kill");
  if (process == nullptr) return;
  if (log_.size() < log_actions_max) log_.emplace_back(action);
  if (++process->kills < process->conduct.kills_needed || process->kill_works) return;
  process->kill_works = true;
  at(process->conduct.kill_takes, [this, id = action.instance] {
    exit(id, ExitStatus{.code = std::nullopt, .signal = 9});
    if (Process* found = find(id); found != nullptr) tree_gone(*found);
  });
}

void FakeHost::carry_out(const RunStopCommand& action) {
  const Process* process = signal_target(action.instance, "stop command");
  if (process == nullptr) return;
  log_.emplace_back(action);
  at_in_life(process->conduct.stop_command_takes,
             [this, id = action.instance] { send(StopCommandDone{.instance = id, .sentence = ""}); });
}

bool FakeHost::healthy(const Process& process) const {
  if (process.state != Process::State::running) return false;
  if (process.healthy) return *process.healthy;
  if (!faults) return true;
  return !process.conduct.never_healthy && now_ - process.started >= process.conduct.healthy_after;
}

void FakeHost::carry_out(const RunProbe& action) {
  Process* process = find(action.instance);
  if (process == nullptr || process->state == Process::State::spawning || process->exit_told)
    return violate(fmt::format("a probe of instance {}, which does not run", raw(action.instance)));
  if (!process->probes.insert(action.kind).second)
    return violate("two probes at once of " + to_string(process->replica));
  const bool readiness = action.kind == health::ProbeKind::readiness;
  ProbeConduct how = faults ? probe_conduct(*process) : ProbeConduct{};
  // An edit may have given it the check.
  const spec::HealthCheck& check =
      readiness || !process->app->live ? process->app->health : *process->app->live;
  if (how.lost) how.takes = check.timeout;
  at_in_life(how.takes, [this, id = action.instance, kind = action.kind, readiness, was_lost = how.lost] {
    const bool lost = was_lost && faults;
    Process* probed = find(id);
    if (probed != nullptr) probed->probes.erase(kind);
    const bool fit = probed != nullptr && (readiness ? healthy(*probed) : probed->alive && !probed->hung);
    ProbeFinished finished{.instance = id, .kind = kind, .outcome = {}};
    finished.outcome.code = lost  ? health::ProbeCode::timeout
                            : fit ? health::ProbeCode::ok
                                  : health::ProbeCode::refused;
    finished.outcome.sentence = lost ? "no answer in time" : fit ? "connected" : "connection refused";
    send(std::move(finished));
  });
}

void FakeHost::carry_out(const Publish& action) {
  if (action.version <= routes_.back().version) return violate("versions of snapshots have to rise");
  Routes routes{.version = action.version, .endpoints = {}};
  for (const PoolState& pool : action.pools) {
    for (const EndpointState& endpoint : pool.endpoints)
      routes.endpoints.emplace_back(pool.app, endpoint.instance);
  }
  routes_.push_back(std::move(routes));
  if (options_.seam.acknowledge_early) send(SnapshotInUse{action.version});
  for (std::size_t worker = 0; worker < workers_.size(); ++worker)
    at_in_life(acknowledge_takes(),
               [this, worker, version = action.version] { swap_worker(worker, version); });
}

void FakeHost::swap_worker(std::size_t worker, SnapshotVersion version) {
  workers_[worker].version = std::max(workers_[worker].version, version);
  const auto oldest = std::ranges::min(workers_, {}, &Worker::version).version;
  if (oldest <= routes_.front().version) return;
  while (routes_.front().version < oldest) routes_.pop_front();
  send(SnapshotInUse{oldest});
}

void FakeHost::carry_out(const WatchIdle& action) {
  Process* process = find(action.instance);
  if (process == nullptr) return violate("a question about an instance that is gone");
  if (pickable(action.instance))
    return violate(
        fmt::format("{} is asked to be idle while a worker may still pick it", to_string(process->replica)));
  process->busy = true;
  ++process->idle_questions;
  if (!process->asked_idle) process->asked_idle = now_;
  if (!process->conduct.in_flight) return;
  at_in_life(*process->conduct.in_flight, [this, id = action.instance] {
    Process* asked = find(id);
    if (asked != nullptr && --asked->idle_questions == 0) send(EndpointIdle{id});
  });
}

void FakeHost::carry_out(const Note& action) {
  if (action.text.empty()) violate("a note without words: " + action.kind);
  if (notes_.size() < log_actions_max) notes_.push_back(action);
}

void FakeHost::carry_out(const CommandDone& action) {
  if (unanswered_.erase(action.command) + abandoned_.erase(action.command) != 1)
    return violate(
        fmt::format("command {} is answered twice, or after its client left", raw(action.command)));
  answers_[action.command] = action;
}

void FakeHost::carry_out(const SaveState&) {
  save();
}

void FakeHost::save() {
  disk_stale_ = !disk_writable_;
  if (disk_writable_) saved_ = planner_->persistent();
}

void FakeHost::set_disk(bool writable) {
  disk_writable_ = writable;
}

// As the balancer counts them, before and after: what an older process answered before a rollout says nothing.
void FakeHost::count_answers() {
  AnswersCounted counted;
  for (const Process* process : processes()) counted.by_instance[process->id] = process->answers;
  send(std::move(counted));
}

void FakeHost::answer_requests(const std::string& app, bool newest, std::uint64_t all, std::uint64_t errors) {
  const auto at = world().apps.find(app);
  if (at == world().apps.end()) return;
  count_answers();
  for (Process* process : processes(app)) {
    if ((process->revision == at->second.revision) != newest) continue;
    process->answers.all += all;
    process->answers.errors += errors;
  }
  count_answers();
}

void FakeHost::carry_out(const ExitDaemon& action) {
  for (const auto& [id, process] : processes_) {
    if (process.state != Process::State::gone)
      return violate("the daemon ends and leaves a process of " + to_string(process.replica));
  }
  ended_ = action;
}

}  // namespace muster::sim
