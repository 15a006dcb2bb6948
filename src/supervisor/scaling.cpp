// How many replicas the load needs, app by app.
#include <algorithm>

#include "fmt/core.h"
#include "spec/fields.h"
#include "supervisor/planner.h"

namespace muster::supervisor {

namespace {

const Tenant* ready_tenant(const Slot& slot) {
  const Tenant* newest = nullptr;
  for (const Tenant& tenant : slot.tenants) {
    if (!tenant.is_leaving() && (tenant.phase == Phase::ready || tenant.phase == Phase::draining))
      newest = &tenant;
  }
  return newest;
}

// One for each that is wanted; `value` takes a measurement from a sample.
template <typename Value>
std::vector<ReplicaLoad> loads_of(const AppWorld& app, const LoadMeasured& event, const Value& value) {
  std::vector<ReplicaLoad> loads;
  for (int ordinal = 0; ordinal < app.desired(); ++ordinal) {
    const auto slot = app.slots.find(ordinal);
    const Tenant* tenant = slot == app.slots.end() ? nullptr : ready_tenant(slot->second);
    ReplicaLoad load{.ready = tenant != nullptr, .value = std::nullopt};
    if (tenant != nullptr) {
      const auto sample = event.by_instance.find(tenant->id);
      if (sample != event.by_instance.end()) load.value = value(sample->second);
    }
    loads.push_back(load);
  }
  return loads;
}

// On average; 0: nothing is known.
std::uint64_t memory_of_one(const AppWorld& app, const LoadMeasured& event) {
  std::uint64_t sum = 0;
  std::uint64_t count = 0;
  for (const auto& [ordinal, slot] : app.slots) {
    const Tenant* tenant = ready_tenant(slot);
    const auto sample = tenant == nullptr ? event.by_instance.end() : event.by_instance.find(tenant->id);
    if (sample == event.by_instance.end() || sample->second.memory_bytes == 0) continue;
    sum += sample->second.memory_bytes;
    ++count;
  }
  return count == 0 ? 0 : sum / count;
}

// Wanted, not ready: they have not taken all of their memory yet.
int coming(const AppWorld& app) {
  int count = 0;
  for (int ordinal = 0; ordinal < app.desired(); ++ordinal) {
    const auto slot = app.slots.find(ordinal);
    if (slot == app.slots.end() || ready_tenant(slot->second) == nullptr) ++count;
  }
  return count;
}

std::vector<MetricLoad> metrics_of(const AppWorld& app, const LoadMeasured& event) {
  const spec::Scale& scale = *app.app->scale;
  const spec::Limits& limits = app.app->limits;
  std::vector<MetricLoad> metrics;
  if (scale.cpu) {
    const auto percent = [whole = limits.cpu.value_or(1.0)](const LoadSample& sample) {
      return sample.cpu_percent ? std::optional(*sample.cpu_percent / whole) : std::nullopt;
    };
    metrics.push_back({.name = "cpu",
                       .unit = limits.cpu ? " % of limits.cpu" : " % of a core",
                       .target = static_cast<double>(*scale.cpu),
                       .missing_down = std::max(100.0, static_cast<double>(*scale.cpu)),
                       .replicas = loads_of(app, event, percent)});
  }
  if (scale.memory && limits.memory) {
    const auto percent = [whole = static_cast<double>(*limits.memory)](const LoadSample& sample) {
      const auto used = static_cast<double>(sample.memory_bytes);
      return sample.memory_bytes > 0 ? std::optional(100.0 * used / whole) : std::nullopt;
    };
    metrics.push_back({.name = "memory",
                       .unit = " %",
                       .target = static_cast<double>(*scale.memory),
                       .missing_down = 100.0,
                       .replicas = loads_of(app, event, percent)});
  }
  if (scale.in_flight) {
    metrics.push_back(
        {.name = "in_flight",
         .unit = "",
         .target = static_cast<double>(*scale.in_flight),
         .missing_down = static_cast<double>(*scale.in_flight),
         .replicas = loads_of(app, event, [](const LoadSample& sample) { return sample.in_flight; })});
  }
  return metrics;
}

// By its load. The first replica of an app on demand comes and goes with its requests.
bool scales(const AppWorld& app) {
  const auto& scale = app.app->scale;
  return scale && (scale->cpu || scale->memory || scale->in_flight) && !app.removed && !app.held &&
         !app.scale && app.desired() > 0;
}

bool may_fall_idle(const AppWorld& app) {
  return app.is_on_demand() && app.desired() > 0;
}

// Somebody waits for it still: what was there before is on its way out, or what was started for the request on its way
// up. One that fails and is started again is not waited for longer than the window.
bool is_awaited(const AppWorld& app, const Tenant& tenant) {
  return tenant.is_leaving() ||
         (!tenant.was_ready && tenant.spawned_at - app.asked_for < app.app->scale->window);
}

Instant last_request(const AppWorld& app, const TrafficSeen& event, Instant now) {
  Instant last = app.asked_for;
  for (const auto& [ordinal, slot] : app.slots) {
    for (const Tenant& tenant : slot.tenants) {
      if (is_awaited(app, tenant)) last = now;
      const auto seen = event.last.find(tenant.id);
      if (seen != event.last.end()) last = std::max(last, seen->second);
    }
  }
  return last;
}

}  // namespace

bool Planner::wants_load() const {
  return !world_.shutting_down &&
         std::ranges::any_of(world_.apps, [](const auto& entry) { return scales(entry.second); });
}

void Planner::on(const LoadMeasured& event) {
  if (world_.shutting_down) return;
  HostLoad left = event.host;
  for (auto& [name, app] : world_.apps) {
    if (scales(app)) scale_by_load(app, event, left);
  }
}

// What one app is given is not `left` for the next.
void Planner::scale_by_load(AppWorld& app, const LoadMeasured& event, HostLoad& left) {
  spec::Scale scale = *app.app->scale;
  scale.min = std::max(scale.min, 1);
  const int before = app.desired();
  const std::uint64_t memory = memory_of_one(app, event);
  const Autoscaler::Verdict verdict =
      app.scaler.look(scale, metrics_of(app, event), before, host_room(left, memory, coming(app)), now_.mono);
  scale_to(app, verdict.replicas, verdict.why);
  if (verdict.replicas > before) {
    const auto added = static_cast<std::uint64_t>(verdict.replicas - before);
    left.memory_available -= std::min(left.memory_available, added * memory);
  } else if (verdict.is_held_back && !app.is_held_back) {
    note_app(Severity::warning, "scale", app.app->name,
             fmt::format("held at {} replicas: {}", before, verdict.why));
  }
  app.is_held_back = verdict.is_held_back;
}

void Planner::scale_to(AppWorld& app, int replicas, const std::string& why) {
  const int before = app.desired();
  app.scale_reason = why;
  if (replicas == before) return;
  app.autoscaled = replicas;
  note_app(Severity::info, "scale", app.app->name,
           fmt::format("{} -> {} replicas: {}", before, replicas, why));
  changed();
}

bool Planner::wants_traffic() const {
  return !world_.shutting_down &&
         std::ranges::any_of(world_.apps, [](const auto& entry) { return may_fall_idle(entry.second); });
}

void Planner::wake(AppWorld& app, const std::string& why) {
  if (!app.is_on_demand()) return;
  app.asked_for = now_.mono;
  if (app.desired() == 0) scale_to(app, 1, why);
}

void Planner::on(const Demanded& event) {
  const auto at = world_.apps.find(event.app);
  if (at != world_.apps.end() && !world_.shutting_down) wake(at->second, "a request came");
}

void Planner::on(const TrafficSeen& event) {
  if (world_.shutting_down) return;
  for (auto& [name, app] : world_.apps) {
    if (!may_fall_idle(app)) continue;
    const Millis window = app.app->scale->window;
    if (now_.mono - last_request(app, event, now_.mono) >= window)
      scale_to(app, 0, fmt::format("no request for {}", spec::duration_text(window)));
  }
}

}  // namespace muster::supervisor
