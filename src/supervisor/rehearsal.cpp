#include "supervisor/rehearsal.h"

#include <algorithm>
#include <set>
#include <utility>

namespace muster::supervisor {

namespace {

constexpr Nanos horizon = std::chrono::hours{2};
constexpr int steps_max = 20'000;
constexpr Millis job_takes{1000};  // nobody knows
constexpr Millis end_takes{100};   // from the signal to the end of the last process
constexpr int made_up_pid = 1;
constexpr std::uint16_t made_up_port = 1;

class Stage {
 public:
  Stage(Planner planner, Now now, const StartTakes& start_takes)
      : planner_(std::move(planner)), began_(now), now_(now), start_takes_(start_takes), changed_(now.mono) {}

  Rehearsed run(std::shared_ptr<const spec::Spec> spec);

 private:
  void take_over(const Tenant& tenant);
  void later(Nanos delay, Event event) { queue_.emplace(now_.mono + delay, std::move(event)); }
  bool next_events(std::vector<Event>& events);
  void ping_watchdogs(std::vector<Event>& events) const;
  void observe();
  void observe(const Tenant& tenant, Nanos at, Rehearsed::AppCourse& course);
  [[nodiscard]] bool settled(const AppWorld& app, const Slot& slot) const;
  [[nodiscard]] bool settled() const;
  void become_ready(InstanceId id, const spec::App& app, Nanos in);
  void carry_out(const Spawn& action);
  void carry_out(const MarkReplica& action) { static_cast<void>(action); }
  void carry_out(const SetLimits& action) { static_cast<void>(action); }
  void carry_out(const Signal& action) { end(action.instance); }
  void carry_out(const KillTree& action) { end(action.instance); }
  void carry_out(const RunStopCommand& action);
  void carry_out(const RunProbe& action);
  void carry_out(const Publish& action) { later(Nanos{0}, SnapshotInUse{action.version}); }
  void carry_out(const WatchIdle& action) { later(Nanos{0}, EndpointIdle{action.instance}); }
  void carry_out(const Note& action) { static_cast<void>(action); }
  void carry_out(const CommandDone& action) { static_cast<void>(action); }
  void carry_out(const SaveState& action) { static_cast<void>(action); }
  void carry_out(const ExitDaemon& action) {
    static_cast<void>(action);
    ended_all_ = true;
  }
  void end(InstanceId id);
  void run_job(InstanceId id);

  Planner planner_;
  const Now began_;
  Now now_;
  const StartTakes& start_takes_;
  std::multimap<Instant, Event> queue_;
  std::map<InstanceId, Instant> ready_at_;  // of those that are not ready yet
  std::set<InstanceId> leaving_;
  std::set<InstanceId> ended_;
  std::set<InstanceId> ready_;
  Rehearsed seen_;
  Instant changed_;  // when a process last started, became ready, was to end or was gone
  std::size_t living_ = 0;
  bool ended_all_ = false;
};

// A process that was there before, with all that is on its way for it.
void Stage::take_over(const Tenant& tenant) {
  if (tenant.is_leaving()) leaving_.insert(tenant.id);
  if (tenant.phase == Phase::ready) ready_.insert(tenant.id);
  if (!tenant.started) {
    if (tenant.is_leaving())
      return later(end_takes, SpawnFailed{.instance = tenant.id, .kind = SpawnFailure::exec, .sentence = ""});
    later(Nanos{0}, ProcessStarted{.instance = tenant.id, .pid = made_up_pid, .ports = {{"", made_up_port}}});
  }
  if (tenant.exited) return later(end_takes, TreeGone{tenant.id});
  if (tenant.is_leaving()) {
    if (tenant.step == StopStep::drain && tenant.idle_asked) later(Nanos{0}, EndpointIdle{tenant.id});
    if (tenant.step == StopStep::command)
      later(end_takes, StopCommandDone{.instance = tenant.id, .sentence = ""});
    if (tenant.step == StopStep::signal || tenant.step == StopStep::kill) end(tenant.id);
    return;
  }
  if (tenant.phase == Phase::starting) {
    const Nanos since = now_.mono - tenant.spawned_at;
    become_ready(tenant.id, *tenant.app, std::max<Nanos>(start_takes_(*tenant.app) - since, Millis{10}));
    if (tenant.probing) {
      const health::Outcome waits{
          .code = health::ProbeCode::refused, .sentence = "", .output = "", .address = std::nullopt};
      later(Nanos{0},
            ProbeFinished{.instance = tenant.id, .kind = health::ProbeKind::readiness, .outcome = waits});
    }
  }
}

void Stage::become_ready(InstanceId id, const spec::App& app, Nanos in) {
  ready_at_[id] = now_.mono + in;
  if (app.health.notify) {
    Notified ready{};
    ready.instance = id;
    ready.ready = true;
    later(in, ready);
  }
  if (app.health.log) later(in, LogMatched{.instance = id, .kind = health::ProbeKind::readiness});
}

// It ends by itself, with success.
void Stage::run_job(InstanceId id) {
  if (!ended_.insert(id).second) return;
  later(job_takes, ProcessExited{.instance = id, .status = ExitStatus{.code = 0, .signal = std::nullopt}});
  later(job_takes, TreeGone{id});
}

void Stage::carry_out(const Spawn& action) {
  const bool of_job = planner_.world().jobs.contains(action.replica.app);
  (of_job ? seen_.job_runs : seen_.starts)
      .push_back({.at = now_.mono - began_.mono,
                  .replica = action.replica,
                  .revision = action.revision,
                  .why = action.why});
  ProcessStarted started{.instance = action.instance, .pid = made_up_pid, .ports = {}};
  if (action.app->port.kind != spec::PortKind::none) started.ports.emplace_back("", made_up_port);
  later(Nanos{0}, std::move(started));
  if (of_job) return run_job(action.instance);
  become_ready(action.instance, *action.app, start_takes_(*action.app));
}

void Stage::carry_out(const RunStopCommand& action) {
  later(end_takes, StopCommandDone{.instance = action.instance, .sentence = ""});
}

// What is ready stays so, and what is not goes on as it is: only of those that start there is news.
void Stage::carry_out(const RunProbe& action) {
  const auto at = ready_at_.find(action.instance);
  if (at == ready_at_.end() || action.kind == health::ProbeKind::liveness) return;
  const health::Outcome healthy{
      .code = health::ProbeCode::ok, .sentence = "", .output = "", .address = "127.0.0.1"};
  queue_.emplace(std::max(now_.mono, at->second),
                 ProbeFinished{.instance = action.instance, .kind = action.kind, .outcome = healthy});
}

void Stage::end(InstanceId id) {
  if (!ended_.insert(id).second) return;
  later(end_takes, ProcessExited{.instance = id, .status = ExitStatus{.code = std::nullopt, .signal = 15}});
  later(end_takes, TreeGone{id});
}

// Everything up to the next instant at which something happens; false: nothing more will.
bool Stage::next_events(std::vector<Event>& events) {
  events.clear();
  std::optional<Instant> next = planner_.next_wakeup();
  if (!queue_.empty() && (!next || queue_.begin()->first < *next)) next = queue_.begin()->first;
  if (!next) return false;
  const Nanos passed = std::max(Nanos{0}, Nanos{*next - now_.mono});
  now_.mono += passed;
  now_.wall += std::chrono::duration_cast<WallTime::duration>(passed);
  while (!queue_.empty() && queue_.begin()->first <= now_.mono) {
    events.push_back(std::move(queue_.begin()->second));
    queue_.erase(queue_.begin());
  }
  ping_watchdogs(events);
  return true;
}

// Each pings when the last moment for it has come.
void Stage::ping_watchdogs(std::vector<Event>& events) const {
  for (const auto& [name, app] : planner_.world().apps) {
    for (const auto& [ordinal, slot] : app.slots) {
      for (const Tenant& tenant : slot.tenants) {
        if (!tenant.watchdog_due || *tenant.watchdog_due > now_.mono) continue;
        Notified ping{};
        ping.instance = tenant.id;
        ping.watchdog = true;
        events.emplace_back(std::move(ping));
      }
    }
  }
}

void Stage::observe(const Tenant& tenant, Nanos at, Rehearsed::AppCourse& course) {
  if (tenant.is_leaving() && leaving_.insert(tenant.id).second) {
    seen_.ends.push_back(
        {.at = at, .replica = tenant.replica, .revision = tenant.revision, .why = tenant.reason});
  }
  if (tenant.is_leaving()) course.settled = at + end_takes;
  if (tenant.phase == Phase::ready && ready_.insert(tenant.id).second) course.settled = at;
}

void Stage::observe() {
  const Nanos at = now_.mono - began_.mono;
  const std::size_t before =
      seen_.starts.size() + seen_.job_runs.size() + seen_.ends.size() + ready_.size() + living_;
  living_ = 0;
  for (const auto& [name, app] : planner_.world().apps) {
    const auto [course, fresh] = seen_.apps.try_emplace(name);
    const int ready = ready_count(app);
    course->second.ready_min = fresh ? ready : std::min(course->second.ready_min, ready);
    course->second.revision = app.revision;
    course->second.wanted = app.desired();
    for (const auto& [ordinal, slot] : app.slots) {
      living_ += slot.tenants.size();
      for (const Tenant& tenant : slot.tenants) observe(tenant, at, course->second);
    }
  }
  if (seen_.starts.size() + seen_.job_runs.size() + seen_.ends.size() + ready_.size() + living_ != before)
    changed_ = now_.mono;
}

// Nothing of this slot is on its way any more.
bool Stage::settled(const AppWorld& app, const Slot& slot) const {
  const bool wanted = !app.removed && !app.held && !slot.held && slot.replica.ordinal < app.desired();
  if (!wanted) return slot.tenants.empty();
  if (slot.tenants.empty()) {
    const bool waits = slot.phase == Phase::waiting && !app.gate_open;
    return waits || slot.phase == Phase::completed || slot.phase == Phase::failed;
  }
  if (slot.tenants.size() > 1) return false;
  const Tenant& tenant = slot.tenants.front();
  const bool current = !tenant.outdated && tenant.revision == app.revision;
  if (tenant.is_leaving() || tenant.phase == Phase::starting || !current) return false;
  if (ready_at_.contains(tenant.id) && !tenant.was_ready) return false;
  return now_.mono >= tenant.ready_since + app.app->update.min_ready;
}

bool Stage::settled() const {
  const World& world = planner_.world();
  return world.in_use == world.published && std::ranges::all_of(world.apps, [&](const auto& entry) {
           const AppWorld& app = entry.second;
           if (is_stuck(app)) return true;
           if (waits_for_jobs(app) && app.before->failure.empty()) return false;
           const bool whole = !app.removed && std::ssize(app.slots) >= app.desired();
           return whole &&
                  std::ranges::all_of(app.slots, [&](const auto& slot) { return settled(app, slot.second); });
         });
}

namespace {
// Nothing waits longer than this for its turn; what has not changed for so long will not.
Nanos longest_wait(const spec::Spec& spec) {
  Nanos longest{0};
  for (const spec::App& app : spec.apps) {
    const Nanos wait = app.update.deadline + app.update.min_ready + app.restart.max_backoff + app.stop.drain +
                       app.stop.timeout + app.health.start;
    longest = std::max(longest, 2 * wait);
  }
  return longest + std::chrono::minutes{1};
}
}  // namespace

Rehearsed Stage::run(std::shared_ptr<const spec::Spec> spec) {
  for (const auto& [name, app] : planner_.world().apps) {
    for (const auto& [ordinal, slot] : app.slots) {
      for (const Tenant& tenant : slot.tenants) take_over(tenant);
    }
  }
  for (const auto& [name, job] : planner_.world().jobs) {
    for (const auto& [ordinal, slot] : job.task.slots) {
      for (const Tenant& tenant : slot.tenants) {
        take_over(tenant);
        if (!tenant.is_leaving() && !tenant.exited) run_job(tenant.id);
      }
    }
  }
  if (planner_.world().in_use < planner_.world().published)
    later(Nanos{0}, SnapshotInUse{planner_.world().published});
  observe();
  const auto events_spec = spec;
  std::vector<Event> events{SpecLoaded{.spec = std::move(spec), .command = std::nullopt, .retry = false}};
  const Nanos patience = longest_wait(*events_spec);
  for (int steps = 0; !ended_all_; ++steps) {
    seen_.whole = steps < steps_max && now_.mono - began_.mono < horizon;
    if (!seen_.whole || now_.mono - changed_ > patience) break;
    for (const Action& action : planner_.step(events, now_)) {
      std::visit([this](const auto& wanted) { carry_out(wanted); }, action);
    }
    observe();
    if (settled() || !next_events(events)) break;
  }
  return std::move(seen_);
}

}  // namespace

Rehearsed rehearse(Planner planner, std::shared_ptr<const spec::Spec> spec, Now now,
                   const StartTakes& start_takes) {
  return Stage(std::move(planner), now, start_takes).run(std::move(spec));
}

}  // namespace muster::supervisor
