#include "sim/invariants.h"

#include <algorithm>

#include "fmt/core.h"
#include "sim/true_spec.h"

namespace muster::sim {

namespace {
constexpr int tenants_per_slot_max = 3;

std::string label(const Tenant& tenant) {
  return fmt::format("{} (instance {})", to_string(tenant.replica), raw(tenant.id));
}
}  // namespace

Watcher Invariants::watcher() {
  return Watcher{.before_step = [this](const std::vector<Event>& events) { before_step(events); },
                 .on_spawn = [this](const Spawn& spawn) { starts_.on_spawn(spawn); },
                 .after_step = [this](const std::vector<Action>& actions) { after_step(actions); },
                 .on_restart = [this] { on_restart(); }};
}

void Invariants::before_step(const std::vector<Event>& events) {
  starts_.before_step(events);
  holds_.before_step(events);
  rollouts_.before_step(events);
}

void Invariants::on_restart() {
  starts_.on_restart();
  holds_.on_restart();
  rollouts_.on_restart();
  leaving_.clear();
}

void Invariants::check_tenant(const Tenant& tenant) {
  if (tenant.phase == Phase::ready) {
    const auto at = host_.all().find(tenant.id);
    const bool lives =
        tenant.started && at != host_.all().end() && !at->second.exit_told &&
        (at->second.state == Process::State::running || at->second.state == Process::State::exited);
    if (!lives) host_.violate(label(tenant) + " is ready and has no process");
  } else if (tenant.reason.empty()) {
    host_.violate(fmt::format("{} is {} without a reason", label(tenant), to_string(tenant.phase)));
  }
  if (!tenant.is_leaving()) {
    // Also after an edit, and whoever has started it.
    const auto process = host_.all().find(tenant.id);
    const bool runs = process != host_.all().end() && process->second.state == Process::State::running;
    if (runs && !process->second.bounds.same_whole(tenant.app->limits))
      host_.violate(label(tenant) + " has other limits than its app");
    return;
  }
  const auto [at, added] = leaving_.try_emplace(
      tenant.id, Departure{.since = host_.now(), .drain = tenant.app->stop.drain, .hasty = false});
  at->second.hasty = tenant.hasty || host_.world().at_once;
}

void Invariants::check_app(const std::string& name, const AppWorld& app) {
  for (const auto& [ordinal, slot] : app.slots) {
    if (slot.replica.app != name || slot.replica.ordinal != ordinal)
      return host_.violate(
          fmt::format("the slot {} of {} calls itself {}", ordinal, name, to_string(slot.replica)));
    if (std::ssize(slot.tenants) > tenants_per_slot_max)
      return host_.violate(to_string(slot.replica) + " has too many tenants");
    if (slot.tenants.empty() && slot.reason.empty() && slot.phase != Phase::completed)
      return host_.violate(
          fmt::format("{} is {} without a reason", to_string(slot.replica), to_string(slot.phase)));
    for (const Tenant& tenant : slot.tenants) check_tenant(tenant);
  }
}

// In-flight requests finish, or `drain` is over.
void Invariants::check_signal(InstanceId id) {
  const auto process = host_.all().find(id);
  if (process == host_.all().end() || process->second.state != Process::State::running) return;
  const auto leaving = leaving_.find(id);
  if (leaving == leaving_.end())
    return host_.violate("a signal to " + to_string(process->second.replica) + ", which stays");
  const Departure& departure = leaving->second;
  if (departure.hasty || !process->second.busy || host_.now() >= departure.since + departure.drain) return;
  host_.violate("a signal to " + to_string(process->second.replica) + " while requests are in flight");
}

void Invariants::after_step(const std::vector<Action>& actions) {
  for (const auto& [name, app] : host_.world().apps) check_app(name, app);
  for (const auto& [name, job] : host_.world().jobs) check_app(name, job.task);
  for (const Action& action : actions) {
    if (const auto* signal = std::get_if<Signal>(&action)) check_signal(signal->instance);
    if (const auto* command = std::get_if<RunStopCommand>(&action)) check_signal(command->instance);
  }
  check_jobs();
  starts_.after_step();
  holds_.after_step();
  rollouts_.after_step();
  const auto wakeup = host_.planner().next_wakeup();
  if (wakeup && *wakeup <= host_.now()) host_.violate("the next wake-up is not after now");
}

std::string Invariants::unfinished(const AppWorld& app, const Slot& slot) const {
  const std::string where = to_string(slot.replica) + " ";
  if (!wanted_by_hand_and_file(app, slot)) {
    if (!slot.tenants.empty()) return where + "is not wanted and has a process";
    return slot.phase != Phase::stopped ? where + "is not wanted and not stopped" : "";
  }
  const bool ended = slot.phase == Phase::completed || slot.phase == Phase::failed;
  if (slot.tenants.empty()) {
    if (ended || (slot.phase == Phase::waiting && !app.gate_open)) return "";
    return fmt::format("{}is {}: {}", where, to_string(slot.phase), slot.reason);
  }
  const bool has_old = std::ranges::any_of(slot.tenants, [&](const Tenant& tenant) {
    return !tenant.is_leaving() && (tenant.outdated || tenant.revision != app.revision);
  });
  if (is_stuck(app) && has_old) {  // as it was when it failed; what is sick gets well
    const bool sick = std::ranges::any_of(slot.tenants, [](const Tenant& tenant) {
      return !tenant.is_leaving() && (tenant.phase == Phase::starting || tenant.phase == Phase::unready);
    });
    return sick ? where + "has a process that is not ready" : "";
  }
  if (slot.tenants.size() > 1) return where + "has more than one process";
  if (slot.phase == Phase::backoff) return where + "is to be tried again";
  const Tenant& tenant = slot.tenants.front();
  if (host_.now() < tenant.ready_since + app.app->update.min_ready) return where + "does not count yet";
  // A failed replica of the new revision leaves the old processes in place.
  const bool kept =
      std::ranges::any_of(app.slots, [](const auto& entry) { return entry.second.phase == Phase::failed; });
  if (!kept && (tenant.revision != app.revision || tenant.outdated)) return where + "is old";
  if (tenant.phase != (slot.drained ? Phase::draining : Phase::ready))
    return fmt::format("{}is {}: {}", where, to_string(tenant.phase), tenant.reason);
  return "";
}

std::string Invariants::unfinished(const AppWorld& app) const {
  if (app.removed) return app.app->name + " was removed and is still there";
  if (std::ssize(app.slots) < app.desired()) return app.app->name + " lacks slots";
  // Each ends by success or by its deadline.
  if (app.rollout && app.rollout->due) return app.app->name + " has a rollout under way";
  for (const auto& [ordinal, slot] : app.slots) {
    if (std::string why = unfinished(app, slot); !why.empty()) return why;
  }
  return "";
}

std::string Invariants::unfinished_routes() const {
  const World& world = host_.world();
  if (world.in_use != world.published) return "the newest snapshot is not in use";
  for (const spec::Listener& listener : world.spec->listeners) {
    const auto at = world.apps.find(listener.app);
    if (at == world.apps.end()) continue;
    std::vector<InstanceId> ready;
    for (const auto& [ordinal, slot] : at->second.slots) {
      for (const Tenant& tenant : slot.tenants) {
        if (tenant.phase == Phase::ready && tenant.main_port()) ready.push_back(tenant.id);
      }
    }
    if (ready != host_.routed(listener.app))
      return "the routes to " + listener.app + " are not the ready replicas";
  }
  return "";
}

std::string Invariants::unfinished() const {
  const World& world = host_.world();
  if (!world.spec) return "no spec";
  for (const spec::App& app : world.spec->apps) {
    const auto at = world.apps.find(app.name);
    if (at == world.apps.end() || at->second.removed) return app.name + " is missing";
  }
  if (std::string why = unfinished_jobs(); !why.empty()) return why;
  bool waiting =
      std::ranges::any_of(world.jobs, [](const auto& job) { return job.second.asked.has_value(); });
  for (const auto& [name, app] : world.apps) {
    if (std::string why = unfinished(app); !why.empty()) return why;
    if (waits_for_jobs(app)) waiting = true;
    if (!app.gate_open && app.desired() > 0) waiting = true;
  }
  for (const auto& [id, process] : host_.all()) {
    if (process.state != Process::State::running) return to_string(process.replica) + " is not gone";
  }
  if (std::string why = unfinished_routes(); !why.empty()) return why;
  if (!waiting && !host_.unanswered().empty())
    return fmt::format("command {} has no answer", raw(*host_.unanswered().begin()));
  return "";
}

}  // namespace muster::sim
