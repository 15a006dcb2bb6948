// What is wanted against what is: the difference becomes starts and departures.
#include <algorithm>
#include <utility>

#include "fmt/core.h"
#include "supervisor/planner.h"

namespace muster::supervisor {

namespace {
constexpr int tenants_per_slot_max = 3;  // one that still drains, the ready one, its heir

bool in_rotation_or_fit(const Tenant& tenant) {
  return tenant.phase == Phase::ready || tenant.phase == Phase::draining;
}

// The named and numbered ports of one ordinal, as they must be free before it starts.
std::vector<std::uint16_t> numbered_ports(const spec::App& app, int ordinal) {
  std::vector<std::uint16_t> ports;
  const auto add = [&](const spec::Port& port) {
    if (port.kind == spec::PortKind::numbered)
      ports.push_back(static_cast<std::uint16_t>(port.base + ordinal));
  };
  add(app.port);
  for (const spec::NamedPort& port : app.ports) add(port.port);
  return ports;
}

bool has_ready(const Slot& slot) {
  return std::ranges::any_of(
      slot.tenants, [](const Tenant& tenant) { return !tenant.is_leaving() && in_rotation_or_fit(tenant); });
}
}  // namespace

namespace {
int rounded_up(const spec::Share& share, int replicas) {
  return share.percent ? (replicas * share.value + 99) / 100 : share.value;
}
int rounded_down(const spec::Share& share, int replicas) {
  return std::min(replicas, share.percent ? replicas * share.value / 100 : share.value);
}
}  // namespace

RolloutBounds rollout_bounds(const spec::Update& update, int replicas, bool exclusive_slots) {
  if (update.strategy == spec::UpdateStrategy::recreate)
    return RolloutBounds{.surge = 0, .unavailable = replicas};
  if (exclusive_slots || update.strategy == spec::UpdateStrategy::ordered)
    return RolloutBounds{.surge = 0, .unavailable = 1};
  const int surge = rounded_up(update.surge, replicas);
  const int unavailable = rounded_down(update.unavailable, replicas);
  return RolloutBounds{.surge = surge, .unavailable = surge == 0 && unavailable == 0 ? 1 : unavailable};
}

bool Planner::wanted(const AppWorld& app, const Slot& slot) const {
  return !world_.shutting_down && !app.removed && !app.held && !slot.held &&
         slot.replica.ordinal < app.desired();
}

bool Planner::current(const AppWorld& app, const Tenant& tenant) const {
  return !tenant.outdated && tenant.revision == app.revision;
}

bool Planner::is_rolling(const AppWorld& app) const {
  return std::ranges::any_of(app.slots, [&](const auto& entry) {
    return std::ranges::any_of(entry.second.tenants, [&](const Tenant& tenant) {
      return !tenant.is_leaving() && !current(app, tenant);
    });
  });
}

// The slots may become exclusive with this very revision, or have been so until now.
bool Planner::one_by_one(const AppWorld& app) const {
  const auto exclusive = [](const Tenant& tenant) { return tenant.app->exclusive_slots(); };
  return app.app->update.strategy == spec::UpdateStrategy::ordered || app.app->exclusive_slots() ||
         std::ranges::any_of(app.slots, [&](const auto& entry) {
           return std::ranges::any_of(entry.second.tenants, exclusive);
         });
}

bool Planner::old_ones_end_first(const AppWorld& app) const {
  if (app.app->update.strategy != spec::UpdateStrategy::recreate) return false;
  return std::ranges::any_of(app.slots, [&](const auto& entry) {
    return std::ranges::any_of(entry.second.tenants,
                               [&](const Tenant& tenant) { return !current(app, tenant); });
  });
}

// When a new process that is ready comes to count; none: it counts, or it is not ready.
std::optional<Instant> Planner::available_at(const AppWorld& app, const Tenant& tenant) const {
  if (tenant.is_leaving() || !in_rotation_or_fit(tenant) || !current(app, tenant)) return std::nullopt;
  const Instant at = tenant.ready_since + app.app->update.min_ready;
  return now_.mono < at ? std::optional(at) : std::nullopt;
}

bool Planner::available(const AppWorld& app, const Tenant& tenant) const {
  return !tenant.is_leaving() && in_rotation_or_fit(tenant) && !available_at(app, tenant);
}

bool Planner::available(const AppWorld& app, const Slot& slot) const {
  return std::ranges::any_of(slot.tenants, [&](const Tenant& tenant) { return available(app, tenant); });
}

// The end of the daemon runs against `after`: an app ends once nothing that needs it has a process.
bool Planner::may_stop_in_shutdown(const AppWorld& app) const {
  const auto holds_up = [&](const AppWorld& other) {
    const bool needs = std::ranges::any_of(other.app->after, [&](const spec::Dependency& dependency) {
      return dependency.app == app.app->name;
    });
    return needs &&
           std::ranges::any_of(other.slots, [](const auto& slot) { return !slot.second.tenants.empty(); });
  };
  return std::ranges::none_of(world_.apps, [&](const auto& entry) { return holds_up(entry.second); }) &&
         std::ranges::none_of(world_.jobs, [&](const auto& entry) { return holds_up(entry.second.task); });
}

namespace {
bool meets(const Slot& slot, spec::AfterCondition condition) {
  const bool ended = slot.last_exit && (slot.last_exit->status.code || slot.last_exit->status.signal);
  const bool ran = ended || (!slot.tenants.empty() && slot.tenants.back().started);
  const bool done = slot.tenants.empty() && (slot.phase == Phase::completed || slot.phase == Phase::failed);
  switch (condition) {
    case spec::AfterCondition::ready:
      return has_ready(slot);
    case spec::AfterCondition::started:
      return ran || done;
    case spec::AfterCondition::completed:
      return done;
    case spec::AfterCondition::completed_ok:
      return done && slot.phase == Phase::completed;
  }
  return false;
}

const char* text_of(spec::AfterCondition condition) {
  switch (condition) {
    case spec::AfterCondition::ready:
      return "to be ready";
    case spec::AfterCondition::started:
      return "to be started";
    case spec::AfterCondition::completed:
      return "to be completed";
    case spec::AfterCondition::completed_ok:
      return "to be completed with success";
  }
  return "";
}

// Those that were stopped one by one are not wanted; but whoever needs an app needs one replica of it.
int replicas_needed(const AppWorld& app) {
  const int desired = app.desired();
  const auto held = std::ranges::count_if(
      app.slots, [&](const auto& entry) { return entry.first < desired && entry.second.held; });
  return std::max(desired - static_cast<int>(held), std::min(desired, 1));
}
}  // namespace

void Planner::open_gate(AppWorld& app) {
  if (app.before && app.before->number == app.revision) {
    app.gate_reason = app.before->reason;
    return;
  }
  if (app.gate_open) return;
  app.gate_reason.clear();
  for (const spec::Dependency& dependency : app.app->after) {
    if (const auto job = world_.jobs.find(dependency.app); job != world_.jobs.end()) {
      app.gate_reason = job_gate(job->second, dependency.condition);
      if (!app.gate_reason.empty()) return;
      continue;
    }
    const auto at = world_.apps.find(dependency.app);
    if (at == world_.apps.end()) continue;  // validated away; a removed app holds nobody up
    const AppWorld& needed = at->second;
    const auto good = std::ranges::count_if(needed.slots, [&](const auto& entry) {
      return entry.first < needed.desired() && !entry.second.held &&
             meets(entry.second, dependency.condition);
    });
    const int due = replicas_needed(needed);
    if (good >= due) continue;
    app.gate_reason =
        fmt::format("waits for {} {} ({} of {})", dependency.app, text_of(dependency.condition), good, due);
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
  if (slot.phase == Phase::backoff && slot.next_start && now_.mono + start_lead < *slot.next_start) return;
  const std::string why = slot.phase == Phase::backoff && slot.failures > 0
                              ? fmt::format("starts again (attempt {})", slot.starts + 1)
                              : fmt::format("start of revision {}", raw(app.revision));
  spawn(app, slot, why);
}

// A process that ended unasked must be gone whole; one that was replaced may still be draining beside its heir.
bool Planner::may_host(const AppWorld& app, const Slot& slot) const {
  if (world_.jobs.contains(app.app->name)) return false;  // a job of this name has not ended yet
  if (slot.tenants.empty()) return true;
  if (app.app->exclusive_slots() || std::ssize(slot.tenants) >= tenants_per_slot_max) return false;
  return std::ranges::all_of(slot.tenants, [](const Tenant& tenant) {
    return tenant.leaving == Leaving::replaced && tenant.started && !tenant.app->exclusive_slots();
  });
}

void Planner::end_unwanted(AppWorld& app, Slot& slot) {
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
    // The next daemon goes on with the backoff.
    if (!world_.shutting_down) slot.failures = slot.failures_unready = 0;
  }
}

void Planner::unhealthy_restarts(AppWorld& app) {
  if (!app.app->live || world_.shutting_down) return;
  const int budget = std::max(1, rounded_down(app.app->update.unavailable, app.desired()));
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
      ended_unasked({&app, &slot, &tenant}, why, false);
      leave({&app, &slot, &tenant}, Leaving::unhealthy, why);
    }
  }
}

// A moved range of ports may overlap the old one: the old process that sits on a port that is due goes now, it
// was to be replaced anyway.
void Planner::free_ports(const AppWorld& app, const Slot& slot) {
  const auto due = numbered_ports(*app.app, slot.replica.ordinal);
  for (auto& [name, other] : world_.apps) {
    for (auto& [ordinal, holder] : other.slots) {
      // Its own move may still wait for jobs: until then they are its.
      if (std::ranges::find_first_of(due, numbered_ports(*other.app, ordinal)) != due.end() && &other != &app)
        continue;
      for (Tenant& tenant : holder.tenants) {
        if (tenant.is_leaving() || current(other, tenant)) continue;
        const auto held = numbered_ports(*tenant.app, ordinal);
        if (std::ranges::find_first_of(due, held) == due.end()) continue;
        leave({&other, &holder, &tenant}, Leaving::replaced,
              "its port is now that of " + to_string(slot.replica));
      }
    }
  }
}

// One process an ordinal, so it goes down and up, highest first, each ready before the next. Where the ports move down the lowest goes first: its new port is free, the others' are not.
void Planner::roll_in_order(AppWorld& app) {
  Slot* highest = nullptr;
  Slot* lowest = nullptr;
  bool down = false;
  for (auto& [ordinal, slot] : app.slots) {
    if (!wanted(app, slot)) continue;
    const bool ended = slot.tenants.empty() && slot.phase == Phase::completed;
    if (!available(app, slot) && !ended) return;  // one ordinal is on its way: the next has to wait
    for (const Tenant& tenant : slot.tenants) {
      if (tenant.is_leaving() || current(app, tenant)) continue;
      if (lowest == nullptr) lowest = &slot;
      highest = &slot;
      down = down || (app.app->port.kind == spec::PortKind::numbered &&
                      tenant.app->port.kind == spec::PortKind::numbered &&
                      app.app->port.base < tenant.app->port.base);
    }
  }
  Slot* next = down ? lowest : highest;
  if (next == nullptr) return;
  for (Tenant& tenant : next->tenants) {
    leave({&app, next, &tenant}, Leaving::replaced,
          fmt::format("replaced by revision {}", raw(app.revision)));
  }
}

// Of several old ones, all but the last leave.
Planner::Succession Planner::succession(AppWorld& app, Slot& slot, const std::string& why) {
  Succession pair{&slot, nullptr, nullptr, {}};
  for (Tenant& tenant : slot.tenants) {
    if (tenant.is_leaving()) continue;
    if (current(app, tenant)) {
      pair.heir = &tenant;
      continue;
    }
    if (pair.old != nullptr) leave({&app, &slot, pair.old}, Leaving::replaced, why);
    pair.old = &tenant;
    pair.old_id = tenant.id;
  }
  return pair;
}

// Old processes whose heirs count leave; the rest is counted.
Planner::Round Planner::survey(AppWorld& app, const std::string& why) {
  Round round;
  for (auto& [ordinal, slot] : app.slots) {
    if (!wanted(app, slot)) continue;
    ++round.wanted;
    const Succession pair = succession(app, slot, why);
    const bool ended = pair.heir == nullptr && slot.phase == Phase::completed;
    if (pair.old == nullptr) {
      ++(ended || available(app, slot) ? round.available : round.broken);
      continue;
    }
    ++round.available;
    if (ended || (pair.heir != nullptr && available(app, *pair.heir))) {
      leave({&app, &slot, pair.old}, Leaving::replaced, why);
      continue;
    }
    if (pair.heir != nullptr || slot.phase == Phase::backoff || slot.phase == Phase::failed) ++round.surging;
    round.pairs.push_back(pair);
  }
  return round;
}

namespace {
// For an heir of `old`: those on their way out are none of its business.
bool has_room_beside(const Slot& slot, const Tenant* old) {
  return std::ssize(slot.tenants) < tenants_per_slot_max &&
         std::ranges::none_of(slot.tenants, [&](const Tenant& tenant) {
           return &tenant != old && (tenant.leaving != Leaving::replaced || !tenant.started);
         });
}
}  // namespace

// New processes beside old ones. A replica that is not ready under the new revision takes a place of the surge until
// it is: what breaks at once breaks no more than a few.
void Planner::start_heirs(AppWorld& app, Round& round, const RolloutBounds& bounds) {
  const int unready_max = bounds.surge + (app.app->update.unavailable_given ? bounds.unavailable : 0);
  // One that failed keeps its place of the surge and is tried again in it; the surge may have shrunk meanwhile.
  auto beside =
      std::ranges::count_if(round.pairs, [](const Succession& pair) { return pair.heir != nullptr; });
  for (const Succession& pair : round.pairs) {
    if (pair.heir != nullptr) continue;
    const bool trying = pair.slot->phase == Phase::backoff;
    if (trying && beside >= bounds.surge) continue;
    const bool new_revision = pair.old->revision != app.revision;
    const bool full =
        round.surging >= bounds.surge || (new_revision && round.surging + round.broken >= unready_max);
    if (!trying && full) continue;
    if (!has_room_beside(*pair.slot, pair.old)) continue;
    const auto before = std::ssize(pair.slot->tenants);
    start_if_due(app, *pair.slot);
    if (std::ssize(pair.slot->tenants) <= before) continue;
    ++beside;
    if (!trying) ++round.surging;
  }
}

// Ready old processes go before their heirs are ready, as many as may be missing.
void Planner::make_room(AppWorld& app, Round& round, const RolloutBounds& bounds, const std::string& why) {
  if (bounds.surge > 0 && !app.app->update.unavailable_given) return;
  for (const Succession& pair : round.pairs) {
    if (round.available <= round.wanted - bounds.unavailable) return;
    // A start may have moved the tenants.
    const auto old = std::ranges::find(pair.slot->tenants, pair.old_id, &Tenant::id);
    // Without a surge no heir can be tried beside it.
    const bool may_go =
        pair.slot->phase == Phase::waiting || (bounds.surge == 0 && pair.slot->phase == Phase::backoff);
    if (!may_go || !has_room_beside(*pair.slot, &*old)) continue;
    leave({&app, pair.slot, &*old}, Leaving::replaced, why);
    --round.available;
  }
}

void Planner::roll_with_surge(AppWorld& app) {
  const std::string why = fmt::format("replaced by revision {}", raw(app.revision));
  const RolloutBounds bounds = rollout_bounds(app.app->update, app.desired(), false);
  Round round = survey(app, why);
  start_heirs(app, round, bounds);
  make_room(app, round, bounds, why);
}

// strategy = "recreate".
void Planner::end_all_old(AppWorld& app) {
  const std::string why = fmt::format("ends before revision {} starts", raw(app.revision));
  for (auto& [ordinal, slot] : app.slots) {
    for (Tenant& tenant : slot.tenants) {
      if (!current(app, tenant)) leave({&app, &slot, &tenant}, Leaving::replaced, why);
    }
  }
}

void Planner::roll_out(AppWorld& app) {
  if (is_stuck(app)) return;
  bool any_old = false;
  for (auto& [ordinal, slot] : app.slots) {
    if (!wanted(app, slot)) continue;
    for (Tenant& tenant : slot.tenants) {
      if (tenant.is_leaving() || current(app, tenant)) continue;
      if (in_rotation_or_fit(tenant) && !tenant.at_once) {
        any_old = true;
        continue;
      }
      // Not ready: it counts against nothing and goes first.
      leave({&app, &slot, &tenant}, Leaving::replaced,
            tenant.outdated ? "restarted" : fmt::format("replaced by revision {}", raw(app.revision)));
    }
  }
  if (!any_old) return;
  if (app.app->update.strategy == spec::UpdateStrategy::recreate) return end_all_old(app);
  if (one_by_one(app)) return roll_in_order(app);
  roll_with_surge(app);
}

void Planner::ensure_slots(AppWorld& app) {
  const int desired = app.desired();
  // Ordinals rise from 0, so the slot before the first wanted one that is missing tells by its place in the map.
  if (std::ssize(app.slots) >= desired &&
      std::distance(app.slots.begin(), app.slots.lower_bound(desired)) == desired)
    return;
  for (int ordinal = 0; ordinal < desired; ++ordinal) slot_of(app, ordinal);
}

void Planner::reconcile_app(AppWorld& app) {
  if (!world_.shutting_down) ensure_slots(app);
  open_gate(app);
  const bool held_up = world_.shutting_down && !world_.at_once && !may_stop_in_shutdown(app);
  for (auto& [ordinal, slot] : app.slots) {
    if (wanted(app, slot)) {
      if (slot.phase == Phase::stopped) set_idle(slot, Phase::waiting, "to be started");
    } else if (!held_up) {
      end_unwanted(app, slot);
    }
  }
  unhealthy_restarts(app);
  roll_out(app);
  const bool old_first = old_ones_end_first(app);
  for (auto& [ordinal, slot] : app.slots) {
    if (!wanted(app, slot)) continue;
    if (old_first) {
      if (slot.tenants.empty() && slot.phase == Phase::waiting)
        set_idle(slot, Phase::waiting, "waits for the end of all processes of the revision before");
      continue;
    }
    if (std::exchange(slot.port_busy, false)) free_ports(app, slot);
    if (may_host(app, slot)) start_if_due(app, slot);
  }
  const auto forgotten = std::erase_if(app.slots, [&](const auto& entry) {
    return entry.second.tenants.empty() && entry.first >= app.desired() && !world_.shutting_down;
  });
  if (forgotten > 0) changed();  // with their holds and backoff
}

void Planner::reconcile() {
  follow_jobs();
  for (auto& [name, app] : world_.apps) reconcile_app(app);
  const auto ended = std::erase_if(
      world_.apps, [&](const auto& entry) { return entry.second.removed && entry.second.slots.empty(); });
  if (ended > 0) follow_jobs();  // one may have the name, or wait for it
}

}  // namespace muster::supervisor
