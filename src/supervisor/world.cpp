#include "supervisor/world.h"

#include <algorithm>

#include "fmt/core.h"

namespace muster::supervisor {

std::string Tenant::shown_address() const {
  if (!socket.empty()) return "unix:" + socket;
  const auto port = main_port();
  if (!port) return "";
  return address == "::1" ? fmt::format("[::1]:{}", *port) : fmt::format("{}:{}", address, *port);
}

std::string_view to_string(Phase phase) {
  switch (phase) {
    case Phase::waiting:
      return "waiting";
    case Phase::starting:
      return "starting";
    case Phase::ready:
      return "ready";
    case Phase::unready:
      return "unready";
    case Phase::draining:
      return "draining";
    case Phase::stopping:
      return "stopping";
    case Phase::backoff:
      return "backoff";
    case Phase::failed:
      return "failed";
    case Phase::stopped:
      return "stopped";
    case Phase::completed:
      return "completed";
  }
  return "";
}

std::string_view to_string(AppState state) {
  switch (state) {
    case AppState::failed:
      return "failed";
    case AppState::updating:
      return "updating";
    case AppState::paused:
      return "paused";
    case AppState::stopped:
      return "stopped";
    case AppState::waiting:
      return "waiting";
    case AppState::starting:
      return "starting";
    case AppState::degraded:
      return "degraded";
    case AppState::completed:
      return "completed";
    case AppState::ready:
      return "ready";
  }
  return "";
}

std::vector<ReplicaView> replica_views(const AppWorld& app) {
  std::vector<ReplicaView> views;
  for (const auto& [ordinal, slot] : app.slots) {
    for (const Tenant& tenant : slot.tenants) {
      views.push_back({slot.replica, &slot, &tenant, tenant.phase,
                       tenant.reason.empty() ? tenant.warning : tenant.reason});
    }
    if (slot.tenants.empty()) views.push_back({slot.replica, &slot, nullptr, slot.phase, slot.reason});
  }
  return views;
}

int ready_count(const AppWorld& app) {
  int count = 0;
  for (const auto& [ordinal, slot] : app.slots) {
    if (std::ranges::any_of(slot.tenants, [](const Tenant& tenant) { return tenant.phase == Phase::ready; }))
      ++count;
  }
  return count;
}

const PastRevision* past_revision(const AppWorld& app, Revision number) {
  const auto at = std::ranges::find(app.history, number, &PastRevision::number);
  return at == app.history.end() ? nullptr : &*at;
}

std::string failure_text(const AppWorld& app) {
  if (app.before && !app.before->failure.empty()) return app.before->failure;
  const PastRevision* said = past_revision(app, app.file_revision);
  if (said == nullptr || said->failure.empty() || app.undone) return "";
  return fmt::format("revision {} failed: {}", raw(said->number), said->failure);
}

bool waits_for_jobs(const AppWorld& app) {
  return app.before && app.before->number != app.revision;
}

bool is_stuck(const AppWorld& app) {
  const PastRevision* mine = past_revision(app, app.revision);
  return mine != nullptr && !mine->failure.empty();
}

int AppWorld::desired() const {
  if (removed) return 0;
  if (scale) return scale->replicas;
  if (!app->scale) return app->replicas;
  return std::clamp(autoscaled.value_or(app->replicas), app->scale->min, app->scale->max);
}

bool AppWorld::is_on_demand() const {
  return app->scale && app->scale->on_demand() && !scale && !removed && !held;
}

std::string hold_text(const AppWorld& app) {
  if (app.held) return "stopped by hand";
  std::string text;
  const auto append = [&text](const std::string& part) { text += (text.empty() ? "" : "; ") + part; };
  if (app.paused) append("paused by hand");
  if (app.undone)
    append(fmt::format("rolled back by hand to revision {}, the file says {}", raw(app.revision),
                       raw(app.file_revision)));
  if (app.scale)
    append(app.app->scale ? fmt::format("scaled to {} by hand, the file says {} to {}", app.scale->replicas,
                                        app.app->scale->min, app.app->scale->max)
                          : fmt::format("scaled to {} by hand, the file says {}", app.scale->replicas,
                                        app.app->replicas));
  for (const auto& [ordinal, slot] : app.slots) {
    if (slot.held) append(to_string(slot.replica) + " stopped by hand");
    if (slot.drained) append(to_string(slot.replica) + " drained by hand");
  }
  return text;
}

namespace {
struct Count {
  int wanted = 0;
  int held = 0;
  int ready = 0;
  int completed = 0;
  int failed = 0;
  int first_start = 0;  // starting, and never ended before
  bool old = false;
};

Count count_slots(const AppWorld& app) {
  Count count;
  for (const auto& [ordinal, slot] : app.slots) {
    for (const Tenant& tenant : slot.tenants) {
      if (tenant.outdated || tenant.revision != app.revision) count.old = true;
      if (tenant.phase == Phase::starting && !slot.last_exit) ++count.first_start;
    }
    if (ordinal >= app.desired()) continue;
    ++count.wanted;
    if (slot.held) ++count.held;
    if (slot.tenants.empty() && slot.phase == Phase::completed) ++count.completed;
    if (slot.tenants.empty() && slot.phase == Phase::failed) ++count.failed;
  }
  count.ready = ready_count(app);
  return count;
}
}  // namespace

AppState app_state(const World& world, const AppWorld& app) {
  const Count count = count_slots(app);
  if (count.failed > 0 || (is_stuck(app) && !app.removed)) return AppState::failed;
  const bool updates = count.old || waits_for_jobs(app);
  if (updates && !app.removed && !app.held && !world.shutting_down) return AppState::updating;
  const bool ends = app.held || app.removed || world.shutting_down;
  if (app.paused && !ends) return AppState::paused;
  if (ends || app.desired() == 0 || count.held == count.wanted) return AppState::stopped;
  if (!app.gate_open) return AppState::waiting;
  if (count.first_start > 0) return AppState::starting;
  if (count.completed == count.wanted) return AppState::completed;
  if (count.ready + count.completed < app.desired()) return AppState::degraded;
  return AppState::ready;
}

std::string app_reason(const World& world, const AppWorld& app) {
  const AppState state = app_state(world, app);
  std::string failure = failure_text(app);
  if (state == AppState::failed && is_stuck(app)) return failure;
  if (state == AppState::ready || state == AppState::completed)
    return failure.empty() ? "" : fmt::format("{}; revision {} runs on", failure, raw(app.revision));
  if (state == AppState::waiting) return app.gate_reason;
  if (state == AppState::stopped) {
    if (world.shutting_down) return "the daemon is stopping";
    if (app.removed) return "removed from the file";
    if (app.held) return "stopped by hand";
    if (app.desired() > 0) return hold_text(app);
    return app.is_on_demand() ? "idle: the first request starts it" : "0 replicas are wanted";
  }
  if (state == AppState::paused) return "paused by hand: requests wait in the queue";
  if (state == AppState::updating && waits_for_jobs(app))
    return fmt::format("revision {} {}", raw(app.before->number), app.before->reason);
  if (state == AppState::updating)
    return failure.empty() ? fmt::format("revision {} is being rolled out", raw(app.revision))
                           : fmt::format("{}; back to revision {}", failure, raw(app.revision));
  for (const ReplicaView& view : replica_views(app)) {
    const bool fine = view.phase == Phase::ready || view.phase == Phase::completed;
    if (!fine && !view.reason.empty()) return fmt::format("{}: {}", to_string(view.replica), view.reason);
  }
  return fmt::format("{} of {} ready", ready_count(app), app.desired());
}

bool has_start_under_way(const World& world) {
  const auto is_starting = [](const AppWorld& app) {
    return std::ranges::any_of(app.slots, [](const auto& entry) {
      return std::ranges::any_of(entry.second.tenants, [](const Tenant& tenant) { return !tenant.started; });
    });
  };
  return std::ranges::any_of(world.apps, [&](const auto& entry) { return is_starting(entry.second); }) ||
         std::ranges::any_of(world.jobs, [&](const auto& entry) { return is_starting(entry.second.task); });
}

}  // namespace muster::supervisor
