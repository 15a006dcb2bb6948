// When a command is over, when the daemon is, and when the next look is due.
#include <algorithm>

#include "fmt/core.h"
#include "supervisor/planner.h"

namespace muster::supervisor {

namespace {
constexpr int crash_loop_exits = 3;  // ends in a row without readiness that make a waiting command give up

struct Verdict {
  enum class State { pending, settled, failed } state = State::settled;
  std::string reason;
};

std::string text_of(const Slot& slot, const std::string& reason) {
  return fmt::format("{}: {}", to_string(slot.replica), reason);
}

Verdict judge(const World& world, const AppWorld& app, const Slot& slot, Instant now) {
  using enum Verdict::State;
  const bool wanted = !app.removed && !app.held && !slot.held && slot.replica.ordinal < app.desired();
  if (!wanted) return {slot.tenants.empty() ? settled : pending, ""};
  if (slot.failures_unready >= crash_loop_exits) {
    const std::string why = slot.last_exit ? slot.last_exit->reason : slot.reason;
    return {failed, text_of(slot, fmt::format("{}, {} times in a row", why, slot.failures_unready))};
  }
  bool alive = false;
  bool on_its_way = slot.tenants.empty();
  for (const Tenant& tenant : slot.tenants) {
    if (tenant.is_leaving() || tenant.outdated || tenant.revision != app.revision) {
      on_its_way = true;
      continue;
    }
    alive = true;
    if (tenant.phase == Phase::unready && !tenant.was_ready) return {failed, text_of(slot, tenant.reason)};
    const bool out = slot.drained && tenant.was_ready && world.in_use >= tenant.left_in;
    if (tenant.phase != Phase::ready && !out) on_its_way = true;
    if (now < tenant.ready_since + app.app->update.min_ready) on_its_way = true;
  }
  if (alive) return {on_its_way ? pending : settled, ""};
  if (slot.phase == Phase::failed) return {failed, text_of(slot, slot.reason)};
  return {slot.phase == Phase::completed && slot.tenants.empty() ? settled : pending, ""};
}

// As far as it was asked: see Planner::has_left().
bool has_requests(const Slot& slot) {
  return slot.drained && std::ranges::any_of(slot.tenants, [](const Tenant& tenant) {
           return tenant.left_in != SnapshotVersion{0} && !tenant.idle;
         });
}
}  // namespace

Planner::Progress Planner::progress(const Waiter& waiter) const {
  Progress progress;
  bool its_turn = true;  // false: the one named replica is old and waits for the others
  std::string others;
  const auto look_at = [&](const AppWorld& app, int ordinal, const Slot& slot) {
    const Verdict verdict = judge(world_, app, slot, now_.mono);
    if (waiter.ordinal && *waiter.ordinal != ordinal) {
      if (slot.phase == Phase::failed && others.empty()) others = verdict.reason;
      return;
    }
    if (waiter.ordinal && slot.tenants.size() == 1 && !slot.tenants.front().is_leaving())
      its_turn = current(app, slot.tenants.front());
    if (verdict.state == Verdict::State::pending) progress.pending = true;
    if (waiter.idle_by && has_requests(slot)) progress.busy = true;
    if (verdict.state == Verdict::State::failed && progress.failure.empty())
      progress.failure = verdict.reason;
  };
  for (const std::string& name : waiter.apps) {
    const auto at = world_.apps.find(name);
    if (at == world_.apps.end()) continue;
    for (const auto& [ordinal, slot] : at->second.slots) look_at(at->second, ordinal, slot);
    if (!at->second.before || at->second.removed) continue;
    progress.pending = true;
    if (progress.failure.empty() && !at->second.before->failure.empty())
      progress.failure = fmt::format("{}: {}", name, at->second.before->failure);
  }
  for (const std::string& name : waiter.apps) {
    const auto at = world_.apps.find(name);
    if (at != world_.apps.end() && progress.pending && is_stuck(at->second) && !at->second.before &&
        progress.failure.empty())
      progress.failure = fmt::format("{}: {}", name, failure_text(at->second));
  }
  // A failed one holds the rollout for good.
  if (progress.pending && !its_turn && progress.failure.empty()) progress.failure = others;
  return progress;
}

void Planner::settle_commands() {
  std::erase_if(waiters_, [&](Waiter& waiter) {
    auto [pending, busy, failure] = progress(waiter);
    CommandDone done{.command = waiter.command, .code = ExitCode::failed, .message = std::move(failure)};
    if (done.message.empty()) {
      if (pending || (busy && now_.mono < *waiter.idle_by)) return false;
      // What was asked for must hold for the next request, too.
      if (!waiter.routed_by) waiter.routed_by = world_.published;
      if (world_.in_use < *waiter.routed_by) return false;
      done.message = waiter.verdict;
    }
    if (done.message.empty()) {
      done.code = busy ? ExitCode::timed_out : ExitCode::ok;
      done.message = busy ? "out of rotation; requests are still in flight after `drain`" : waiter.done_text;
    }
    act(std::move(done));
    return true;
  });
}

void Planner::finish_daemon() {
  if (ended_) return;
  bool busy = false;
  bool failed = false;
  bool unfinished = false;
  bool any = false;
  for (const auto& [name, app] : world_.apps) {
    for (const auto& [ordinal, slot] : app.slots) {
      any = true;
      if (!slot.tenants.empty()) busy = true;
      if (slot.phase == Phase::failed) failed = true;
      if (slot.phase != Phase::failed && slot.phase != Phase::completed) unfinished = true;
    }
  }
  for (const auto& [name, job] : world_.jobs) {
    any = true;
    if (job.next || job.asked || !job.runs.empty()) unfinished = true;
    if (job.ended_ok && !*job.ended_ok) failed = true;
  }
  if (busy || jobs_busy()) return;
  if (world_.shutting_down) {
    ended_ = true;
    return act(ExitDaemon{.code = 0, .why = "everything has stopped"});
  }
  if (options_.mode != RunMode::up || !any || unfinished) return;
  ended_ = true;
  dismiss_waiters("the daemon has ended: every app is completed or failed");
  act(ExitDaemon{.code = failed ? 1 : 0,
                 .why = failed ? "every app is completed or failed" : "every app is completed"});
}

namespace {
// A drain that is over but not acknowledged waits for the event, not for the clock.
bool waits_for_its_step(const Tenant& tenant, Instant now) {
  if (tenant.step == StopStep::drain && now >= tenant.step_due) return false;
  return tenant.step != StopStep::none;
}

bool is_to_be_probed_alive(const Tenant& tenant) {
  return tenant.app->live && health::probed(*tenant.app->live) && tenant.was_ready && !tenant.live_probing;
}

bool starts_later(const Slot& slot, Instant now) {
  return slot.phase == Phase::backoff && slot.next_start && *slot.next_start > now + start_lead;
}
}  // namespace

void Planner::wake_by(Instant at) {
  if (!wakeup_ || at < *wakeup_) wakeup_ = at;
}

void Planner::wake_for(const AppWorld& app, const Slot& slot, const Tenant& tenant, bool awaited) {
  if (!tenant.started && !tenant.is_leaving()) return wake_by(tenant.start_due);
  if (tenant.is_leaving()) {
    if (waits_for_its_step(tenant, now_.mono)) wake_by(tenant.step_due);
    return;
  }
  if (const auto at = readiness_due(tenant)) wake_by(*at);
  if (const auto at = awaited ? available_at(app, tenant) : std::nullopt) wake_by(*at);
  const bool probed = health::probed(tenant.app->health);
  if (probed && !tenant.was_ready) ++starting_;
  if (probed && !tenant.probing) wake_by(tenant.next_probe);
  if (is_to_be_probed_alive(tenant)) wake_by(tenant.next_live);
  if (tenant.watchdog_due) wake_by(*tenant.watchdog_due);
  if (tenant.phase == Phase::ready && slot.failures > 0 && current(app, tenant))
    wake_by(tenant.ready_since + tenant.app->restart.reset);
}

void Planner::compute_wakeup() {
  wakeup_.reset();
  starting_ = 0;
  for (const auto& [name, app] : world_.apps) {
    const bool awaited = app.rollout || is_rolling(app) ||
                         std::ranges::any_of(waiters_, [&, &app_name = name](const Waiter& waiter) {
                           return waiter.apps.contains(app_name);
                         });
    if (app.rollout && app.rollout->due && *app.rollout->due > now_.mono) wake_by(*app.rollout->due);
    for (const auto& [ordinal, slot] : app.slots) {
      if (starts_later(slot, now_.mono) && wanted(app, slot)) wake_by(*slot.next_start - start_lead);
      for (const Tenant& tenant : slot.tenants) wake_for(app, slot, tenant, awaited);
    }
  }
  for (const Waiter& waiter : waiters_) {
    if (waiter.idle_by && *waiter.idle_by > now_.mono) wake_by(*waiter.idle_by);
  }
  for (const auto& [name, job] : world_.jobs) {
    if (const auto at = job_wakeup(job)) wake_by(*at);
    for (const auto& [ordinal, slot] : job.task.slots) {
      for (const Tenant& tenant : slot.tenants) wake_for(job.task, slot, tenant, false);
    }
  }
}

}  // namespace muster::supervisor
