// One way down, and the one place where a phase changes.
#include <algorithm>

#include "fmt/core.h"
#include "supervisor/planner.h"

namespace muster::supervisor {

namespace {
constexpr Millis kill_again_after{500};  // a tree that forks faster than it is killed is killed again

std::string seconds(Nanos pause) {
  return fmt::format("{:.1f} s", std::chrono::duration<double>(pause).count());
}
}  // namespace

Millis backoff_pause(const spec::Restart& restart, int failures) {
  if (failures <= 1) return Millis{0};
  Millis pause = restart.backoff;
  for (int step = 2; step < failures && pause < restart.max_backoff; ++step) pause *= 2;
  return std::min(pause, restart.max_backoff);
}

void Planner::set_phase(Tenant& tenant, Phase phase, std::string reason) {
  if (tenant.phase != phase) {
    tenant.phase = phase;
    tenant.since = now_.wall;
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
  tenant.ready_verdict = health::Verdict(app.app->health, false);
  if (app.app->live) tenant.live_verdict = health::Verdict(*app.app->live, true);
  slot.next_start.reset();
  ++slot.starts;
  where_[tenant.id] = slot.replica;
  act(Spawn{.instance = tenant.id,
            .replica = slot.replica,
            .revision = app.revision,
            .app = app.app,
            .replicas = app.desired(),
            .addresses = addresses_for(*app.app),
            .why = why});
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
  if (!first) return;
  note(Severity::info, "stopping", tenant.replica, tenant.id, why);
  if (!tenant.started) {
    set_phase(tenant, Phase::stopping, why);
    return;  // ProcessStarted or SpawnFailed will tell whether there is something to stop
  }
  if (tenant.routed || (tenant.left_in != SnapshotVersion{0} && !tenant.idle)) {
    set_phase(tenant, Phase::draining, why);
    tenant.step = StopStep::drain;
    tenant.step_due = now_.mono + tenant.app->stop.drain;
    return;
  }
  begin_stop(tenant);
}

void Planner::begin_stop(Tenant& tenant) {
  set_phase(tenant, Phase::stopping, tenant.reason.empty() ? "stopping" : tenant.reason);
  if (tenant.app->stop.exec.empty()) return begin_signal(tenant);
  tenant.step = StopStep::command;
  tenant.step_due = now_.mono + tenant.app->stop.timeout;
  act(RunStopCommand{.instance = tenant.id, .why = tenant.reason});
}

void Planner::begin_signal(Tenant& tenant) {
  tenant.step = StopStep::signal;
  tenant.step_due = now_.mono + tenant.app->stop.timeout;
  act(Signal{.instance = tenant.id, .signal = tenant.app->stop.signal, .why = tenant.reason});
}

void Planner::begin_kill(Tenant& tenant, const std::string& why) {
  set_phase(tenant, Phase::stopping, why);
  tenant.step = StopStep::kill;
  tenant.step_due = now_.mono + kill_again_after;
  act(KillTree{.instance = tenant.id, .why = why});
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
  const Millis pause = backoff_pause(restart, slot.failures);
  std::uniform_real_distribution<double> jitter(0.0, restart.jitter);
  const Nanos total =
      pause + std::chrono::duration_cast<Nanos>(std::chrono::duration<double>(pause) * jitter(random_));
  set_idle(slot, Phase::backoff, why);
  slot.next_start = now_.mono + total;
  note(Severity::warning, "backoff", slot.replica, std::nullopt,
       total == Nanos{0} ? why + "; starts again at once" : why + "; next start in " + seconds(total));
}

void Planner::tenant_gone(AppWorld& app, Slot& slot, InstanceId id) {
  std::erase_if(slot.tenants, [id](const Tenant& tenant) { return tenant.id == id; });
  where_.erase(id);
  if (slot.tenants.empty() && slot.phase == Phase::waiting) set_idle(slot, Phase::waiting, "to be started");
  static_cast<void>(app);
}

// Readiness is derived from the latches, never set by an event alone.
void Planner::update_readiness(Place place) {
  Tenant& tenant = *place.tenant;
  if (!tenant.started || tenant.is_leaving() || tenant.exited) return;
  const spec::HealthCheck& health = tenant.app->health;
  const bool probed = health.tcp || health.http || !health.cmd.empty();
  bool ready = true;
  if (health.alive_only()) ready = now_.mono - tenant.started_at >= health.alive_for;
  if (probed && !tenant.ready_verdict.healthy()) ready = false;
  if (health.notify && !tenant.notify_ready) ready = false;
  if (health.log && !tenant.log_ready) ready = false;

  if (ready && tenant.phase != Phase::ready && tenant.phase != Phase::draining) {
    const auto took = std::chrono::duration_cast<Millis>(now_.mono - tenant.spawned_at);
    note(Severity::info, "ready", tenant.replica, tenant.id,
         tenant.was_ready ? "ready again" : fmt::format("ready after {} ms", took.count()));
    tenant.was_ready = true;
    tenant.ready_since = now_.mono;
    place.slot->failures_unready = 0;
    if (tenant.app->live && !tenant.live_probing) tenant.next_live = now_.mono + tenant.app->live->every;
    set_phase(tenant, Phase::ready, "");
  } else if (!ready && (tenant.phase == Phase::ready || tenant.phase == Phase::draining) &&
             tenant.was_ready) {
    const std::string why = tenant.last_probe ? tenant.last_probe->sentence : "not ready";
    if (tenant.phase == Phase::ready)
      note(Severity::warning, "unready", tenant.replica, tenant.id, why + "; out of rotation");
    set_phase(tenant, Phase::unready, why);
  } else if (!ready && tenant.phase == Phase::starting) {
    std::string why = "no probe has answered yet";
    if (health.alive_only())
      why = "counts as ready once it has run for " + seconds(health.alive_for);
    else if (probed && !tenant.ready_verdict.healthy() && tenant.last_probe)
      why = tenant.last_probe->sentence;
    else if (health.notify && !tenant.notify_ready)
      why = "waits for READY=1 from the app";
    else if (health.log && !tenant.log_ready)
      why = "waits for a line of output that matches " + *health.log;
    if (!tenant.was_ready && now_.mono - tenant.started_at >= health.start) {
      note(Severity::warning, "unready", tenant.replica, tenant.id,
           fmt::format("not ready within {}: {}", seconds(health.start), why));
      set_phase(tenant, Phase::unready, why);
    } else {
      tenant.reason = why;
    }
  } else if (!ready && tenant.phase == Phase::unready && tenant.last_probe && probed) {
    tenant.reason = tenant.last_probe->sentence;
  }
  if (tenant.phase == Phase::ready && place.slot->drained)
    set_phase(tenant, Phase::draining, "drained by hand");
  if (tenant.phase == Phase::draining && !place.slot->drained) set_phase(tenant, Phase::ready, "");
}

void Planner::probe_deadlines(Place place) {
  Tenant& tenant = *place.tenant;
  const spec::HealthCheck& health = tenant.app->health;
  const bool probed = health.tcp || health.http || !health.cmd.empty();
  if (probed && !tenant.probing && now_.mono >= tenant.next_probe) {
    tenant.probing = true;
    act(RunProbe{.instance = tenant.id, .kind = health::ProbeKind::readiness});
  }
  if (tenant.app->live && tenant.was_ready && !tenant.live_probing && now_.mono >= tenant.next_live) {
    tenant.live_probing = true;
    act(RunProbe{.instance = tenant.id, .kind = health::ProbeKind::liveness});
  }
  if (tenant.watchdog_due && now_.mono >= *tenant.watchdog_due) {
    tenant.watchdog_due.reset();
    const auto why = fmt::format("no watchdog ping within {}", seconds(*tenant.app->watchdog));
    note(Severity::error, "watchdog", tenant.replica, tenant.id, why);
    count_failure(*place.app, *place.slot, why, false);
    leave(place, Leaving::unhealthy, why);
    begin_kill(tenant, why);
  }
}

void Planner::stop_deadlines(Tenant& tenant) {
  if (tenant.step == StopStep::drain) {
    const bool acknowledged = !tenant.routed && world_.in_use >= tenant.left_in;
    if (acknowledged && !tenant.idle_asked) {
      tenant.idle_asked = true;
      act(WatchIdle{.instance = tenant.id});
    }
    if (tenant.idle) return begin_stop(tenant);
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
  if (!tenant.started) return;
  if (tenant.is_leaving()) return stop_deadlines(tenant);
  update_readiness(place);
  probe_deadlines(place);
  Slot& slot = *place.slot;
  if (tenant.phase == Phase::ready && slot.failures > 0 &&
      now_.mono - tenant.ready_since >= tenant.app->restart.reset) {
    slot.failures = 0;
    slot.failure_times.clear();
    changed();
  }
}

}  // namespace muster::supervisor
