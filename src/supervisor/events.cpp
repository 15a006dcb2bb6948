// What was seen: each event is written into the World, and nothing is wished for here.
#include <algorithm>
#include <utility>

#include "fmt/core.h"
#include "supervisor/planner.h"

namespace muster::supervisor {

namespace {
// Our own shortage (fork, descriptors, disk) is no verdict about the app, but asking each second would deepen it.
constexpr spec::Restart shortage{.policy = spec::RestartPolicy::always,
                                 .backoff = Millis{1000},
                                 .max_backoff = Millis{30000},
                                 .max_restarts = std::nullopt,
                                 .ok_codes = {}};

bool clean_exit(const spec::App& app, const ExitStatus& status) {
  return status.code && std::ranges::find(app.restart.ok_codes, *status.code) != app.restart.ok_codes.end();
}
}  // namespace

Planner::Place Planner::find(InstanceId id) {
  const auto at = where_.find(id);
  if (at == where_.end()) return {};
  const auto in = [&](AppWorld& app) -> Place {
    const auto slot = app.slots.find(at->second.ordinal);
    if (slot == app.slots.end()) return {};
    for (Tenant& tenant : slot->second.tenants) {
      if (tenant.id == id) return {&app, &slot->second, &tenant};
    }
    return {};
  };
  const auto app = world_.apps.find(at->second.app);
  const Place found = app == world_.apps.end() ? Place{} : in(app->second);
  const auto job = world_.jobs.find(at->second.app);
  return found || job == world_.jobs.end() ? found : in(job->second.task);
}

void Planner::on(const ProcessStarted& event) {
  const Place place = find(event.instance);
  if (!place || place.tenant->started) return;
  Tenant& tenant = *place.tenant;
  tenant.started = true;
  if (place.app->of_job) world_.jobs.at(tenant.replica.app).ran = true;
  tenant.pid = event.pid;
  tenant.ports = event.ports;
  tenant.socket = event.socket;
  tenant.started_at = now_.mono;
  tenant.started_wall = now_.wall;
  tenant.next_probe = now_.mono + health::start_pause(tenant.app->health, {.starting = starting_ + 1});
  if (tenant.watchdog) tenant.watchdog_due = now_.mono + *tenant.watchdog;
  place.slot->shortages = 0;
  place.slot->problem.clear();
  if (!tenant.is_leaving()) return update_readiness(place);
  // Its end was decided while it was being spawned. Never in a snapshot, it has nothing to drain.
  tenant.step = world_.at_once ? StopStep::kill : StopStep::drain;
  tenant.idle_asked = tenant.idle = true;
  tenant.step_due = now_.mono;
}

void Planner::on(const SpawnFailed& event) {
  const Place place = find(event.instance);
  if (!place) return;
  Slot& slot = *place.slot;
  const bool leaving = place.tenant->is_leaving();
  const bool of_old = place.tenant->revision != place.app->revision;
  if (event.kind == SpawnFailure::exec && !leaving) {
    slot.last_exit = LastExit{.status = {}, .reason = event.sentence, .at = now_.wall};
    note(Severity::error, "spawn-failed", slot.replica, event.instance, event.sentence);
    if (place.app->of_job) {
      try_ended(place, event.sentence, false);
    } else {
      ended_unasked(place, event.sentence, false);
    }
  } else if (leaving && place.app->of_job) {
    try_ended(place, event.sentence, false);
  }
  tenant_gone(slot, event.instance);
  if (event.kind == SpawnFailure::exec || leaving || of_old) return;
  --slot.starts;
  if (place.app->of_job) --world_.jobs.at(slot.replica.app).runs.at(slot.replica.ordinal).tries;
  switch (event.kind) {
    case SpawnFailure::port_busy:
      slot.port_busy = true;
      return not_our_turn(slot, "port-busy", event.sentence, limits::listen_check_every);
    case SpawnFailure::volume_busy:
      return not_our_turn(slot, "volume-busy", event.sentence, limits::listen_check_every);
    case SpawnFailure::volume_lost:
      return not_our_turn(slot, "volume-lost", event.sentence, limits::listen_check_every);
    case SpawnFailure::exec:
    case SpawnFailure::resources:
      ++slot.shortages;
      return not_our_turn(slot, "spawn-failed", event.sentence, backoff_pause(shortage, slot.shortages + 1));
  }
}

void Planner::on(const ProcessExited& event) {
  const Place place = find(event.instance);
  if (!place || place.tenant->exited) return;
  Tenant& tenant = *place.tenant;
  std::string what = describe(event.status);
  // What we did about it is not the cause.
  const bool told_why = tenant.leaving == Leaving::unhealthy || (place.app->of_job && tenant.is_leaving());
  const std::string reason = told_why ? tenant.reason + "; " + what : what;
  place.slot->last_exit = LastExit{.status = event.status, .reason = reason, .at = now_.wall};
  tenant.exited = true;
  if (place.app->of_job) {
    try_ended(place, reason, clean_exit(*place.app->app, event.status));
  } else if (tenant.is_leaving()) {
    note(Severity::info, "exited", tenant.replica, tenant.id, what);
  } else {
    note(Severity::warning, "exited", tenant.replica, tenant.id, what);
    ended_unasked(place, what, clean_exit(*place.app->app, event.status));
    std::optional<Instant>& next_start = place.slot->next_start;
    if (next_start && event.at) *next_start -= std::max(now_.mono - *event.at, Nanos{0});
  }
  tenant.leaving = std::max(tenant.leaving, Leaving::exited);
  set_phase(tenant, Phase::stopping, what);
  // What is left of the tree is killed in this very step, unless TreeGone comes with it.
  tenant.step = StopStep::kill;
  tenant.step_due = now_.mono;
}

// As the kernel would: at once, and counted as a crash. No new request may meet the kill.
void Planner::on(const LimitExceeded& event) {
  const Place place = find(event.instance);
  if (!place || !place.tenant->started || place.tenant->exited) return;
  Tenant& tenant = *place.tenant;
  if (tenant.hasty || tenant.step == StopStep::kill) return;
  const std::string why = "ended by muster: " + excess_text(event.kind, event.used, event.limit);
  note(Severity::error, event.kind == LimitKind::memory ? "oom" : "limit", tenant.replica, tenant.id, why);
  tenant.hasty = true;
  if (tenant.is_leaving()) {
    if (tenant.step == StopStep::command || tenant.step == StopStep::signal) begin_kill(tenant, why);
    return;
  }
  if (!place.app->of_job) ended_unasked(place, why, false);
  leave(place, Leaving::unhealthy, why);
}

void Planner::on(const ProcessFrozen& event) {
  const Place place = find(event.instance);
  if (!place || place.tenant->exited) return;
  Tenant& tenant = *place.tenant;
  tenant.frozen_by = event.signal;
  note(Severity::warning, "frozen", tenant.replica, tenant.id,
       fmt::format("stopped by {} that muster did not send; SIGCONT or `restart {}` ends that",
                   signal_name(event.signal), to_string(tenant.replica)));
  update_readiness(place);
}

void Planner::on(const ProcessThawed& event) {
  const Place place = find(event.instance);
  if (!place || place.tenant->exited || place.tenant->frozen_by == 0) return;
  Tenant& tenant = *place.tenant;
  tenant.frozen_by = 0;
  note(Severity::info, "thawed", tenant.replica, tenant.id, "continued by SIGCONT");
  if (!tenant.probing) tenant.next_probe = now_.mono;
  update_readiness(place);
}

void Planner::on(const TreeGone& event) {
  const Place place = find(event.instance);
  if (!place || !place.tenant->exited) return;
  tenant_gone(*place.slot, event.instance);
  changed();  // that the slot is empty is part of what is saved
}

void Planner::on(const ProbeFinished& event) {
  const Place place = find(event.instance);
  if (!place) return;
  switch (event.kind) {
    case health::ProbeKind::readiness:
      return readiness_probed(place, event.outcome);
    case health::ProbeKind::liveness:
      return liveness_probed(place, event.outcome);
  }
}

Millis Planner::pause_after(const Tenant& tenant, const health::Outcome& outcome) const {
  if (tenant.was_ready) return tenant.app->health.every;
  return health::start_pause(tenant.app->health, {.running_for = now_.mono - tenant.started_at,
                                                  .refused = outcome.code == health::ProbeCode::refused,
                                                  .starting = starting_});
}

void Planner::readiness_probed(Place place, const health::Outcome& outcome) {
  Tenant& tenant = *place.tenant;
  tenant.probing = false;
  if (std::exchange(tenant.stale_probe, false)) return;  // asked under other rules; the next is due now
  tenant.next_probe = now_.mono + pause_after(tenant, outcome);
  if (!health::outcome_row(outcome.code).counts) return;
  tenant.last_probe = outcome;
  tenant.ready_verdict.record(outcome.healthy());
  if (outcome.healthy() && outcome.address && tenant.address != *outcome.address) {
    tenant.address = *outcome.address;
    routes_dirty_ = true;
  }
  const std::string warning = outcome.code == health::ProbeCode::ok_wide ? outcome.sentence : "";
  if (!warning.empty() && warning != tenant.warning)
    note(Severity::warning, "listens-wide", tenant.replica, tenant.id, warning);
  if (outcome.healthy()) tenant.warning = warning;
  update_readiness(place);
}

void Planner::liveness_probed(Place place, const health::Outcome& outcome) {
  Tenant& tenant = *place.tenant;
  tenant.live_probing = false;
  if (!tenant.app->live) return;
  tenant.next_live = now_.mono + tenant.app->live->every;
  if (!health::outcome_row(outcome.code).counts) return;
  tenant.last_live = outcome;
  if (tenant.live_verdict.record(outcome.healthy()) == health::Verdict::Change::fell)
    note(Severity::error, "liveness", tenant.replica, tenant.id, outcome.sentence);
}

void Planner::on(const Notified& event) {
  const Place place = find(event.instance);
  if (!place) return;
  Tenant& tenant = *place.tenant;
  if (event.status) tenant.status_text = *event.status;
  if (event.ready) tenant.notify_ready = true;
  if (event.stopping) tenant.said_stopping = true;
  if (event.ready && !event.stopping) tenant.said_stopping = false;
  if (event.watchdog && tenant.watchdog && !tenant.is_leaving())
    tenant.watchdog_due = now_.mono + *tenant.watchdog;
  if (event.watchdog_trigger && tenant.watchdog && !tenant.is_leaving()) tenant.watchdog_due = now_.mono;
  const bool timed = tenant.step == StopStep::signal || tenant.step == StopStep::command;
  if (event.extend_timeout && timed)
    tenant.step_due = std::max(tenant.step_due, now_.mono + *event.extend_timeout);
  update_readiness(place);
}

void Planner::on(const LogMatched& event) {
  const Place place = find(event.instance);
  if (!place || event.kind != health::ProbeKind::readiness) return;
  place.tenant->log_ready = true;
  update_readiness(place);
}

void Planner::on(const StopCommandDone& event) {
  const Place place = find(event.instance);
  if (!place || place.tenant->step != StopStep::command) return;
  if (!event.sentence.empty())
    note(Severity::warning, "stop-command", place.tenant->replica, place.tenant->id, event.sentence);
  place.tenant->step_due = now_.mono;  // the signal follows when all that happened has been heard
}

void Planner::on(const SnapshotInUse& event) {
  world_.in_use = std::max(world_.in_use, event.version);
}

void Planner::on(const EndpointIdle& event) {
  const Place place = find(event.instance);
  if (place && place.tenant->idle_asked) place.tenant->idle = true;
}

}  // namespace muster::supervisor
