// How many replicas the load needs, app by app.
#include <algorithm>

#include "fmt/core.h"
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

bool scales(const AppWorld& app) {
  return app.app->scale && !app.removed && !app.held && !app.scale;
}

}  // namespace

bool Planner::wants_load() const {
  return !world_.shutting_down &&
         std::ranges::any_of(world_.apps, [](const auto& entry) { return scales(entry.second); });
}

void Planner::on(const LoadMeasured& event) {
  if (world_.shutting_down) return;
  for (auto& [name, app] : world_.apps) {
    if (scales(app)) scale_by_load(app, event);
  }
}

void Planner::scale_by_load(AppWorld& app, const LoadMeasured& event) {
  const spec::Scale& scale = *app.app->scale;
  std::vector<MetricLoad> metrics;
  if (scale.cpu) {
    metrics.push_back(
        {.name = "cpu",
         .unit = " % of a core",
         .target = static_cast<double>(*scale.cpu),
         .missing_down = std::max(100.0, static_cast<double>(*scale.cpu)),
         .replicas = loads_of(app, event, [](const LoadSample& sample) { return sample.cpu_percent; })});
  }
  if (scale.in_flight) {
    metrics.push_back(
        {.name = "in_flight",
         .unit = "",
         .target = static_cast<double>(*scale.in_flight),
         .missing_down = static_cast<double>(*scale.in_flight),
         .replicas = loads_of(app, event, [](const LoadSample& sample) { return sample.in_flight; })});
  }
  const int before = app.desired();
  const Autoscaler::Verdict verdict =
      app.scaler.look(scale, metrics, before, host_room(event.host, memory_of_one(app, event)), now_.mono);
  app.scale_reason = verdict.why;
  if (verdict.replicas == before) return;
  app.autoscaled = verdict.replicas;
  note_app(Severity::info, "scale", app.app->name,
           fmt::format("{} -> {} replicas: {}", before, verdict.replicas, verdict.why));
  changed();
}

}  // namespace muster::supervisor
