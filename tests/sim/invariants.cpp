#include "sim/invariants.h"

#include <algorithm>

#include "fmt/core.h"
#include "sim/sim_host.h"

namespace muster::sim {

namespace {
constexpr int tenants_per_slot_max = 3;
constexpr int starts_per_minute_max =
    16;  // of one ordinal: 0, 1, 2, 4 … and the first one, with short backoffs
constexpr int starts_per_excuse = 4;

bool fit(const Tenant& tenant) {
  return !tenant.is_leaving() && (tenant.phase == Phase::ready || tenant.phase == Phase::draining);
}
std::string label(const Tenant& tenant) {
  return fmt::format("{} (instance {})", to_string(tenant.replica), raw(tenant.id));
}
bool wanted_by_hand_and_file(const AppWorld& app, const Slot& slot) {
  return !app.removed && !app.held && !slot.held && slot.replica.ordinal < app.desired();
}
}  // namespace

void Invariants::excuse(const std::string& app, std::optional<int> ordinal) {
  for (auto& [replica, starts] : starts_) {
    if (replica.app == app && (!ordinal || *ordinal == replica.ordinal))
      starts.excuses.push_back(host_.now());
  }
}

void Invariants::before_step(const std::vector<Event>& events) {
  at_once_.clear();
  for (const Event& event : events) {
    if (const auto* restart = std::get_if<RestartCommand>(&event)) {
      excuse(restart->target.app, std::nullopt);
      if (restart->at_once || restart->target.ordinal) at_once_.insert(restart->target.app);
    } else if (const auto* start = std::get_if<StartCommand>(&event)) {
      excuse(start->target.app, std::nullopt);
    } else if (const auto* changed = std::get_if<FilesChanged>(&event)) {
      excuse(changed->app, std::nullopt);
    } else if (const auto* undo = std::get_if<UndoCommand>(&event)) {
      excuse(undo->app, std::nullopt);
    } else if (const auto* pause = std::get_if<PauseCommand>(&event)) {
      excuse(pause->app, std::nullopt);
    } else if (const auto* scale = std::get_if<ScaleCommand>(&event)) {
      excuse(scale->app, std::nullopt);
    } else if (std::holds_alternative<SpecLoaded>(event)) {
      for (const auto& [name, app] : host_.world().apps) excuse(name, std::nullopt);
      for (const auto& [name, job] : host_.world().jobs) excuse(name, std::nullopt);
    } else if (const auto* run = std::get_if<RunCommand>(&event)) {
      excuse(run->job, std::nullopt);
    } else if (const auto* failed = std::get_if<SpawnFailed>(&event)) {
      const Tenant* tenant = nullptr;
      for (const auto& [name, app] : host_.world().apps) {
        for (const auto& [ordinal, slot] : app.slots) {
          for (const Tenant& other : slot.tenants) {
            if (other.id == failed->instance) tenant = &other;
          }
        }
      }
      if (tenant != nullptr && failed->kind != SpawnFailure::exec)
        excuse(tenant->replica.app, tenant->replica.ordinal);
    }
  }
}

void Invariants::on_spawn(const Spawn& spawn) {
  Starts& starts = starts_[spawn.replica];
  const Instant minute_ago = host_.now() - 1min;
  while (!starts.times.empty() && starts.times.front() < minute_ago) starts.times.pop_front();
  while (!starts.excuses.empty() && starts.excuses.front() < minute_ago) starts.excuses.pop_front();
  starts.times.push_back(host_.now());
  const auto allowed = starts_per_minute_max + starts_per_excuse * std::ssize(starts.excuses);
  if (std::ssize(starts.times) > allowed)
    host_.violate(
        fmt::format("{} is started {} times within a minute", to_string(spawn.replica), starts.times.size()));
}

void Invariants::check_tenant(const AppWorld& app, const Tenant& tenant) {
  if (tenant.phase == Phase::ready) {
    const auto at = host_.all().find(tenant.id);
    const bool lives =
        tenant.started && at != host_.all().end() && !at->second.exit_told &&
        (at->second.state == Process::State::running || at->second.state == Process::State::exited);
    if (!lives) return host_.violate(label(tenant) + " is ready and has no process");
  } else if (tenant.reason.empty()) {
    return host_.violate(fmt::format("{} is {} without a reason", label(tenant), to_string(tenant.phase)));
  }
  // One that fell in this very step was taken by a fault, and goes first.
  const bool fell =
      tenant.said_stopping || (health::probed(tenant.app->health) && !tenant.ready_verdict.healthy());
  const bool was_fit = fit_.contains(tenant.id) && !fell;
  const auto place = app.slots.find(tenant.replica.ordinal);
  const bool replaced = place != app.slots.end() && (place->second.phase == Phase::completed ||
                                                     std::ranges::any_of(place->second.tenants, fit));
  if (was_fit && !replaced && tenant.leaving == Leaving::replaced && !at_once_.contains(app.app->name)) {
    const auto moved = [](const spec::App& a, const spec::App& b) {
      return !(a.port == b.port) || a.ports != b.ports;
    };
    if (moved(*tenant.app, *app.app))
      return;  // the heirs of a moved range may need the ports of the ready ones
    int wanted = 0;
    int have = 0;
    for (const auto& [ordinal, slot] : app.slots) {
      if (!wanted_by_hand_and_file(app, slot)) continue;
      ++wanted;
      if (slot.phase == Phase::completed || std::ranges::any_of(slot.tenants, fit)) ++have;
    }
    const bool exclusive =
        app.app->exclusive_slots() || std::ranges::any_of(app.slots, [](const auto& entry) {
          return std::ranges::any_of(entry.second.tenants,
                                     [](const Tenant& other) { return other.app->exclusive_slots(); });
        });
    const int unavailable = rollout_bounds(app.app->update, app.desired(), exclusive).unavailable;
    if (have < wanted - unavailable)
      host_.violate(
          fmt::format("the update takes {} away and leaves {} ready of {}", label(tenant), have, wanted));
  }
}

void Invariants::check_app(const std::string& name, const AppWorld& app) {
  int staying = 0;
  for (const auto& [ordinal, slot] : app.slots) {
    if (slot.replica.app != name || slot.replica.ordinal != ordinal)
      return host_.violate(
          fmt::format("the slot {} of {} calls itself {}", ordinal, name, to_string(slot.replica)));
    if (std::ssize(slot.tenants) > tenants_per_slot_max)
      return host_.violate(to_string(slot.replica) + " has too many tenants");
    if (slot.tenants.empty() && slot.reason.empty() && slot.phase != Phase::completed)
      return host_.violate(
          fmt::format("{} is {} without a reason", to_string(slot.replica), to_string(slot.phase)));
    for (const Tenant& tenant : slot.tenants) {
      if (!tenant.is_leaving()) ++staying;
      check_tenant(app, tenant);
    }
  }
  int& most = most_desired_[name];
  most = std::max(most, app.desired());
  int& surge = most_surge_[name];
  surge = std::max(surge, rollout_bounds(app.app->update, most, false).surge);
  if (staying > most + surge)
    host_.violate(fmt::format("{} has {} processes, {} are wanted", name, staying, most));
}

// A revision that goes back starts its processes anew, once.
void Invariants::check_rollout(const std::string& name, const AppWorld& app) {
  const auto [at, added] = in_force_.try_emplace(name, app.revision);
  if (at->second != app.revision) excuse(name, std::nullopt);
  at->second = app.revision;
  const PastRevision* mine = past_revision(app, app.revision);
  if (mine == nullptr || past_revision(app, app.file_revision) == nullptr)
    return host_.violate(name + " has forgotten what it runs or what the file says");
  if (app.history.size() > limits::revisions_kept_max)
    host_.violate(fmt::format("{} remembers {} revisions", name, app.history.size()));
  const bool went_back = app.revision != app.file_revision;
  if (went_back && !app.undone && failure_text(app).empty() && !waits_for_jobs(app))
    host_.violate(name + " runs another revision than the file says, and does not say why");
}

void Invariants::after_step() {
  const World& world = host_.world();
  for (const auto& [name, app] : world.apps) {
    if (!app.removed) check_rollout(name, app);
  }
  for (const auto& [name, app] : world.apps) check_app(name, app);
  check_jobs();
  fit_.clear();
  for (const auto& [name, app] : world.apps) {
    for (const auto& [ordinal, slot] : app.slots) {
      for (const Tenant& tenant : slot.tenants) {
        if (fit(tenant)) fit_.insert(tenant.id);
      }
    }
  }
  const auto wakeup = host_.planner().next_wakeup();
  if (wakeup && *wakeup <= host_.now()) host_.violate("the next wake-up is not after now");
}

std::string Invariants::unfinished(const AppWorld& app) const {
  if (app.removed) return app.app->name + " was removed and is still there";
  if (std::ssize(app.slots) < app.desired()) return app.app->name + " lacks slots";
  // Each ends by success or by its deadline.
  if (app.rollout && app.rollout->due) return app.app->name + " has a rollout under way";
  for (const auto& [ordinal, slot] : app.slots) {
    const std::string where = to_string(slot.replica) + " ";
    if (!wanted_by_hand_and_file(app, slot)) {
      if (!slot.tenants.empty()) return where + "is not wanted and has a process";
      if (slot.phase != Phase::stopped) return where + "is not wanted and not stopped";
      continue;
    }
    const bool ended = slot.phase == Phase::completed || slot.phase == Phase::failed;
    if (slot.tenants.empty()) {
      if (ended || (slot.phase == Phase::waiting && !app.gate_open)) continue;
      return fmt::format("{}is {}: {}", where, to_string(slot.phase), slot.reason);
    }
    const bool has_old = std::ranges::any_of(slot.tenants, [&](const Tenant& tenant) {
      return !tenant.is_leaving() && (tenant.outdated || tenant.revision != app.revision);
    });
    if (is_stuck(app) && has_old) continue;  // as it was when it failed
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
  if (!waiting && !host_.unanswered().empty())
    return fmt::format("command {} has no answer", raw(*host_.unanswered().begin()));
  return "";
}

}  // namespace muster::sim
