// What was asked for: by the file, by people, by signals. Wishes are recorded here; reconcile acts on them.
#include <algorithm>
#include <utility>

#include "fmt/core.h"
#include "spec/load.h"
#include "supervisor/planner.h"
#include "supervisor/revision_codec.h"

namespace muster::supervisor {

std::uint64_t fingerprint(std::string_view text) {
  std::uint64_t hash = 14695981039346656037ULL;
  for (const char byte : text) hash = (hash ^ static_cast<unsigned char>(byte)) * 1099511628211ULL;
  return hash;
}

// What ran last is in force again when the file still says the same, be it after a rollback, and when it still runs.
// True: the file says something that was never in force here.
bool Planner::restore_app(AppWorld& app, const PersistentApp& saved) {
  const bool up = options_.mode == RunMode::up;  // `up` begins without holds, and tries what failed again
  app.history = saved.history;
  Revision newest{std::max(saved.revision, saved.file_revision)};
  for (const PastRevision& past : app.history) newest = std::max(newest, past.number);
  const std::uint64_t hash = fingerprint(app.revision_text);
  const PastRevision* said = past_revision(app, Revision{saved.file_revision});
  const PastRevision* ran = past_revision(app, Revision{saved.revision});
  const bool same_file = said != nullptr && fingerprint(spec::revision_text(*said->app)) == hash;
  const bool same_text = hash == saved.revision_hash;
  const bool went_back =
      saved.revision != saved.file_revision && same_file && ran != nullptr && !same_text && !up;
  app.file_revision = Revision{same_text   ? saved.revision
                               : same_file ? saved.file_revision
                                           : raw(newest) + 1};
  const bool runs_on = !went_back && !same_text && ran != nullptr && still_runs(app.file->name);
  if (runs_on) app.file_revision = Revision{saved.revision};
  app.revision = went_back ? Revision{saved.revision} : app.file_revision;
  if (went_back || runs_on) {
    app.undone = went_back && saved.undone;
    app.app = std::make_shared<const spec::App>(with_settings_of(*app.file, *ran->app));
    app.revision_text = spec::revision_text(*app.app);
  }
  if (up) {
    for (PastRevision& past : app.history) {
      if (past.number == app.file_revision) past.failure.clear();
    }
    return runs_on;
  }
  app.held = saved.held;
  app.paused = saved.paused;
  if (app.app->scale) app.autoscaled = saved.autoscaled;
  if (saved.scale && saved.scale->file_replicas == app.app->replicas) app.scale = saved.scale;
  for (const int ordinal : saved.held_ordinals) slot_of(app, ordinal).held = true;
  for (const int ordinal : saved.drained_ordinals) slot_of(app, ordinal).drained = true;
  if (raw(app.revision) == saved.revision) {
    for (const auto& [ordinal, failures] : saved.failures) slot_of(app, ordinal).failures = failures;
  }
  restore_slots(app, saved);
  return runs_on;
}

Slot& Planner::slot_of(AppWorld& app, int ordinal) {
  const auto [at, added] = app.slots.try_emplace(ordinal);
  if (added) {
    at->second.replica = ReplicaId{.app = app.app->name, .ordinal = ordinal};
    at->second.since = now_.wall;
    at->second.reason = "to be started";
  }
  return at->second;
}

// The same process under new rules.
void Planner::live_change(Tenant& tenant, const std::shared_ptr<const spec::App>& fresh) {
  const bool health_changed = !(tenant.app->health == fresh->health);
  const bool live_changed = !(tenant.app->live == fresh->live);
  const bool asked_notify = tenant.app->health.notify;
  const auto asked_log = tenant.app->health.log;
  // The process knows the WATCHDOG_USEC of its start: a shorter one must not kill it for that.
  if (tenant.watchdog && fresh->watchdog) {
    tenant.watchdog = std::max(*tenant.watchdog, *fresh->watchdog);
  } else {
    tenant.watchdog.reset();
    tenant.watchdog_due.reset();
  }
  const bool bounds_changed = !tenant.app->limits.same_whole(fresh->limits);
  tenant.app = fresh;
  if (bounds_changed && !tenant.exited)
    act(SetLimits{.instance = tenant.id, .app = fresh, .why = "its limits were edited"});
  if (health_changed) {
    const bool fit = tenant.phase == Phase::ready || tenant.phase == Phase::draining;
    tenant.ready_verdict = health::Verdict(fresh->health, fit);
    // What it was not asked for when it started it cannot say any more. One that was ready is believed, one that
    // never was has to start again.
    const bool asked_anew =
        (fresh->health.notify && !asked_notify) || (fresh->health.log && fresh->health.log != asked_log);
    if (tenant.was_ready) tenant.notify_ready = tenant.log_ready = true;
    if (asked_anew && !tenant.was_ready) tenant.outdated = true;
    tenant.stale_probe = tenant.probing;
    tenant.next_probe = now_.mono;
  }
  if (live_changed && fresh->live) {
    tenant.live_verdict = health::Verdict(*fresh->live, true);
    tenant.next_live = now_.mono + fresh->live->every;
  }
}

void Planner::change_live(AppWorld& app) {
  for (auto& [ordinal, slot] : app.slots) {
    for (Tenant& tenant : slot.tenants) {
      if (tenant.revision != app.revision) continue;
      live_change(tenant, app.app);
      update_readiness({&app, &slot, &tenant});
    }
  }
}

// An app that is new here, or new again while its last processes end.
void Planner::meet_app(AppWorld& mine, const std::shared_ptr<const spec::App>& fresh, bool added) {
  const std::string text = spec::revision_text(*fresh);
  mine.removed = false;
  mine.gate_open = false;
  mine.asked_for = now_.mono;
  mine.file = fresh;
  if (!added && mine.revision_text != text) return new_revision(mine);
  mine.app = fresh;
  mine.revision_text = text;
  const auto saved = restored_.apps.find(fresh->name);
  if (added && saved != restored_.apps.end() && restore_app(mine, saved->second)) {
    in_force(mine).app = mine.app;
    return new_revision(mine);
  }
  if (!added) mine.file_revision = mine.revision;
  const bool is_new = past_revision(mine, mine.file_revision) == nullptr;
  if (is_new) remember(mine, mine.file_revision, fresh);
  if (past_revision(mine, mine.revision) == nullptr) remember(mine, mine.revision, mine.app);
  in_force(mine).app = mine.app;
  begin_rollout(mine, mine.revision != mine.file_revision);
  await_jobs_of_first(mine, is_new);
  changed();
}

// One app of the new spec: a new one, a new revision, or a change that applies live.
void Planner::adopt_app(const spec::App& app, std::set<std::string>& touched, bool retry) {
  const auto fresh = std::make_shared<const spec::App>(app);
  const auto [at, added] = world_.apps.try_emplace(app.name);
  AppWorld& mine = at->second;
  if (added || mine.removed) {
    touched.insert(app.name);
    return meet_app(mine, fresh, added);
  }
  if (*mine.file == app && !(retry && !failure_text(mine).empty())) return;
  touched.insert(app.name);
  // New bounds are no look at the load: there are as many as before, as far as they allow.
  if (app.scale && mine.file->scale != app.scale)
    mine.autoscaled = std::clamp(mine.desired(), app.scale->min, app.scale->max);
  if (mine.scale && (mine.scale->file_replicas != app.replicas || mine.file->scale != app.scale)) {
    note_app(Severity::info, "hold", app.name, "the file's replicas were edited: the hold on the scale ends");
    mine.scale.reset();
  }
  if (std::exchange(mine.undone, false))
    note_app(Severity::info, "hold", app.name, "the app was edited: the hold on its revision ends");
  if (!app.scale) mine.autoscaled.reset();
  if (!mine.is_on_demand()) mine.asked_for = now_.mono;
  const std::string text = spec::revision_text(app);
  const bool awaited = waits_for_jobs(mine) && spec::revision_text(*mine.file) == text;
  mine.file = fresh;
  if (awaited) return hold_back(mine);
  if (mine.revision_text != text) return new_revision(mine);
  mine.app = fresh;
  mine.file_revision = mine.revision;
  if (waits_for_jobs(mine)) mine.before.reset();
  in_force(mine).app = fresh;
  try_on(mine);
  change_live(mine);
  changed();
}

// A revision that failed and stayed goes on.
void Planner::try_on(AppWorld& app) {
  if (app.before) app.before->failure.clear();
  if (!is_stuck(app)) return;
  in_force(app).failure.clear();
  begin_rollout(app, false);
}

void Planner::on(const SpecLoaded& event) {
  if (world_.shutting_down) {
    if (event.command) act(CommandDone{*event.command, ExitCode::failed, "the daemon is stopping"});
    return;
  }
  std::set<std::string> touched;
  const bool same = world_.spec && world_.spec->apps == event.spec->apps &&
                    world_.spec->listeners == event.spec->listeners &&
                    world_.spec->jobs == event.spec->jobs && world_.spec->daemon == event.spec->daemon;
  world_.spec_error.clear();
  world_.listener_errors.clear();
  adopt_jobs(*event.spec);
  for (const spec::App& app : event.spec->apps) adopt_app(app, touched, event.retry);
  for (const LivingProcess& process : std::exchange(living_, {})) take_over(process);
  for (auto& [name, app] : world_.apps) {
    if (app.removed || event.spec->find_app(name) != nullptr) continue;
    app.removed = true;
    app.held = false;
    app.scale.reset();
    app.undone = false;
    app.rollout.reset();
    app.before.reset();
    touched.insert(name);
    note_app(Severity::info, "removed", name, "no longer in the file");
    changed();
  }
  if (!same) {
    ++world_.spec_revision;
    note_app(Severity::info, "spec", "",
             fmt::format("revision {} of the spec is in force: {} of {} apps changed", world_.spec_revision,
                         touched.size(), event.spec->apps.size()));
  }
  world_.spec = event.spec;
  routes_dirty_ = true;
  restored_.apps.clear();
  restored_.jobs.clear();
  if (event.command) {
    // Also what was under way before: somebody who applies wants to know that the whole file holds.
    std::set<std::string> all;
    std::string failed;
    for (const auto& [name, app] : world_.apps) {
      const std::string failure = app.removed ? "" : failure_text(app);
      const bool under_way = app_state(world_, app) == AppState::updating || app.before;
      if (touched.contains(name) || under_way || !failure.empty()) all.insert(name);
      if (!failure.empty() && failed.empty())
        failed = fmt::format("{}: {}; `apply --retry` tries it again", name, failure);
    }
    wait_for(*event.command, std::move(all), std::nullopt,
             same && touched.empty()
                 ? "nothing changed"
                 : fmt::format("applied: {} of {} apps changed", touched.size(), event.spec->apps.size()));
    waiters_.back().verdict = std::move(failed);
  }
}

void Planner::on(const SpecRejected& event) {
  if (world_.spec_error != event.error)
    note_app(Severity::error, "spec-rejected", "", "the new file is not used: " + event.error);
  world_.spec_error = event.error;
  world_.listener_errors = event.listeners;
}

AppWorld* Planner::command_app(CommandId command, const Target& target) {
  const auto at = world_.apps.find(target.app);
  std::string problem;
  if (world_.shutting_down) {
    problem = "the daemon is stopping";
  } else if (at == world_.apps.end() || at->second.removed) {
    std::string names;
    for (const auto& [name, app] : world_.apps) {
      if (!app.removed) names += (names.empty() ? "" : ", ") + name;
    }
    problem = world_.jobs.contains(target.app)
                  ? fmt::format("'{0}' is a job; `muster run {0}` runs it", target.app)
                  : fmt::format("no app '{}'; there are: {}", target.app, names.empty() ? "none" : names);
  } else if (target.ordinal && at->second.desired() == 0) {
    problem = fmt::format("no replica {}/{}: {} has none now", target.app, *target.ordinal, target.app);
  } else if (target.ordinal && (*target.ordinal < 0 || *target.ordinal >= at->second.desired())) {
    problem = fmt::format("no replica {}/{}: {} has {} replicas, from 0 to {}", target.app, *target.ordinal,
                          target.app, at->second.desired(), at->second.desired() - 1);
  } else {
    return &at->second;
  }
  act(CommandDone{.command = command, .code = ExitCode::failed, .message = problem});
  return nullptr;
}

void Planner::wait_for(CommandId command, std::set<std::string> apps, std::optional<int> ordinal,
                       std::string done_text) {
  for (const std::string& name : apps) {
    const auto at = world_.apps.find(name);
    if (at == world_.apps.end()) continue;
    for (auto& [number, slot] : at->second.slots) {
      if (!ordinal || *ordinal == number) slot.failures_unready = 0;
    }
  }
  waiters_.push_back(Waiter{.command = command,
                            .apps = std::move(apps),
                            .ordinal = ordinal,
                            .done_text = std::move(done_text),
                            .idle_by = std::nullopt,
                            .verdict = {},
                            .routed_by = std::nullopt});
}

void Planner::dismiss_waiters(const std::string& why) {
  for (const Waiter& waiter : waiters_)
    act(CommandDone{.command = waiter.command, .code = ExitCode::failed, .message = why});
  waiters_.clear();
  for (auto& [name, job] : world_.jobs) {
    for (auto& [ordinal, run] : job.runs) dismiss(run, why);
    if (job.asked) dismiss(*job.asked, why);
  }
}

namespace {
void forgive(Slot& slot) {
  slot.failures = slot.failures_unready = slot.shortages = 0;
  slot.failure_times.clear();
}
}  // namespace

void Planner::on(const StartCommand& event) {
  AppWorld* app = command_app(event.command, event.target);
  if (app == nullptr) return;
  const bool held = std::exchange(app->held, false);
  wake(*app, "started by hand");
  for (int ordinal = 0; ordinal < app->desired(); ++ordinal) {
    Slot& slot = slot_of(*app, ordinal);
    if (event.target.ordinal && *event.target.ordinal != ordinal) {
      slot.held = slot.held || held;  // one replica of a held app: the others stay held one by one
      continue;
    }
    slot.held = false;
    forgive(slot);
    if (slot.phase != Phase::waiting) set_idle(slot, Phase::waiting, "started by hand");
  }
  changed();
  wait_for(event.command, {event.target.app}, event.target.ordinal, "started");
}

void Planner::on(const StopCommand& event) {
  AppWorld* app = command_app(event.command, event.target);
  if (app == nullptr) return;
  if (event.target.ordinal) {
    slot_of(*app, *event.target.ordinal).held = true;
  } else {
    app->held = true;
  }
  changed();
  wait_for(event.command, {event.target.app}, event.target.ordinal, "stopped");
}

void Planner::outdate(AppWorld& app, std::optional<int> ordinal, bool at_once, const std::string& why) {
  try_on(app);
  for (auto& [number, slot] : app.slots) {
    if (ordinal && *ordinal != number) continue;
    forgive(slot);
    if (wanted(app, slot) && slot.phase != Phase::waiting) set_idle(slot, Phase::waiting, why);
    for (Tenant& tenant : slot.tenants) {
      if (tenant.is_leaving()) continue;
      tenant.outdated = true;
      tenant.at_once = tenant.at_once || at_once;
    }
  }
  changed();
}

void Planner::on(const RestartCommand& event) {
  AppWorld* app = command_app(event.command, event.target);
  if (app == nullptr) return;
  if (event.env_file_vars != app->file->env_file_vars) {
    spec::App fresh = *app->file;
    fresh.env_file_vars = event.env_file_vars;
    std::set<std::string> touched;
    adopt_app(fresh, touched);
  }
  const bool held = std::exchange(app->held, false);
  for (int ordinal = 0; ordinal < app->desired(); ++ordinal) {
    Slot& slot = slot_of(*app, ordinal);
    const bool named = !event.target.ordinal || *event.target.ordinal == ordinal;
    slot.held = !named && (slot.held || held);
  }
  // One named replica that cannot have an heir beside it: nothing to take turns with.
  const bool at_once = event.at_once || (event.target.ordinal && app->app->exclusive_slots());
  outdate(*app, event.target.ordinal, at_once, "restarted by hand");
  wait_for(event.command, {event.target.app}, event.target.ordinal, "restarted");
}

void Planner::on(const ScaleCommand& event) {
  AppWorld* app = command_app(event.command, Target{.app = event.app, .ordinal = std::nullopt});
  if (app == nullptr) return;
  if (event.replicas && (*event.replicas < 0 || *event.replicas > limits::replicas_max)) {
    act(CommandDone{.command = event.command,
                    .code = ExitCode::usage,
                    .message = fmt::format("replicas go from 0 to {}", limits::replicas_max)});
    return;
  }
  if (!event.replicas || (!app->app->scale && *event.replicas == app->app->replicas)) {
    app->scale.reset();
    app->asked_for = now_.mono;
  } else {
    app->scale = ScaleHold{.replicas = *event.replicas, .file_replicas = app->app->replicas};
  }
  changed();
  wait_for(event.command, {event.app}, std::nullopt, fmt::format("scaled to {}", app->desired()));
}

void Planner::on(const DrainCommand& event) {
  AppWorld* app = command_app(event.command, event.target);
  if (app == nullptr) return;
  if (!event.target.ordinal) {
    act(CommandDone{.command = event.command,
                    .code = ExitCode::usage,
                    .message = fmt::format("name one replica, such as {}/0", event.target.app)});
    return;
  }
  Slot& slot = slot_of(*app, *event.target.ordinal);
  slot.drained = event.drain;
  note(Severity::info, event.drain ? "drain" : "undrain", slot.replica, std::nullopt,
       event.drain ? "out of rotation by hand" : "back in rotation");
  for (Tenant& tenant : slot.tenants) update_readiness({app, &slot, &tenant});
  changed();
  wait_for(event.command, {event.target.app}, event.target.ordinal,
           event.drain ? "drained" : "back in rotation");
  if (event.drain) waiters_.back().idle_by = now_.mono + app->app->stop.drain;
}

void Planner::on(const PauseCommand& event) {
  AppWorld* app = command_app(event.command, Target{.app = event.app, .ordinal = std::nullopt});
  if (app == nullptr) return;
  if (std::exchange(app->paused, event.pause) != event.pause)
    note_app(Severity::info, event.pause ? "pause" : "resume", event.app,
             event.pause ? "paused by hand: requests wait in the queue" : "requests go on");
  if (!event.pause && app->undone) {
    redo(*app);
    return wait_for(event.command, {event.app}, std::nullopt,
                    "resumed: the file's revision is in force again");
  }
  routes_dirty_ = true;
  changed();
  wait_for(event.command, {}, std::nullopt, event.pause ? "paused" : "resumed");
}

void Planner::on(const CommandAbandoned& event) {
  std::erase_if(waiters_, [&](const Waiter& waiter) { return waiter.command == event.command; });
  for (auto& [name, job] : world_.jobs) {
    for (auto& [ordinal, run] : job.runs) run.commands.erase(event.command);
    if (job.asked) job.asked->commands.erase(event.command);
  }
}

void Planner::on(const FilesChanged& event) {
  const auto at = world_.apps.find(event.app);
  if (at == world_.apps.end() || at->second.removed || world_.shutting_down) return;
  note_app(Severity::info, "watch", event.app, event.path + " changed: restarting");
  outdate(at->second, std::nullopt, false, event.path + " changed");
}

void Planner::on(const ShutdownRequested& event) {
  const bool again = world_.shutting_down;
  if (!again) note_app(Severity::info, "shutdown", "", "stopping everything: " + event.why);
  world_.shutting_down = true;
  dismiss_waiters("the daemon is stopping");
  if ((again || event.at_once) && !world_.at_once) {
    world_.at_once = true;
    note_app(Severity::warning, "shutdown", "", "killing what is left: " + event.why);
    for (auto& [name, app] : world_.apps) {
      for (auto& [ordinal, slot] : app.slots) kill_now(slot, event.why);
    }
    for (auto& [name, job] : world_.jobs) {
      for (auto& [ordinal, slot] : job.task.slots) kill_now(slot, event.why);
    }
  }
}

void Planner::kill_now(Slot& slot, const std::string& why) {
  for (Tenant& tenant : slot.tenants) {
    if (!tenant.exited) tenant.leaving = std::max(tenant.leaving, Leaving::shutdown);
    set_phase(tenant, Phase::stopping, why);
    tenant.step = StopStep::kill;
    tenant.step_due = now_.mono;
  }
}

}  // namespace muster::supervisor
