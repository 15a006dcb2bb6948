#include "sim/rollout_rules.h"

#include <algorithm>

#include "fmt/core.h"
#include "sim/true_spec.h"
#include "spec/load.h"

namespace muster::sim {

namespace {
// Processes beyond one an ordinal, and those of ordinals that nobody wants. One that is to be started again beside an old
// one keeps its place meanwhile, also when an edit lowers the surge.
int extras(const AppWorld& app) {
  int count = 0;
  for (const auto& [ordinal, slot] : app.slots) {
    const auto staying =
        std::ranges::count_if(slot.tenants, [](const Tenant& tenant) { return !tenant.is_leaving(); });
    const bool keeps_place = slot.phase == Phase::backoff || ordinal >= app.desired();
    count += static_cast<int>(keeps_place ? staying : std::max<std::ptrdiff_t>(0, staying - 1));
  }
  return count;
}

bool one_by_one(const AppWorld& app) {
  return app.app->exclusive_slots() || std::ranges::any_of(app.slots, [](const auto& entry) {
           return std::ranges::any_of(entry.second.tenants,
                                      [](const Tenant& tenant) { return tenant.app->exclusive_slots(); });
         });
}

bool moved_ports(const spec::App& a, const spec::App& b) {
  return !(a.port == b.port) || a.ports != b.ports;
}

bool serves(const Slot& slot) {
  return slot.phase == Phase::completed || std::ranges::any_of(slot.tenants, fit);
}
}  // namespace

void RolloutRules::before_step(const std::vector<Event>& events) {
  at_once_.clear();
  for (const Event& event : events) {
    const auto* restart = std::get_if<RestartCommand>(&event);
    if (restart != nullptr && (restart->at_once || restart->target.ordinal))
      at_once_.insert(restart->target.app);
  }
}

void RolloutRules::on_restart() {
  before_.clear();
  fit_.clear();
}

// live <= wanted + surge. Where an edit lowers the bound, what is there may leave in its time.
void RolloutRules::check_surge(const std::string& name, const AppWorld& app, const spec::App& file) {
  const int now = extras(app);
  const int surge = surge_of(file.update, app.desired());
  if (now > surge && now > before_[name].extras)
    host_.violate(fmt::format("{} has {} processes more than are wanted, the surge is {}", name, now, surge));
}

// ready >= wanted - unavailable, by its own doing.
void RolloutRules::check_ready(const AppWorld& app, const spec::App& file, const Tenant& tenant) {
  // One that fell in this very step was taken by a fault, and goes first.
  const bool fell =
      tenant.said_stopping || (health::probed(tenant.app->health) && !tenant.ready_verdict.healthy());
  if (!fit_.contains(tenant.id) || fell || tenant.leaving != Leaving::replaced) return;
  const auto place = app.slots.find(tenant.replica.ordinal);
  if (place != app.slots.end() && serves(place->second)) return;  // its heir is there
  if (at_once_.contains(file.name)) return;
  // The heirs of a moved range may need the ports of the ready ones.
  if (moved_ports(*tenant.app, *app.app)) return;
  int wanted = 0;
  int have = 0;
  for (const auto& [ordinal, slot] : app.slots) {
    if (!wanted_by_hand_and_file(app, slot)) continue;
    ++wanted;
    if (serves(slot)) ++have;
  }
  if (have < wanted - unavailable_of(file.update, app.desired(), one_by_one(app)))
    host_.violate(fmt::format("the update takes {} (instance {}) away and leaves {} ready of {}",
                              to_string(tenant.replica), raw(tenant.id), have, wanted));
}

void RolloutRules::check_deadline(const std::string& name, const AppWorld& app, const spec::App& file) {
  if (!app.rollout || !app.rollout->judged || app.rollout->done || host_.world().shutting_down) return;
  if (host_.now() < app.rollout->progress + file.update.deadline) return;
  host_.violate(fmt::format("revision {} of {} makes no progress within its deadline and is not given up",
                            raw(app.revision), name));
}

// What fails goes back, where there is something to go back to and the file does not forbid it.
void RolloutRules::check_failure(const std::string& name, const AppWorld& app, const spec::App& file) {
  const Before& before = before_[name];
  const PastRevision* was = past_revision(app, before.revision);
  if (was == nullptr || was->failure.empty() || before.failed) return;
  const bool ports_lost = was->failure.find("the ports of") != std::string::npos;
  if (!file.update.rollback || ports_lost) return;
  const std::string text = spec::revision_text(*was->app);
  const bool has_fallback = std::ranges::any_of(app.history, [&](const PastRevision& past) {
    return past.was_ready && past.failure.empty() && spec::revision_text(*past.app) != text;
  });
  if (!has_fallback) return;
  if (app.revision == before.revision)
    host_.violate(fmt::format("revision {} of {} failed and is not rolled back", raw(app.revision), name));
}

void RolloutRules::check_history(const std::string& name, const AppWorld& app) {
  const PastRevision* mine = past_revision(app, app.revision);
  if (mine == nullptr || past_revision(app, app.file_revision) == nullptr)
    return host_.violate(name + " has forgotten what it runs or what the file says");
  if (app.history.size() > limits::revisions_kept_max)
    host_.violate(fmt::format("{} remembers {} revisions", name, app.history.size()));
  const bool went_back = app.revision != app.file_revision;
  if (went_back && !app.undone && failure_text(app).empty() && !waits_for_jobs(app))
    host_.violate(name + " runs another revision than the file says, and does not say why");
}

void RolloutRules::after_step() {
  for (const auto& [name, app] : host_.world().apps) {
    const spec::App* file = true_app(host_, name);
    if (app.removed || file == nullptr) continue;
    check_history(name, app);
    check_surge(name, app, *file);
    check_deadline(name, app, *file);
    check_failure(name, app, *file);
    for (const auto& [ordinal, slot] : app.slots) {
      for (const Tenant& tenant : slot.tenants) check_ready(app, *file, tenant);
    }
  }
  before_.clear();
  fit_.clear();
  for (const auto& [name, app] : host_.world().apps) {
    before_[name] = Before{.extras = extras(app), .revision = app.revision, .failed = is_stuck(app)};
    for (const auto& [ordinal, slot] : app.slots) {
      for (const Tenant& tenant : slot.tenants) {
        if (fit(tenant)) fit_.insert(tenant.id);
      }
    }
  }
}

}  // namespace muster::sim
