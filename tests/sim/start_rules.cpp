#include "sim/start_rules.h"

#include <algorithm>

#include "fmt/core.h"
#include "sim/true_spec.h"
#include "spec/load.h"

namespace muster::sim {

namespace {
constexpr int starts_per_minute_max =
    16;  // of one ordinal: 0, 1, 2, 4 … and the first one, with short backoffs
constexpr int starts_per_excuse = 4;
}  // namespace

// Somebody wants it to run: it may start at once, and what failed may be tried again.
void StartRules::asked(const std::string& app) {
  for (auto& [replica, starts] : starts_) {
    if (replica.app == app) starts.excuses.push_back(host_.now());
  }
  std::erase_if(failures_, [&](const auto& entry) { return entry.first.app == app; });
}

void StartRules::edited(const SpecLoaded& loaded) {
  std::set<std::string> names;  // a daemon that has just begun knows none
  for (const auto& [name, app] : host_.world().apps) names.insert(name);
  for (const spec::App& app : file_ ? file_->apps : std::vector<spec::App>{}) names.insert(app.name);
  for (const std::string& name : names) {
    const auto known = host_.world().apps.find(name);
    const bool removed = known != host_.world().apps.end() && known->second.removed;
    const spec::App* before = file_ ? file_->find_app(name) : nullptr;
    const spec::App* now = loaded.spec->find_app(name);
    const bool same = before != nullptr && now != nullptr && *before == *now && !removed;
    if (same && !loaded.retry) continue;
    asked(name);
    failed_.erase(name);
  }
  std::erase_if(failed_, [&](const auto& entry) { return loaded.spec->find_app(entry.first) == nullptr; });
  file_ = loaded.spec;
}

// Counted only where no reading of the contract can excuse it.
void StartRules::ended(InstanceId id) {
  const auto [app, slot, tenant] = find_tenant(host_.world(), id);
  if (tenant == nullptr || tenant->is_leaving() || host_.world().shutting_down) return;
  const bool current = tenant->revision == app->revision && !tenant->outdated;
  const bool alone = slot->tenants.size() == 1;
  if (!current || !alone || !wanted_by_hand_and_file(*app, *slot)) return;
  Failures& failures = failures_[tenant->replica];
  ++failures.count;
  failures.last = host_.now();
  failures.timed = true;
}

void StartRules::hear(const Event& event) {
  if (const auto* restart = std::get_if<RestartCommand>(&event)) {
    asked(restart->target.app);
  } else if (const auto* start = std::get_if<StartCommand>(&event)) {
    asked(start->target.app);
  } else if (const auto* changed = std::get_if<FilesChanged>(&event)) {
    asked(changed->app);
  } else if (const auto* undo = std::get_if<UndoCommand>(&event)) {
    asked(undo->app);
    failed_.erase(undo->app);
  } else if (const auto* pause = std::get_if<PauseCommand>(&event)) {
    const auto at = host_.world().apps.find(pause->app);
    if (at != host_.world().apps.end() && at->second.undone) failed_.erase(pause->app);
    asked(pause->app);
  } else if (const auto* scale = std::get_if<ScaleCommand>(&event)) {
    asked(scale->app);
  } else if (const auto* loaded = std::get_if<SpecLoaded>(&event)) {
    if (!host_.world().shutting_down) edited(*loaded);
  } else if (const auto* failed = std::get_if<SpawnFailed>(&event)) {
    const Found found = find_tenant(host_.world(), failed->instance);
    if (found.tenant != nullptr && failed->kind != SpawnFailure::exec)
      starts_[found.tenant->replica].excuses.push_back(host_.now());
  }
}

void StartRules::before_step(const std::vector<Event>& events) {
  // First who ended, then who asked: in one step the one may be heard after the other.
  for (const Event& event : events) {
    if (const auto* exited = std::get_if<ProcessExited>(&event)) ended(exited->instance);
    const auto* failed = std::get_if<SpawnFailed>(&event);
    if (failed != nullptr && failed->kind == SpawnFailure::exec) ended(failed->instance);
  }
  for (const Event& event : events) hear(event);
}

void StartRules::on_spawn(const Spawn& spawn) {
  if (host_.world().jobs.contains(spawn.replica.app)) return;  // job_rules
  Starts& starts = starts_[spawn.replica];
  const Instant minute_ago = host_.now() - 1min;
  while (!starts.times.empty() && starts.times.front() < minute_ago) starts.times.pop_front();
  while (!starts.excuses.empty() && starts.excuses.front() < minute_ago) starts.excuses.pop_front();
  starts.times.push_back(host_.now());
  const auto allowed = starts_per_minute_max + starts_per_excuse * std::ssize(starts.excuses);
  if (std::ssize(starts.times) > allowed)
    host_.violate(
        fmt::format("{} is started {} times within a minute", to_string(spawn.replica), starts.times.size()));

  const auto failed = failed_.find(spawn.replica.app);
  if (failed != failed_.end() && failed->second.contains(spec::revision_text(*spawn.app)))
    host_.violate(fmt::format("{} is started with revision {}, which has failed", to_string(spawn.replica),
                              raw(spawn.revision)));

  const auto at = failures_.find(spawn.replica);
  const spec::App* app = true_app(host_, spawn.replica.app);
  if (at == failures_.end() || app == nullptr || !at->second.timed) return;
  // A revision that has just come into force has a fresh backoff.
  const auto force = in_force_.find(spawn.replica.app);
  if (force == in_force_.end() || force->second != spawn.revision) return;
  const Nanos pause = pause_of(app->restart, at->second.count);
  if (host_.begin_of(spawn) < at->second.last + pause)
    host_.violate(fmt::format("{} starts without its backoff: it ended {} times in a row",
                              to_string(spawn.replica), at->second.count));
}

// Whoever goes down in order, or saves in time, hands its backoff on.
void StartRules::check_saved(const std::string& name, const AppWorld& app) {
  for (const auto& [ordinal, slot] : app.slots) {
    const ReplicaId replica{name, ordinal};
    const auto at = failures_.find(replica);
    if (at == failures_.end()) continue;
    const bool rested =
        !slot.tenants.empty() && slot.tenants.front().phase == Phase::ready &&
        host_.now() - slot.tenants.front().ready_since >= slot.tenants.front().app->restart.reset;
    const bool over = slot.tenants.empty() && (slot.phase == Phase::completed || slot.phase == Phase::failed);
    const bool unwanted = !host_.world().shutting_down && !wanted_by_hand_and_file(app, slot);
    if (rested || over || unwanted) failures_.erase(at);
  }
}

void StartRules::after_step() {
  for (const auto& [name, app] : host_.world().apps) {
    const auto [at, added] = in_force_.try_emplace(name, app.revision);
    if (at->second != app.revision) asked(name);
    at->second = app.revision;
    check_saved(name, app);
    if (app.removed || app.revision == app.file_revision || app.undone) continue;
    const PastRevision* given_up = past_revision(app, app.file_revision);
    if (given_up == nullptr || given_up->failure.empty() || newest_failed_[name] == given_up->number)
      continue;
    newest_failed_[name] = given_up->number;
    failed_[name].insert(spec::revision_text(*given_up->app));
  }
}

void StartRules::on_restart() {
  starts_.clear();
  in_force_.clear();
  // What could not be saved is not known any more.
  if (host_.mode() == RunMode::up || host_.disk_stale()) {
    failures_.clear();
    failed_.clear();
    newest_failed_.clear();
    return;
  }
  for (auto& [replica, failures] : failures_) {
    failures.timed = false;
    const auto app = host_.restored().apps.find(replica.app);
    const bool known = app != host_.restored().apps.end() && app->second.failures.contains(replica.ordinal);
    const int kept = known ? app->second.failures.at(replica.ordinal) : 0;
    if (kept < failures.count)
      host_.violate(
          fmt::format("the backoff of {} is lost by a restart of the daemon: {} ends in a row, {} kept",
                      to_string(replica), failures.count, kept));
    failures.count = std::min(failures.count, kept);
  }
}

}  // namespace muster::sim
