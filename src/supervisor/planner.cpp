#include "supervisor/planner.h"

#include <variant>

#include "supervisor/takeover.h"

namespace muster::supervisor {

Planner::Planner(PlannerOptions options)
    : options_(std::move(options)),
      restored_(with_living(options_.restored, options_.living.value_or(std::vector<LivingProcess>()))),
      living_(options_.living.value_or(std::vector<LivingProcess>())),
      random_(options_.seed),
      next_instance_(raw(options_.first_instance)) {}

std::vector<Action> Planner::step(std::span<const Event> events, Now now) {
  now_ = now;
  follow_clock();
  actions_.clear();
  addresses_.clear();
  for (const Event& event : events) {
    std::visit([this](const auto& happened) { on(happened); }, event);
  }
  for (auto& [name, app] : world_.apps) {
    for (auto& [ordinal, slot] : app.slots) {
      for (Tenant& tenant : slot.tenants) deadlines({&app, &slot, &tenant});
    }
  }
  for (auto& [name, job] : world_.jobs) {
    for (auto& [ordinal, slot] : job.task.slots) {
      for (Tenant& tenant : slot.tenants) deadlines({&job.task, &slot, &tenant});
    }
  }
  for (auto& [name, app] : world_.apps) {
    if (app.rollout && !app.removed && !world_.shutting_down) follow_rollout(app);
  }
  reconcile();
  for (auto& [name, app] : world_.apps) mark_tenants(app);
  for (auto& [name, job] : world_.jobs) mark_tenants(job.task);
  publish_if_changed();
  if (std::exchange(save_, false)) act(SaveState{});  // before anybody is answered
  settle_commands();
  if (std::exchange(save_, false)) act(SaveState{});
  finish_daemon();
  compute_wakeup();
  return std::exchange(actions_, {});
}

void Planner::note(Severity severity, std::string kind, const ReplicaId& replica,
                   std::optional<InstanceId> instance, std::string text) {
  act(Note{.severity = severity,
           .kind = std::move(kind),
           .app = replica.app,
           .ordinal = replica.ordinal,
           .instance = instance,
           .text = std::move(text)});
}

void Planner::note_app(Severity severity, std::string kind, const std::string& app, std::string text) {
  act(Note{.severity = severity,
           .kind = std::move(kind),
           .app = app,
           .ordinal = std::nullopt,
           .instance = std::nullopt,
           .text = std::move(text)});
}

namespace {
PersistentSlot memo_of(const Slot& slot) {
  const bool empty = slot.tenants.empty();
  PersistentSlot memo{.starts = slot.starts,
                      .last_exit = slot.last_exit,
                      .completed = empty && slot.phase == Phase::completed,
                      .failed = empty && slot.phase == Phase::failed};
  if (memo.completed || memo.failed) memo.reason = slot.reason;
  return memo;
}
}  // namespace

PersistentState Planner::persistent() const {
  PersistentState state;
  for (const auto& [name, app] : world_.apps) {
    if (app.removed) continue;
    PersistentApp& saved = state.apps[name];
    saved.revision = raw(app.revision);
    saved.revision_hash = fingerprint(app.revision_text);
    saved.file_revision = raw(app.file_revision);
    saved.undone = app.undone;
    saved.history = app.history;
    saved.held = app.held;
    saved.paused = app.paused;
    saved.scale = app.scale;
    saved.autoscaled = app.autoscaled;
    saved.gate_open = app.gate_open;
    for (const auto& [ordinal, slot] : app.slots) {
      if (slot.held) saved.held_ordinals.insert(ordinal);
      if (slot.drained) saved.drained_ordinals.insert(ordinal);
      if (slot.failures > 0) saved.failures[ordinal] = slot.failures;
      if (slot.starts > 0) saved.slots[ordinal] = memo_of(slot);
    }
  }
  for (const auto& [name, job] : world_.jobs) {
    if (job.task.removed) continue;
    PersistentJob& saved = state.jobs[name];
    if (job.job->schedule) saved.schedule = job.job->schedule->text;
    saved.timezone = job.job->timezone;
    saved.next = job.next;
    saved.last = job.last;
    saved.met = job.met;
    saved.ran = job.ran;
    saved.ended_ok = job.ended_ok;
  }
  return state;
}

}  // namespace muster::supervisor
