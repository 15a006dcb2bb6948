#include "simulator/fake_host.h"

#include <algorithm>

#include "fmt/core.h"
#include "simulator/describe.h"
#include "supervisor/replica_record.h"
#include "supervisor/state_codec.h"

namespace muster::sim {

namespace {
constexpr std::size_t trace_lines_max = 400;
constexpr int sleepless_max = 3;  // steps at one instant that nothing asked for
}  // namespace

FakeHost::FakeHost(HostOptions options) : options_(std::move(options)), saved_(options_.restored) {
  now_ += 1h;  // no deadline may depend on a clock that starts at 0
  file_ = options_.spec;
  begin_life();
}

void FakeHost::begin_life(std::optional<std::vector<LivingProcess>> living) {
  ++life_;
  restored_ = saved_;
  PlannerOptions options{.mode = options_.mode, .seed = options_.seed, .restored = restored_};
  const bool anew = !living;
  if (living) options.first_instance = InstanceId{raw(newest_) + 1};
  options.living = std::move(living);
  options_.seam.restored(options.restored);
  planner_ = std::make_unique<Planner>(std::move(options));
  inbox_.clear();
  if (anew) {
    queue_.clear();
    processes_.clear();
    newest_ = InstanceId{0};
  }
  unanswered_.clear();
  abandoned_.clear();
  workers_.assign(static_cast<std::size_t>(options_.workers), Worker{});
  routes_.assign(1, Routes{});
  ended_.reset();
  if (file_) load(file_);
}

void FakeHost::restart_daemon(bool in_order, std::shared_ptr<const spec::Spec> edited) {
  if (!violation_.empty()) return;
  if (in_order) {
    if (!ended_) shutdown();
    if (!advance_until([this] { return ended_.has_value(); }, 1h) && violation_.empty())
      return violate("the daemon does not end");
    if (!violation_.empty()) return;
    save();
  }
  tell(in_order ? "--- the daemon is started again" : "--- the power was lost; the daemon is started");
  if (!read_state(std::move(edited))) return;
  begin_life();
  watcher.on_restart();
}

bool FakeHost::read_state(std::shared_ptr<const spec::Spec> edited) {
  auto read = decode_state(encode_state(saved_));
  if (!read) violate("the state cannot be read: " + read.error().message);
  if (!read) return false;
  saved_ = std::move(read.value());
  if (edited) file_ = std::move(edited);
  return true;
}

// Whatever the dead daemon has not been told of is still written down.
std::vector<LivingProcess> FakeHost::records() {
  std::vector<LivingProcess> living;
  for (auto& [id, process] : processes_) {
    ReplicaRecord record;
    record.process = process.record;
    record.process.pid = process.pid;
    record.process.ports = process.ports;
    record.process.started = wall() - std::chrono::duration_cast<Millis>(now_ - process.started);
    record.start_ticks = 1;
    auto read = decode_record(encode_record(record));
    if (!read) violate("a record cannot be read: " + read.error().message);
    if (!read) continue;
    static_cast<void>(decode_mark(encode_mark(record), read.value()));
    living.push_back(std::move(read.value().process));
  }
  return living;
}

void FakeHost::tell_of_dead() {
  for (auto& [id, process] : processes_) {
    process.taken_over = true;
    process.exit_told = process.busy = false;
    process.probes.clear();
    process.asked_idle.reset();
    process.idle_questions = 0;
    // Found out in a later turn of the loop; until then it seems to run.
    if (process.state == Process::State::gone) process.conduct.tree_outlives = false;
    if (process.state == Process::State::gone || process.state == Process::State::exited) {
      process.state = Process::State::running;
      at(Nanos{1ms}, [this, id = id] { exit(id, {}); });
    }
  }
}

void FakeHost::crash_daemon(Nanos away, std::shared_ptr<const spec::Spec> edited) {
  if (!violation_.empty() || ended_) return;
  tell("--- the daemon has crashed");
  ++life_;  // nobody waits for its answers any more
  stall(away);
  tell("--- the daemon is started again, and looks for its processes");
  if (!read_state(std::move(edited))) return;
  --life_;
  begin_life(records());
  tell_of_dead();
  watcher.on_restart();
}

void FakeHost::tell(const std::string& line) {
  if (!options_.trace) return;
  const auto ms = std::chrono::duration_cast<Millis>(now_ - Instant{} - 1h).count();
  trace_.push_back(fmt::format("{:>8} ms  {}", ms, line));
  if (trace_.size() > trace_lines_max) trace_.pop_front();
}

void FakeHost::violate(const std::string& what) {
  if (!violation_.empty()) return;
  violation_ = what;
  tell("BROKEN: " + what);
}

void FakeHost::at(Nanos delay, std::function<void()> what) {
  queue_.emplace(now_ + delay, std::move(what));
}

void FakeHost::at_in_life(Nanos delay, std::function<void()> what) {
  at(delay, [this, life = life_, what = std::move(what)] {
    if (life == life_) what();
  });
}

void FakeHost::send(Event event) {
  inbox_.push_back(std::move(event));
}

WallTime FakeHost::wall() const {
  constexpr std::chrono::seconds begin{1767225600};  // of 2026
  return WallTime{} + begin + std::chrono::duration_cast<WallTime::duration>(now_ - Instant{} + clock_ahead_);
}

void FakeHost::run_due() {
  while (!queue_.empty() && queue_.begin()->first <= now_) {
    auto what = std::move(queue_.begin()->second);
    queue_.erase(queue_.begin());
    what();
  }
}

void FakeHost::stall(Nanos duration) {
  if (!violation_.empty() || ended_) return;
  const Instant end = now_ + duration;
  while (!queue_.empty() && queue_.begin()->first <= end) {
    now_ = std::max(now_, queue_.begin()->first);
    run_due();
  }
  now_ = end;
}

void FakeHost::freeze(Nanos duration) {
  if (!violation_.empty() || ended_) return;
  std::multimap<Instant, std::function<void()>> later;
  for (auto& [due, what] : queue_) later.emplace(due + duration, std::move(what));
  queue_ = std::move(later);
  now_ += duration;
}

void FakeHost::set_clock(Nanos forward) {
  clock_ahead_ += forward;
}

void FakeHost::advance(Nanos duration) {
  run_until(now_ + duration, [] { return false; });
}

bool FakeHost::advance_until(const std::function<bool()>& condition, Nanos limit) {
  run_until(now_ + limit, condition);
  return condition();
}

void FakeHost::run_until(Instant end, const std::function<bool()>& condition) {
  int sleepless = 0;
  while (violation_.empty() && !ended_) {
    const bool has_news = !inbox_.empty();
    if (!has_news) {
      if (condition()) return;
      std::optional<Instant> next = planner_->next_wakeup();
      if (!queue_.empty() && (!next || queue_.begin()->first < *next)) next = queue_.begin()->first;
      if (!next || *next > end) break;
      sleepless = *next <= now_ && (queue_.empty() || queue_.begin()->first > now_) ? sleepless + 1 : 0;
      if (sleepless > sleepless_max) return violate("the planner asks to be woken at once, again and again");
      now_ = std::max(now_, *next);
    }
    run_due();
    const auto wakeup = planner_->next_wakeup();
    if (!inbox_.empty() || (wakeup && *wakeup <= now_)) step();
  }
  if (violation_.empty() && !ended_) now_ = std::max(now_, end);
}

void FakeHost::hear(const std::vector<Event>& events) {
  for (const Event& event : events) {
    const bool routine =
        !faults && (std::holds_alternative<ProbeFinished>(event) || std::holds_alternative<Notified>(event));
    if (options_.trace && !routine) tell("  <- " + describe_event(event));
    if (const auto* exited = std::get_if<ProcessExited>(&event)) {
      if (Process* process = find(exited->instance); process != nullptr) process->exit_told = true;
    } else if (const auto* loaded = std::get_if<SpecLoaded>(&event)) {
      file_ = loaded->spec;
    } else if (const auto* idle = std::get_if<EndpointIdle>(&event)) {
      if (Process* process = find(idle->instance); process != nullptr) process->busy = false;
    }
  }
}

void FakeHost::step() {
  ++steps_;
  std::vector<Event> events = std::exchange(inbox_, {});
  hear(events);
  watcher.before_step(events);
  options_.seam.events(events);
  std::vector<Action> actions = planner_->step(events, Now{.mono = now_, .wall = wall()});
  if (events.empty() && actions.empty()) ++idle_steps_;
  options_.seam.actions(actions);
  for (const Event& event : events) {
    // Whoever has heard of the end of a tree may forget the process.
    if (const auto* gone = std::get_if<TreeGone>(&event)) processes_.erase(gone->instance);
  }
  for (const Action& action : actions) {
    const bool routine = !faults && std::holds_alternative<RunProbe>(action);
    if (options_.trace && !routine) tell("  -> " + describe_action(action));
    std::visit([this](const auto& what) { carry_out(what); }, action);
    if (!violation_.empty()) return;
  }
  abandoned_.clear();
  if (!ended_) watcher.after_step(actions);
}

CommandId FakeHost::command_id() {
  const CommandId id{next_command_++};
  unanswered_.insert(id);
  return id;
}
CommandId FakeHost::apply(std::shared_ptr<const spec::Spec> spec, bool retry) {
  const CommandId id = command_id();
  send(SpecLoaded{std::move(spec), id, retry});
  return id;
}
CommandId FakeHost::undo(const std::string& app) {
  const CommandId id = command_id();
  send(UndoCommand{id, app});
  return id;
}
CommandId FakeHost::start(Target target) {
  const CommandId id = command_id();
  send(StartCommand{id, std::move(target)});
  return id;
}
CommandId FakeHost::stop(Target target) {
  const CommandId id = command_id();
  send(StopCommand{id, std::move(target)});
  return id;
}
CommandId FakeHost::restart(Target target, bool at_once) {
  const CommandId id = command_id();
  const auto at = world().apps.find(target.app);
  auto vars =
      at == world().apps.end() ? decltype(RestartCommand::env_file_vars){} : at->second.file->env_file_vars;
  send(RestartCommand{id, std::move(target), at_once, std::move(vars)});
  return id;
}
CommandId FakeHost::scale(const std::string& app, std::optional<int> replicas) {
  const CommandId id = command_id();
  send(ScaleCommand{id, app, replicas});
  return id;
}
CommandId FakeHost::drain(Target target, bool out) {
  const CommandId id = command_id();
  send(DrainCommand{id, std::move(target), out});
  return id;
}
CommandId FakeHost::pause(const std::string& app, bool pause) {
  const CommandId id = command_id();
  send(PauseCommand{id, app, pause});
  return id;
}
void FakeHost::abandon(CommandId id) {
  unanswered_.erase(id);
  abandoned_.insert(id);
  send(CommandAbandoned{id});
}
void FakeHost::shutdown(bool at_once) {
  send(ShutdownRequested{"SIGTERM", at_once});
}

Process* FakeHost::find(InstanceId id) {
  const auto at = processes_.find(id);
  return at == processes_.end() ? nullptr : &at->second;
}

int FakeHost::running(const std::string& name) const {
  return static_cast<int>(std::ranges::count_if(processes_, [&](const auto& entry) {
    return entry.second.replica.app == name && entry.second.state == Process::State::running;
  }));
}

int FakeHost::ready(const std::string& name) const {
  const auto at = world().apps.find(name);
  return at == world().apps.end() ? 0 : ready_count(at->second);
}

std::vector<Process*> FakeHost::processes(const std::string& name) {
  std::vector<Process*> found;
  for (auto& [id, process] : processes_) {
    if (process.state == Process::State::running && (name.empty() || process.replica.app == name))
      found.push_back(&process);
  }
  return found;
}

Process* FakeHost::process(const std::string& name, int ordinal, bool oldest) {
  Process* found = nullptr;
  for (Process* process : processes(name)) {
    if (process->replica.ordinal == ordinal && (found == nullptr || !oldest)) found = process;
  }
  return found;
}

std::optional<CommandDone> FakeHost::answer(CommandId id) const {
  const auto at = answers_.find(id);
  return at == answers_.end() ? std::nullopt : std::optional(at->second);
}

std::vector<InstanceId> FakeHost::routed(const std::string& app) const {
  std::vector<InstanceId> ids;
  for (const auto& [name, id] : routes_.back().endpoints) {
    if (name == app) ids.push_back(id);
  }
  return ids;
}

// A worker may pick by the version it uses and by each later one that is on its way to it.
bool FakeHost::pickable(InstanceId id) const {
  return std::ranges::any_of(routes_, [id](const Routes& routes) {
    return std::ranges::any_of(routes.endpoints,
                               [id](const auto& endpoint) { return endpoint.second == id; });
  });
}

std::vector<std::string> FakeHost::notes(const std::string& kind) const {
  std::vector<std::string> texts;
  for (const Note& note : notes_) {
    if (note.kind == kind) texts.push_back(note.text);
  }
  return texts;
}

}  // namespace muster::sim
