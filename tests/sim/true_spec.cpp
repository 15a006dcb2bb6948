#include "sim/true_spec.h"

#include <algorithm>
#include <cmath>

namespace muster::sim {

const spec::App* true_app(const FakeHost& host, const std::string& name) {
  return host.file() ? host.file()->find_app(name) : nullptr;
}

namespace {
double exactly(const spec::Share& share, int replicas) {
  return share.percent ? share.value / 100.0 * replicas : share.value;
}
}  // namespace

int surge_of(const spec::Update& update, int replicas) {
  if (update.strategy != spec::UpdateStrategy::rolling) return 0;
  return static_cast<int>(std::ceil(exactly(update.surge, replicas) - 1e-9));
}

int unavailable_of(const spec::Update& update, int replicas, bool one_by_one) {
  if (update.strategy == spec::UpdateStrategy::recreate) return replicas;
  if (one_by_one || update.strategy == spec::UpdateStrategy::ordered) return 1;
  const int unavailable = static_cast<int>(std::floor(exactly(update.unavailable, replicas) + 1e-9));
  return unavailable == 0 && surge_of(update, replicas) == 0 ? 1 : std::min(unavailable, replicas);
}

Nanos pause_of(const spec::Restart& restart, int failures) {
  if (failures < 2) return Nanos{0};
  const double pause = static_cast<double>(restart.backoff.count()) * std::pow(2.0, failures - 2);
  return Millis{static_cast<std::int64_t>(std::min(pause, static_cast<double>(restart.max_backoff.count())))};
}

bool fit(const Tenant& tenant) {
  return !tenant.is_leaving() && (tenant.phase == Phase::ready || tenant.phase == Phase::draining);
}

bool wanted_by_hand_and_file(const AppWorld& app, const Slot& slot) {
  return !app.removed && !app.held && !slot.held && slot.replica.ordinal < app.desired();
}

Found find_tenant(const World& world, InstanceId id) {
  for (const auto& [name, app] : world.apps) {
    for (const auto& [ordinal, slot] : app.slots) {
      for (const Tenant& tenant : slot.tenants) {
        if (tenant.id == id) return {&app, &slot, &tenant};
      }
    }
  }
  return {};
}

}  // namespace muster::sim
