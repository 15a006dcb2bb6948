#include "supervisor/takeover.h"

#include <algorithm>
#include <utility>

#include "fmt/core.h"
#include "spec/load.h"
#include "supervisor/planner.h"
#include "supervisor/revision_codec.h"

namespace muster::supervisor {

PersistentState with_living(PersistentState state, const std::vector<LivingProcess>& living) {
  for (const LivingProcess& process : living) {
    if (process.run || !process.mark.started || process.mark.stopping) continue;
    const auto [at, added] = state.apps.try_emplace(process.replica.app);
    PersistentApp& app = at->second;
    const bool newer = added || raw(process.revision) > std::max(app.revision, app.file_revision);
    const auto past = std::ranges::find(app.history, process.revision, &PastRevision::number);
    if (past == app.history.end()) {
      app.history.push_back({.number = process.revision,
                             .app = process.app,
                             .since = process.started,
                             .was_ready = process.mark.was_ready});
    } else {
      past->admitted = true;  // else it would not run
    }
    if (!newer) continue;
    app.revision = app.file_revision = raw(process.revision);
    app.revision_hash = fingerprint(spec::revision_text(*process.app));
    app.undone = false;
  }
  return state;
}

bool Planner::still_runs(const std::string& app) const {
  return std::ranges::any_of(living_, [&](const LivingProcess& process) {
    return process.replica.app == app && !process.run && !process.exit && process.mark.started &&
           !process.mark.stopping;
  });
}

// What has ended for good stays ended.
void Planner::restore_slots(AppWorld& app, const PersistentApp& saved) {
  if (!options_.living || raw(app.revision) != saved.revision) return;
  app.gate_open = saved.gate_open;
  for (const auto& [ordinal, memo] : saved.slots) {
    Slot& slot = slot_of(app, ordinal);
    slot.starts = memo.starts;
    slot.last_exit = memo.last_exit;
    if (memo.completed) set_idle(slot, Phase::completed, memo.reason);
    if (memo.failed) set_idle(slot, Phase::failed, memo.reason);
  }
}

// Where the process lives; one that no file knows any more has a home to end in.
AppWorld& Planner::home_of(const LivingProcess& process) {
  const std::string& name = process.replica.app;
  if (process.run) {
    const auto [at, added] = world_.jobs.try_emplace(name);
    JobWorld& job = at->second;
    if (added) {
      auto gone = std::make_shared<spec::Job>();
      gone->task = *process.app;
      job.job = gone;
      job.task.app = job.task.file = std::shared_ptr<const spec::App>(gone, &gone->task);
      job.task.of_job = job.task.removed = true;
    }
    job.ran = job.met = true;
    job.runs.try_emplace(
        process.replica.ordinal,
        JobRun{.why = process.run->why, .before = process.run->before, .tries = process.run->tries});
    return job.task;
  }
  const auto [at, added] = world_.apps.try_emplace(name);
  AppWorld& app = at->second;
  if (added) {
    app.app = app.file = process.app;
    app.revision = app.file_revision = process.revision;
    app.revision_text = spec::revision_text(*process.app);
    app.removed = true;
  }
  if (!app.before || app.before->number != app.revision) app.gate_open = true;
  return app;
}

// As the last daemon wrote it down. What it was about to do is decided anew, but for an end that had begun.
void Planner::take_over(const LivingProcess& process) {
  AppWorld& app = home_of(process);
  Slot& slot = slot_of(app, process.replica.ordinal);
  set_idle(slot, Phase::waiting, "to be started");  // what it will be when this process is gone
  const bool same_text = process.run.has_value() || spec::revision_text(*process.app) == app.revision_text;
  Tenant tenant;
  tenant.id = process.instance;
  tenant.replica = process.replica;
  tenant.revision = same_text ? app.revision : process.revision;
  if (tenant.revision == app.revision) slot.starts = std::max(slot.starts, process.starts);
  // A number that a lost state gave away again is not this process' own.
  if (!same_text && tenant.revision == app.revision) tenant.outdated = true;
  // It may have said so while nobody listened, and says it once.
  const bool says_once = process.app->health.notify || process.app->health.log;
  const bool unheard = says_once && !process.mark.was_ready && !process.run && !process.exit;
  tenant.outdated = tenant.outdated || process.mark.outdated || unheard;
  tenant.app =
      same_text ? app.app : std::make_shared<const spec::App>(with_settings_of(*app.file, *process.app));
  tenant.started = true;
  tenant.pid = process.pid;
  tenant.ports = process.ports;
  tenant.socket = process.socket;
  tenant.address = process.mark.address;
  tenant.started_wall = process.started;
  tenant.since = process.started;
  const Nanos age = std::clamp<Nanos>(now_.wall - process.started, Nanos{0}, now_.mono.time_since_epoch());
  tenant.started_at = tenant.spawned_at = now_.mono - age;
  tenant.was_ready = process.mark.was_ready;
  tenant.notify_ready = tenant.log_ready = tenant.was_ready;
  tenant.ready_since = tenant.started_at;
  tenant.ready_verdict = health::Verdict(tenant.app->health, process.mark.fit);
  tenant.next_probe = now_.mono;
  if (tenant.app->live) {
    tenant.live_verdict = health::Verdict(*tenant.app->live, true);
    tenant.next_live = now_.mono + tenant.app->live->every;
  }
  tenant.watchdog = process.app->watchdog;
  if (tenant.watchdog) tenant.watchdog_due = now_.mono + *tenant.watchdog;
  tenant.marked = process.mark;
  if (options_.served.contains(tenant.id)) tenant.left_in = SnapshotVersion{raw(world_.published) + 1};
  where_[tenant.id] = tenant.replica;
  // Whoever ended the daemon before may have switched them off meanwhile.
  if (!app.removed)
    act(SetLimits{.instance = tenant.id, .app = tenant.app, .why = "another daemon has started it"});
  routes_dirty_ = true;
  slot.tenants.push_back(std::move(tenant));
  const Place place{&app, &slot, &slot.tenants.back()};
  note(Severity::info, "taken-over", slot.replica, process.instance,
       fmt::format("{} as pid {}, of revision {}", process.exit ? "had run" : "found running", process.pid,
                   raw(place.tenant->revision)));
  if (process.exit) {
    on(ProcessExited{.instance = process.instance, .status = *process.exit});
  } else if (!process.mark.started) {
    place.tenant->hasty = true;
    leave(place, Leaving::replaced, "its start was cut short by the end of the daemon");
  } else if (process.mark.stopping) {
    take_over_end(place);
  } else if (process.mark.fit) {
    set_phase(*place.tenant, slot.drained ? Phase::draining : Phase::ready,
              slot.drained ? "drained by hand" : "");
    place.tenant->since = process.started;
  } else {
    update_readiness(place);
  }
}

// It goes on where it was, as far as that is known.
void Planner::take_over_end(Place place) {
  Tenant& tenant = *place.tenant;
  const auto drain = options_.drains.find(tenant.id);
  const bool waits = drain != options_.drains.end();
  if (!waits) tenant.left_in = SnapshotVersion{0};
  leave(place, Leaving::replaced, "it was on its way out when the daemon ended");
  if (waits && tenant.step == StopStep::drain) tenant.step_due = std::min(tenant.step_due, drain->second);
}

std::optional<RunMemo> Planner::run_memo(const AppWorld& app, int ordinal) const {
  if (!app.of_job) return std::nullopt;
  const JobRun& run = world_.jobs.at(app.app->name).runs.at(ordinal);
  return RunMemo{.why = run.why, .before = run.before, .tries = run.tries};
}

namespace {
ReplicaMark mark_of(const Tenant& tenant) {
  const bool fit = tenant.phase == Phase::ready || tenant.phase == Phase::draining;
  return ReplicaMark{.started = tenant.started,
                     .was_ready = tenant.was_ready,
                     .fit = fit && !tenant.is_leaving(),
                     .stopping = tenant.is_leaving(),
                     .outdated = tenant.outdated,
                     .address = tenant.address};
}
}  // namespace

std::map<InstanceId, Instant> drains_of(const World& world) {
  std::map<InstanceId, Instant> drains;
  const auto look_at = [&](const AppWorld& app) {
    for (const auto& [ordinal, slot] : app.slots) {
      for (const Tenant& tenant : slot.tenants) {
        if (tenant.step == StopStep::drain) drains.emplace(tenant.id, tenant.step_due);
      }
    }
  };
  for (const auto& [name, app] : world.apps) look_at(app);
  for (const auto& [name, job] : world.jobs) look_at(job.task);
  return drains;
}

void Planner::mark_tenants(AppWorld& app) {
  for (auto& [ordinal, slot] : app.slots) {
    for (Tenant& tenant : slot.tenants) {
      ReplicaMark mark = mark_of(tenant);
      if (mark == tenant.marked) continue;
      tenant.marked = mark;
      act(MarkReplica{.instance = tenant.id, .mark = std::move(mark)});
    }
  }
}

}  // namespace muster::supervisor
