#include "sim/hold_rules.h"

#include <algorithm>

#include "fmt/core.h"

namespace muster::sim {

HoldRules::Holds HoldRules::holds_of(const AppWorld& app) {
  Holds holds{.held = app.held,
              .paused = app.paused,
              .undone = app.undone,
              .scale = app.scale ? std::optional(app.scale->replicas) : std::nullopt,
              .held_ordinals = {},
              .drained_ordinals = {}};
  for (const auto& [ordinal, slot] : app.slots) {
    if (slot.held) holds.held_ordinals.insert(ordinal);
    if (slot.drained) holds.drained_ordinals.insert(ordinal);
  }
  return holds;
}

namespace {
struct Named {
  std::string operator()(const StartCommand& command) const { return command.target.app; }
  std::string operator()(const StopCommand& command) const { return command.target.app; }
  std::string operator()(const RestartCommand& command) const { return command.target.app; }
  std::string operator()(const ScaleCommand& command) const { return command.app; }
  std::string operator()(const DrainCommand& command) const { return command.target.app; }
  std::string operator()(const PauseCommand& command) const { return command.app; }
  std::string operator()(const UndoCommand& command) const { return command.app; }
  template <typename Other>
  std::string operator()(const Other&) const {
    return {};
  }
};
}  // namespace

void HoldRules::before_step(const std::vector<Event>& events) {
  asked_.clear();
  edited_.clear();
  rescaled_.clear();
  for (const Event& event : events) {
    asked_.insert(std::visit(Named{}, event));
    const auto* loaded = std::get_if<SpecLoaded>(&event);
    if (loaded == nullptr || host_.world().shutting_down) continue;
    for (const auto& [name, holds] : holds_) {
      const spec::App* before = file_ ? file_->find_app(name) : nullptr;
      const spec::App* now = loaded->spec->find_app(name);
      if (before == nullptr || now == nullptr || !(*before == *now)) edited_.insert(name);
      if (before == nullptr || now == nullptr || before->replicas != now->replicas ||
          before->scale != now->scale)
        rescaled_.insert(name);
    }
    file_ = loaded->spec;
  }
}

// Nobody asked for a change.
void HoldRules::compare(const std::string& name, const Holds& before, const Holds& now, int desired) {
  const auto broken = [&](const char* what) {
    host_.violate(fmt::format("the hold on {} is lost or made up{}: {}", name,
                              newborn_ ? " by a restart of the daemon" : "", what));
  };
  if (before.held != now.held) broken("stopped");
  if (before.paused != now.paused) broken("paused");
  if (before.scale != now.scale && !rescaled_.contains(name)) broken("scaled");
  if (before.undone != now.undone && !edited_.contains(name)) broken("rolled back by hand");
  // A slot that is scaled away forgets.
  const auto same = [desired](const std::set<int>& one, const std::set<int>& other) {
    return std::ranges::equal(one.begin(), one.lower_bound(desired), other.begin(),
                              other.lower_bound(desired));
  };
  if (!same(before.held_ordinals, now.held_ordinals)) broken("replicas stopped");
  if (!same(before.drained_ordinals, now.drained_ordinals)) broken("replicas drained");
}

void HoldRules::check_app_on_disk(const std::string& name, const AppWorld& app) {
  const auto at = host_.saved().apps.find(name);
  if (at == host_.saved().apps.end()) return host_.violate(name + " is not in the state file");
  const PersistentApp& saved = at->second;
  const Holds holds = holds_of(app);
  const char* stale = nullptr;
  if (saved.held != holds.held || saved.paused != holds.paused || saved.undone != holds.undone)
    stale = "holds";
  if (saved.scale.has_value() != app.scale.has_value() ||
      (saved.scale && saved.scale->replicas != app.scale->replicas))
    stale = "scale";
  if (saved.held_ordinals != holds.held_ordinals || saved.drained_ordinals != holds.drained_ordinals)
    stale = "holds on replicas";
  if (saved.revision != raw(app.revision) || saved.file_revision != raw(app.file_revision))
    stale = "revision";
  const bool same_history =
      std::ranges::equal(saved.history, app.history, [](const PastRevision& one, const PastRevision& other) {
        return one.number == other.number && one.failure == other.failure && one.was_ready == other.was_ready;
      });
  if (!same_history) stale = "revisions";
  for (const auto& [ordinal, slot] : app.slots) {
    const auto kept = saved.failures.find(ordinal);
    const int count = kept == saved.failures.end() ? 0 : kept->second;
    if (count < slot.failures) stale = "backoff";
  }
  if (stale != nullptr) host_.violate(fmt::format("the state file does not hold the {} of {}", stale, name));
}

// A power cut may come at any moment.
void HoldRules::check_disk() {
  if (host_.disk_stale() || host_.world().shutting_down) return;
  for (const auto& [name, app] : host_.world().apps) {
    if (!app.removed) check_app_on_disk(name, app);
  }
}

void HoldRules::after_step() {
  const World& world = host_.world();
  // As the new daemon found it: its first step may have saved already.
  const auto on_disk = [this](const std::string& name, const Holds& holds) {
    const auto at = host_.restored().apps.find(name);
    if (at == host_.restored().apps.end()) return false;
    const PersistentApp& kept = at->second;
    const auto scale = kept.scale ? std::optional(kept.scale->replicas) : std::nullopt;
    return kept.held == holds.held && kept.paused == holds.paused && kept.undone == holds.undone &&
           scale == holds.scale && kept.held_ordinals == holds.held_ordinals &&
           kept.drained_ordinals == holds.drained_ordinals;
  };
  const bool begins_anew = newborn_ && host_.mode() == RunMode::up;
  for (const auto& [name, app] : world.apps) {
    const Holds now = holds_of(app);
    const auto before = holds_.find(name);
    const bool lost_on_disk = newborn_ && before != holds_.end() && !on_disk(name, before->second);
    if (before != holds_.end() && !app.removed && !asked_.contains(name) && !begins_anew && !lost_on_disk)
      compare(name, before->second, now, app.desired());
    if (begins_anew && (now.held || now.paused || now.undone || now.scale))
      host_.violate("`up` begins with a hold on " + name);
  }
  holds_.clear();
  for (const auto& [name, app] : world.apps) {
    if (!app.removed) holds_[name] = holds_of(app);
  }
  newborn_ = false;
  check_disk();
}

}  // namespace muster::sim
