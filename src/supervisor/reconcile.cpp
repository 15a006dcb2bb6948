// What is wanted against what is: the difference becomes starts and departures.
#include <algorithm>

#include "fmt/core.h"
#include "supervisor/planner.h"

namespace muster::supervisor {

namespace {
constexpr int default_percent = 25;  // Kubernetes' maxSurge and maxUnavailable

bool in_rotation_or_fit(const Tenant& tenant) {
  return tenant.phase == Phase::ready || tenant.phase == Phase::draining;
}

bool has_ready(const Slot& slot) {
  return std::ranges::any_of(
      slot.tenants, [](const Tenant& tenant) { return !tenant.is_leaving() && in_rotation_or_fit(tenant); });
}
}  // namespace

RolloutBounds rollout_bounds(int replicas, bool exclusive_slots) {
  const int surge = exclusive_slots ? 0 : (replicas * default_percent + 99) / 100;
  const int unavailable = replicas * default_percent / 100;
  return RolloutBounds{.surge = surge, .unavailable = surge == 0 && unavailable == 0 ? 1 : unavailable};
}

bool Planner::wanted(const AppWorld& app, const Slot& slot) const {
  return !world_.shutting_down && !app.removed && !app.held && !slot.held &&
         slot.replica.ordinal < app.desired();
}

bool Planner::current(const AppWorld& app, const Tenant& tenant) const {
  return !tenant.outdated && tenant.revision == app.revision;
}

// The end of the daemon runs against `after`: an app ends once nothing that needs it has a process.
bool Planner::may_stop_in_shutdown(const AppWorld& app) const {
  return std::ranges::none_of(world_.apps, [&](const auto& entry) {
    const AppWorld& other = entry.second;
    const bool needs = std::ranges::any_of(other.app->after, [&](const spec::Dependency& dependency) {
      return dependency.app == app.app->name;
    });
    return needs &&
           std::ranges::any_of(other.slots, [](const auto& slot) { return !slot.second.tenants.empty(); });
  });
}

void Planner::open_gate(AppWorld& app) {
  if (app.gate_open) return;
  app.gate_reason.clear();
  for (const spec::Dependency& dependency : app.app->after) {
    const auto at = world_.apps.find(dependency.app);
    if (at == world_.apps.end()) continue;  // validated away; a removed app holds nobody up
    const AppWorld& needed = at->second;
    int good = 0;
    for (const auto& [ordinal, slot] : needed.slots) {
      if (ordinal >= needed.desired()) continue;
      const bool ran = !slot.tenants.empty() && slot.tenants.back().started;
      const bool done =
          slot.tenants.empty() && (slot.phase == Phase::completed || slot.phase == Phase::failed);
      switch (dependency.condition) {
        case spec::AfterCondition::ready:
          good += has_ready(slot) ? 1 : 0;
          break;
        case spec::AfterCondition::started:
          good += ran || done ? 1 : 0;
          break;
        case spec::AfterCondition::completed:
          good += done ? 1 : 0;
          break;
        case spec::AfterCondition::completed_ok:
          good += done && slot.phase == Phase::completed ? 1 : 0;
          break;
      }
    }
    if (good >= needed.desired()) continue;
    const char* what = "to be ready";
    if (dependency.condition == spec::AfterCondition::started) what = "to be started";
    if (dependency.condition == spec::AfterCondition::completed) what = "to be completed";
    if (dependency.condition == spec::AfterCondition::completed_ok) what = "to be completed with success";
    app.gate_reason = fmt::format("waits for {} {} ({} of {})", dependency.app, what, good, needed.desired());
    return;
  }
  app.gate_open = true;
}

void Planner::start_if_due(AppWorld& app, Slot& slot) {
  if (slot.phase == Phase::failed || slot.phase == Phase::completed) return;
  if (!app.gate_open) {
    if (slot.phase != Phase::waiting || slot.reason != app.gate_reason)
      set_idle(slot, Phase::waiting, app.gate_reason);
    return;
  }
  if (slot.phase == Phase::backoff && slot.next_start && now_.mono < *slot.next_start) return;
  const std::string why = slot.phase == Phase::backoff && slot.failures > 0
                              ? fmt::format("starts again (attempt {})", slot.starts + 1)
                              : fmt::format("start of revision {}", raw(app.revision));
  spawn(app, slot, why);
}

void Planner::reconcile_slot(AppWorld& app, Slot& slot) {
  if (wanted(app, slot)) {
    // A process that ended unasked must be gone whole; one that was replaced may still be draining beside its
    // heir.
    const bool exclusive = app.app->exclusive_slots();
    const bool free = std::ranges::all_of(slot.tenants, [&](const Tenant& tenant) {
      return !exclusive && tenant.leaving == Leaving::replaced && tenant.started &&
             !tenant.app->exclusive_slots();
    });
    if (free) start_if_due(app, slot);
    return;
  }
  if (world_.shutting_down && !world_.at_once && !may_stop_in_shutdown(app)) return;
  std::string why = "stopped by hand";
  Leaving leaving = Leaving::unwanted;
  if (world_.shutting_down) {
    why = "the daemon is stopping";
    leaving = Leaving::shutdown;
  } else if (app.removed) {
    why = "removed from the file";
  } else if (slot.replica.ordinal >= app.desired()) {
    why = fmt::format("scaled down to {}", app.desired());
  }
  for (Tenant& tenant : slot.tenants) leave({&app, &slot, &tenant}, leaving, why);
  if (slot.tenants.empty() && (slot.phase != Phase::stopped || slot.reason != why)) {
    set_idle(slot, Phase::stopped, why);
    slot.failures = slot.failures_unready = 0;
  }
}

void Planner::unhealthy_restarts(AppWorld& app) {
  if (!app.app->live || world_.shutting_down) return;
  const int budget = std::max(1, rollout_bounds(app.desired(), false).unavailable);
  int under_way = 0;
  for (const auto& [ordinal, slot] : app.slots) {
    const bool restarting = !has_ready(slot) && slot.failures > 0 && wanted(app, slot);
    const bool leaving = std::ranges::any_of(
        slot.tenants, [](const Tenant& tenant) { return tenant.leaving == Leaving::unhealthy; });
    if (restarting || leaving) ++under_way;
  }
  for (auto& [ordinal, slot] : app.slots) {
    for (Tenant& tenant : slot.tenants) {
      if (tenant.live_verdict.healthy() || tenant.is_leaving() || !tenant.started) continue;
      if (under_way >= budget) return;
      ++under_way;
      const std::string why = tenant.last_live ? "not alive: " + tenant.last_live->sentence : "not alive";
      count_failure(app, slot, why, false);
      leave({&app, &slot, &tenant}, Leaving::unhealthy, why);
    }
  }
}

// Numbered ports and volumes: one process an ordinal, so it goes down and up, highest first, each ready
// before the next.
void Planner::roll_exclusive(AppWorld& app) {
  Slot* next = nullptr;
  for (auto& [ordinal, slot] : app.slots) {
    if (!wanted(app, slot)) continue;
    const bool settled = std::ranges::any_of(slot.tenants, [](const Tenant& tenant) {
      return !tenant.is_leaving() && in_rotation_or_fit(tenant);
    });
    if (!settled) return;  // one ordinal is on its way: the next has to wait
    const bool old = std::ranges::any_of(
        slot.tenants, [&](const Tenant& tenant) { return !tenant.is_leaving() && !current(app, tenant); });
    if (old) next = &slot;  // ordinals rise, so the last one found is the highest
  }
  if (next == nullptr) return;
  for (Tenant& tenant : next->tenants) {
    leave({&app, next, &tenant}, Leaving::replaced,
          fmt::format("replaced by revision {}", raw(app.revision)));
  }
}

// The new process is ready before the old one leaves rotation.
void Planner::roll_with_surge(AppWorld& app) {
  const RolloutBounds bounds = rollout_bounds(app.desired(), false);
  int surging = 0;
  std::vector<Slot*> candidates;
  for (auto& [ordinal, slot] : app.slots) {
    if (!wanted(app, slot)) continue;
    Tenant* old = nullptr;
    const Tenant* heir = nullptr;
    for (Tenant& tenant : slot.tenants) {
      if (!current(app, tenant) && !tenant.is_leaving()) old = &tenant;
      if (current(app, tenant)) heir = &tenant;
    }
    if (old == nullptr) continue;
    if (heir == nullptr) {
      candidates.push_back(&slot);
    } else if (!heir->is_leaving() && in_rotation_or_fit(*heir)) {
      leave({&app, &slot, old}, Leaving::replaced, fmt::format("replaced by revision {}", raw(app.revision)));
    } else {
      ++surging;
    }
  }
  for (Slot* slot : candidates) {
    if (surging >= bounds.surge) return;
    const auto before = slot->tenants.size();
    start_if_due(app, *slot);
    if (slot->tenants.size() > before) ++surging;
  }
}

void Planner::roll_out(AppWorld& app) {
  bool any_old = false;
  for (auto& [ordinal, slot] : app.slots) {
    if (!wanted(app, slot)) continue;
    for (Tenant& tenant : slot.tenants) {
      if (tenant.is_leaving() || current(app, tenant)) continue;
      if (in_rotation_or_fit(tenant)) {
        any_old = true;
        continue;
      }
      // Not ready: it counts against nothing and goes first.
      leave({&app, &slot, &tenant}, Leaving::replaced,
            fmt::format("replaced by revision {}", raw(app.revision)));
    }
  }
  if (!any_old) return;
  // The slots may have become exclusive with this very revision, or have been so until now.
  const bool exclusive = app.app->exclusive_slots() || std::ranges::any_of(app.slots, [](const auto& entry) {
                           return std::ranges::any_of(entry.second.tenants, [](const Tenant& tenant) {
                             return tenant.app->exclusive_slots();
                           });
                         });
  if (exclusive) return roll_exclusive(app);
  roll_with_surge(app);
}

void Planner::reconcile_app(AppWorld& app) {
  for (int ordinal = 0; ordinal < app.desired() && !world_.shutting_down; ++ordinal) {
    const auto [at, added] = app.slots.try_emplace(ordinal);
    if (added) at->second.since = now_.wall;
    at->second.replica = ReplicaId{.app = app.app->name, .ordinal = ordinal};
    if (at->second.tenants.empty() && at->second.phase == Phase::stopped && wanted(app, at->second))
      set_idle(at->second, Phase::waiting, "to be started");
  }
  open_gate(app);
  for (auto& [ordinal, slot] : app.slots) reconcile_slot(app, slot);
  unhealthy_restarts(app);
  roll_out(app);
  std::erase_if(app.slots, [&](const auto& entry) {
    return entry.second.tenants.empty() && entry.first >= app.desired() && !world_.shutting_down;
  });
}

void Planner::reconcile() {
  for (auto& [name, app] : world_.apps) reconcile_app(app);
  std::erase_if(world_.apps,
                [&](const auto& entry) { return entry.second.removed && entry.second.slots.empty(); });
}

}  // namespace muster::supervisor
