// One way down, and the one place where a phase changes.
#include <algorithm>
#include <csignal>

#include "base/late.h"
#include "fmt/core.h"
#include "supervisor/planner.h"

namespace muster::supervisor {

namespace {
constexpr Millis kill_again_after{500};  // a tree that forks faster than it is killed is killed again

std::string seconds(Nanos pause) {
  return fmt::format("{:.1f} s", std::chrono::duration<double>(pause).count());
}
}  // namespace

std::optional<Instant> readiness_due(const Tenant& tenant) {
  const bool fit = tenant.phase == Phase::ready || tenant.phase == Phase::draining;
  if (fit || !tenant.started || tenant.is_leaving() || tenant.said_stopping || tenant.frozen_by != 0)
    return std::nullopt;
  const spec::HealthCheck& check = tenant.app->health;
  const Instant start = tenant.started_at + check.start;
  const bool starting = tenant.phase == Phase::starting;
  if (!check.alive_only()) return starting ? std::optional(start) : std::nullopt;
  const Instant alive = tenant.started_at + check.alive_for;
  return starting ? std::min(alive, start) : alive;
}

Millis backoff_pause(const spec::Restart& restart, int failures) {
  if (failures <= 1) return Millis{0};
  Millis pause = restart.backoff;
  const bool grows = pause > Millis{0};
  for (int step = 2; grows && step < failures && pause < restart.max_backoff; ++step) pause *= 2;
  return std::min(pause, restart.max_backoff);
}

void Planner::set_phase(Tenant& tenant, Phase phase, std::string reason) {
  if (tenant.phase != phase) {
    tenant.phase = phase;
    tenant.since = now_.wall;
    routes_dirty_ = true;
  }
  tenant.reason = std::move(reason);
}

void Planner::set_idle(Slot& slot, Phase phase, std::string reason) {
  if (slot.phase != phase || slot.reason != reason) slot.since = now_.wall;
  slot.phase = phase;
  slot.reason = std::move(reason);
  if (phase != Phase::backoff) slot.next_start.reset();
}

void Planner::spawn(AppWorld& app, Slot& slot, const std::string& why) {
  Tenant tenant;
  tenant.id = InstanceId{next_instance_++};
  tenant.replica = slot.replica;
  tenant.revision = app.revision;
  tenant.app = app.app;
  tenant.since = now_.wall;
  tenant.reason = "starting";
  tenant.spawned_at = now_.mono;
  tenant.start_due = now_.mono + limits::start_max;
  tenant.watchdog = app.app->watchdog;
  tenant.ready_verdict = health::Verdict(app.app->health, false);
  if (app.app->live) tenant.live_verdict = health::Verdict(*app.app->live, true);
  const auto not_before = slot.next_start && *slot.next_start > now_.mono ? slot.next_start : std::nullopt;
  set_idle(slot, Phase::waiting, "to be started");  // what it will be when this tenant is gone
  ++slot.starts;
  where_[tenant.id] = slot.replica;
  act(Spawn{.instance = tenant.id,
            .replica = slot.replica,
            .revision = app.revision,
            .app = app.app,
            .replicas = app.desired(),
            .addresses = addresses_for(*app.app),
            .why = why,
            .starts = slot.starts,
            .run = run_memo(app, slot.replica.ordinal),
            .not_before = not_before});
  note(Severity::info, "starting", slot.replica, tenant.id, why);
  slot.tenants.push_back(std::move(tenant));
}

// The only way out of rotation and out of life. A stronger wish replaces a weaker one; the way down never
// restarts.
void Planner::leave(Place place, Leaving leaving, const std::string& why) {
  Tenant& tenant = *place.tenant;
  if (tenant.leaving >= leaving) return;
  const bool first = !tenant.is_leaving();
  tenant.leaving = leaving;
  routes_dirty_ = true;
  if (!first) return;
  note(Severity::info, "stopping", tenant.replica, tenant.id, why);
  if (!tenant.started) {
    // ProcessStarted or SpawnFailed will tell whether there is something to stop; a start that hangs tells nothing.
    set_phase(tenant, Phase::stopping, why);
    tenant.step = StopStep::kill;
    tenant.step_due = now_.mono + (world_.at_once ? Millis{0} : tenant.app->stop.timeout);
    return;
  }
  if (tenant.routed || (tenant.left_in != SnapshotVersion{0} && !tenant.idle)) {
    set_phase(tenant, Phase::draining, why);
    tenant.step = StopStep::drain;
    tenant.step_due = now_.mono + tenant.app->stop.drain;
    return;
  }
  set_phase(tenant, Phase::stopping, why);
  begin_stop(tenant);
}

void Planner::begin_stop(Tenant& tenant) {
  set_phase(tenant, Phase::stopping, tenant.reason);
  if (tenant.hasty) return begin_kill(tenant, tenant.reason);
  if (tenant.app->stop.exec.empty()) return begin_signal(tenant);
  tenant.step = StopStep::command;
  tenant.step_due = now_.mono + tenant.app->stop.timeout;
  act(RunStopCommand{.instance = tenant.id, .why = tenant.reason});
}

void Planner::begin_signal(Tenant& tenant) {
  tenant.step = StopStep::signal;
  tenant.step_due = now_.mono + tenant.app->stop.timeout;
  act(Signal{.instance = tenant.id, .signal = tenant.app->stop.signal, .why = tenant.reason});
  // It hears the signal only once it runs again.
  if (tenant.frozen_by != 0)
    act(Signal{
        .instance = tenant.id, .signal = SIGCONT, .why = "stopped by " + signal_name(tenant.frozen_by)});
}

void Planner::begin_kill(Tenant& tenant, const std::string& why) {
  const bool is_first = tenant.step != StopStep::kill || !tenant.started;
  if (is_first && !tenant.exited) note(Severity::warning, "killing", tenant.replica, tenant.id, why);
  set_phase(tenant, Phase::stopping, why);
  tenant.step = StopStep::kill;
  tenant.step_due = now_.mono + kill_again_after;
  act(KillTree{.instance = tenant.id, .why = why});
}

Nanos Planner::pause_before_start(const spec::Restart& restart, int failures) {
  const Millis pause = backoff_pause(restart, failures);
  std::uniform_real_distribution<double> jitter(0.0, restart.jitter);
  return pause + std::chrono::duration_cast<Nanos>(std::chrono::duration<double>(pause) * jitter(random_));
}

// What an old revision, or a process that has an heir, does at its end says nothing about what comes next.
void Planner::ended_unasked(Place place, const std::string& why, bool clean) {
  const bool heir = std::ranges::any_of(place.slot->tenants, [&](const Tenant& other) {
    return &other != place.tenant && !other.is_leaving() && current(*place.app, other);
  });
  const bool of_old = place.tenant->revision != place.app->revision;
  if (!of_old && !heir) return count_failure(*place.app, *place.slot, why, clean);
  changed();
}

// An end that nobody asked for. `clean`: the main process exited with an ok code.
void Planner::count_failure(AppWorld& app, Slot& slot, const std::string& why, bool clean) {
  const spec::Restart& restart = app.app->restart;
  changed();
  const bool again = restart.policy == spec::RestartPolicy::always ||
                     (restart.policy == spec::RestartPolicy::on_failure && !clean);
  if (!again) {
    if (clean) return set_idle(slot, Phase::completed, why);
    note(Severity::error, "failed", slot.replica, std::nullopt, why + "; its restart policy is never");
    return set_idle(slot, Phase::failed, why);
  }
  ++slot.failures;
  ++slot.failures_unready;
  if (restart.max_restarts) {
    std::erase_if(slot.failure_times,
                  [&](Instant at) { return now_.mono - at > restart.max_restarts->window; });
    slot.failure_times.push_back(now_.mono);
    if (std::ssize(slot.failure_times) > restart.max_restarts->count) {
      const auto text = fmt::format("{}; restarted {} times within {}", why, restart.max_restarts->count,
                                    seconds(restart.max_restarts->window));
      note(Severity::error, "failed", slot.replica, std::nullopt, text);
      return set_idle(slot, Phase::failed, text);
    }
  }
  const Nanos total = pause_before_start(restart, slot.failures);
  set_idle(slot, Phase::backoff, why);
  slot.next_start = now_.mono + total;
  note(Severity::warning, "backoff", slot.replica, std::nullopt,
       total == Nanos{0} ? why + "; starts again at once" : why + "; next start in " + seconds(total));
}

// The start failed for a reason that is not the app's fault: counted nowhere, tried again, said once.
void Planner::not_our_turn(Slot& slot, const std::string& kind, const std::string& why, Nanos pause) {
  if (slot.problem != why) note(Severity::warning, kind, slot.replica, std::nullopt, why);
  slot.problem = why;
  set_idle(slot, Phase::backoff, why);
  slot.next_start = now_.mono + pause;
}

void Planner::tenant_gone(Slot& slot, InstanceId id) {
  std::erase_if(slot.tenants, [id](const Tenant& tenant) { return tenant.id == id; });
  where_.erase(id);
  routes_dirty_ = true;
}

std::string Planner::unready_reason(const Tenant& tenant) const {
  const spec::HealthCheck& check = tenant.app->health;
  if (tenant.frozen_by != 0)
    return fmt::format("stopped by {}: it answers nothing until SIGCONT", signal_name(tenant.frozen_by));
  if (tenant.said_stopping) return "the app says that it is stopping";
  if (check.alive_only()) return "counts as ready once it has run for " + seconds(check.alive_for);
  if (health::probed(check) && !tenant.ready_verdict.healthy())
    return tenant.last_probe ? tenant.last_probe->sentence : "no probe has answered yet";
  if (check.notify && !tenant.notify_ready) return "waits for READY=1 from the app";
  if (check.log && !tenant.log_ready) return "waits for a line of output that matches " + *check.log;
  return "not ready";
}

void Planner::fell_out(Place place, const std::string& why) {
  Tenant& tenant = *place.tenant;
  if (tenant.phase == Phase::ready)
    note(Severity::warning, "unready", tenant.replica, tenant.id, why + "; out of rotation");
  set_phase(tenant, Phase::unready, why);
}

// Readiness is derived from the latches, never set by an event alone.
void Planner::update_readiness(Place place) {
  Tenant& tenant = *place.tenant;
  if (!tenant.started || tenant.is_leaving() || tenant.exited) return;
  const spec::HealthCheck& check = tenant.app->health;
  bool ready = !tenant.said_stopping && tenant.frozen_by == 0;
  const bool young = !tenant.was_ready && now_.mono - tenant.started_at < check.alive_for;
  if (check.alive_only() && young) ready = false;
  if (health::probed(check) && !tenant.ready_verdict.healthy()) ready = false;
  if (check.notify && !tenant.notify_ready) ready = false;
  if (check.log && !tenant.log_ready) ready = false;

  const bool fit = tenant.phase == Phase::ready || tenant.phase == Phase::draining;
  if (!ready) {
    std::string why = unready_reason(tenant);
    if (fit) return fell_out(place, why);
    if (tenant.phase == Phase::starting && now_.mono - tenant.started_at >= check.start) {
      note(Severity::warning, "unready", tenant.replica, tenant.id,
           fmt::format("not ready within {}: {}", seconds(check.start), why));
      return set_phase(tenant, Phase::unready, std::move(why));
    }
    tenant.reason = std::move(why);
    return;
  }
  if (!fit) {
    const auto took = std::chrono::duration_cast<Millis>(now_.mono - tenant.spawned_at);
    if (!place.app->of_job)
      note(Severity::info, "ready", tenant.replica, tenant.id,
           tenant.was_ready ? "ready again" : fmt::format("ready after {} ms", took.count()));
    tenant.was_ready = true;
    tenant.ready_since = now_.mono;
    place.slot->failures_unready = 0;
    if (tenant.app->live && !tenant.live_probing) tenant.next_live = now_.mono + tenant.app->live->every;
  }
  if (place.slot->drained) return set_phase(tenant, Phase::draining, "drained by hand");
  set_phase(tenant, Phase::ready, "");
}

// It hangs: what is in flight will not finish, but no new request may meet the kill.
void Planner::watchdog_missed(Place place) {
  Tenant& tenant = *place.tenant;
  tenant.watchdog_due.reset();
  const auto why = fmt::format("no watchdog ping within {}", seconds(*tenant.watchdog));
  note(Severity::error, "watchdog", tenant.replica, tenant.id, why);
  ended_unasked(place, why, false);
  tenant.hasty = true;
  leave(place, Leaving::unhealthy, why);
}

void Planner::probe_deadlines(Place place) {
  Tenant& tenant = *place.tenant;
  const spec::HealthCheck& check = tenant.app->health;
  if (health::probed(check) && !tenant.probing && now_.mono >= tenant.next_probe) {
    tenant.probing = true;
    act(RunProbe{.instance = tenant.id, .kind = health::ProbeKind::readiness});
  }
  if (tenant.app->live && health::probed(*tenant.app->live) && tenant.was_ready && !tenant.live_probing &&
      now_.mono >= tenant.next_live) {
    tenant.live_probing = true;
    act(RunProbe{.instance = tenant.id, .kind = health::ProbeKind::liveness});
  }
  if (!tenant.watchdog_due || now_.mono < *tenant.watchdog_due) return;
  // A look that comes late: this process was stopped, and the replica perhaps with it. What it pinged is not heard yet.
  if (now_.mono - *tenant.watchdog_due > late_look) {
    tenant.watchdog_due = now_.mono + *tenant.watchdog;
    return;
  }
  watchdog_missed(place);
}

void Planner::start_deadline(Tenant& tenant) {
  if (now_.mono < tenant.start_due) return;
  const std::string why =
      fmt::format("not started within {}: the user database, its folder or its program does not answer",
                  seconds(limits::start_max));
  note(Severity::warning, "start-hangs", tenant.replica, tenant.id, why);
  set_phase(tenant, Phase::starting, why);
  tenant.start_due = now_.mono + kill_again_after;
  act(KillTree{.instance = tenant.id, .why = why});
}

bool Planner::has_left(Tenant& tenant) {
  if (tenant.routed || world_.in_use < tenant.left_in) return false;
  if (!std::exchange(tenant.idle_asked, true)) act(WatchIdle{.instance = tenant.id});
  return true;
}

void Planner::stop_deadlines(Tenant& tenant) {
  if (tenant.step == StopStep::drain) {
    const bool acknowledged = has_left(tenant);
    if (tenant.idle || (tenant.hasty && acknowledged)) return begin_stop(tenant);
    // Without the acknowledgement a worker may still pick it: that wait is bounded by the balancer, not by
    // `drain`.
    if (now_.mono < tenant.step_due || !acknowledged) return;
    note(Severity::warning, "drain", tenant.replica, tenant.id, "requests still in flight after `drain`");
    return begin_stop(tenant);
  }
  if (tenant.step == StopStep::none || now_.mono < tenant.step_due) return;
  switch (tenant.step) {
    case StopStep::command:
      begin_signal(tenant);
      break;
    case StopStep::signal:
      begin_kill(tenant, fmt::format("still running {} after {}", seconds(tenant.app->stop.timeout),
                                     signal_name(tenant.app->stop.signal)));
      break;
    case StopStep::kill:
      begin_kill(tenant, tenant.reason);
      break;
    case StopStep::none:
    case StopStep::drain:
      break;
  }
}

void Planner::deadlines(Place place) {
  Tenant& tenant = *place.tenant;
  if (tenant.is_leaving()) return stop_deadlines(tenant);
  if (!tenant.started) return start_deadline(tenant);
  if (const auto due = readiness_due(tenant); due && now_.mono >= *due) update_readiness(place);
  probe_deadlines(place);
  Slot& slot = *place.slot;
  if (slot.drained && tenant.left_in != SnapshotVersion{0}) static_cast<void>(has_left(tenant));
  if (tenant.phase == Phase::ready && slot.failures > 0 && current(*place.app, tenant) &&
      now_.mono - tenant.ready_since >= tenant.app->restart.reset) {
    slot.failures = 0;
    slot.failure_times.clear();
    changed();
  }
}

}  // namespace muster::supervisor
