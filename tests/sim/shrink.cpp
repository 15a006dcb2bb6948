#include "sim/shrink.h"

#include <algorithm>
#include <functional>
#include <set>

#include "sim/spec_edit.h"

namespace muster::sim {

std::string kind_of(const std::string& violation) {
  std::string kind;
  std::string word;
  const auto flush = [&] {
    const bool named = std::ranges::any_of(word, [](char c) { return c >= '0' && c <= '9'; });
    if (!named && !word.empty()) kind += (kind.empty() ? "" : " ") + word;
    word.clear();
  };
  for (const char c : violation) {
    if (c == ':') break;
    if (c == ' ') {
      flush();
    } else {
      word += c;
    }
  }
  flush();
  return kind;
}

namespace {

class Shrinker {
 public:
  Shrinker(Scenario scenario, std::string violation, const Plant& plant, int runs_max)
      : best_(std::move(scenario)),
        violation_(std::move(violation)),
        kind_(kind_of(violation_)),
        plant_(plant),
        runs_left_(runs_max) {}

  Shrunk shrink() {
    const int all = runs_left_;
    for (bool smaller = true; smaller && runs_left_ > 0;) {
      smaller = drop_steps();
      smaller = drop_oddities() || smaller;
      smaller = drop_named(&spec::Spec::apps, remove_app) || smaller;
      smaller = drop_named(&spec::Spec::jobs, remove_job) || smaller;
      smaller = simplify_all() || smaller;
      smaller = shorten() || smaller;
    }
    return {.scenario = best_, .violation = violation_, .runs = all - runs_left_};
  }

 private:
  // Keeps it when it breaks the same.
  bool accept(Scenario smaller) {
    if (runs_left_-- <= 0) return false;
    RunResult result = run(smaller, {.plant = plant_});
    if (kind_of(result.violation) != kind_) return false;
    best_ = std::move(smaller);
    violation_ = std::move(result.violation);
    return true;
  }

  // Delta debugging: ever smaller pieces are left out. `remove(scenario, from, to)` leaves out that range of `size`.
  bool drop(const std::function<std::size_t()>& size,
            const std::function<void(Scenario&, std::size_t, std::size_t)>& remove) {
    bool any = false;
    for (std::size_t piece = std::max<std::size_t>(1, size() / 2); size() > 0; piece /= 2) {
      for (std::size_t end = size(); end > 0 && runs_left_ > 0;) {
        const std::size_t from = end > piece ? end - piece : 0;
        Scenario smaller = best_;
        remove(smaller, from, end);
        if (accept(std::move(smaller))) any = true;
        end = std::min(from, size());
      }
      if (piece == 1) break;
    }
    return any;
  }

  bool drop_steps() {
    return drop([this] { return best_.steps.size(); },
                [](Scenario& scenario, std::size_t from, std::size_t to) {
                  Nanos lost{0};  // what follows stays where it was
                  for (std::size_t index = from; index < to; ++index) lost += scenario.steps[index].after;
                  scenario.steps.erase(scenario.steps.begin() + static_cast<std::ptrdiff_t>(from),
                                       scenario.steps.begin() + static_cast<std::ptrdiff_t>(to));
                  if (from < scenario.steps.size()) scenario.steps[from].after += lost;
                });
  }

  template <typename Map>
  bool drop_from(Map Oddities::*map) {
    return drop([this, map] { return (best_.oddities.*map).size(); },
                [map](Scenario& scenario, std::size_t from, std::size_t to) {
                  Map& all = scenario.oddities.*map;
                  all.erase(std::next(all.begin(), static_cast<std::ptrdiff_t>(from)),
                            std::next(all.begin(), static_cast<std::ptrdiff_t>(to)));
                });
  }

  bool drop_oddities() {
    bool any = drop_from(&Oddities::swaps);
    any = drop_from(&Oddities::probes) || any;
    any = drop_from(&Oddities::starts) || any;
    if (best_.workers > 1) {
      Scenario smaller = best_;
      smaller.workers = 1;
      any = accept(std::move(smaller)) || any;
    }
    if (best_.settles) {
      Scenario smaller = best_;
      smaller.settles = false;
      any = accept(std::move(smaller)) || any;
    }
    return any;
  }

  static const std::string& name_of(const spec::App& app) { return app.name; }
  static const std::string& name_of(const spec::Job& job) { return job.name(); }

  // Of all apps or of all jobs.
  template <typename Thing>
  [[nodiscard]] std::set<std::string> names(std::vector<Thing> spec::Spec::*things) const {
    std::set<std::string> found;
    for_each_spec(best_, [&](const spec::Spec& stack) {
      for (const Thing& thing : stack.*things) found.insert(name_of(thing));
    });
    return found;
  }

  template <typename Thing>
  bool drop_named(std::vector<Thing> spec::Spec::*things, void (*remove)(spec::Spec&, const std::string&)) {
    bool any = false;
    for (const std::string& name : names(things)) {
      Scenario smaller = best_;
      change_specs(smaller, [&](spec::Spec& stack) { remove(stack, name); });
      std::erase_if(smaller.steps, [&](const Step& step) { return app_of(step.deed) == name; });
      any = accept(std::move(smaller)) || any;
    }
    return any;
  }

  // `simpler` says whether it changed anything.
  template <typename Thing>
  bool simplify(std::vector<Thing> spec::Spec::*things, const std::string& name,
                const std::function<void(Thing&)>& simpler) {
    Scenario smaller = best_;
    bool changed = false;
    change_specs(smaller, [&](spec::Spec& stack) {
      for (Thing& thing : stack.*things) {
        if (name_of(thing) != name) continue;
        const Thing before = thing;
        simpler(thing);
        changed = changed || !(before == thing);
      }
    });
    return changed && accept(std::move(smaller));
  }

  template <typename Thing>
  bool simplify_each(std::vector<Thing> spec::Spec::*things,
                     const std::vector<std::function<void(Thing&)>>& simplers) {
    bool any = false;
    for (const std::string& name : names(things)) {
      for (const auto& simpler : simplers) any = simplify(things, name, simpler) || any;
    }
    return any;
  }

  bool simplify_all() {
    bool any = simplify_each(&spec::Spec::apps, simplifications());
    any = simplify_each(&spec::Spec::jobs, job_simplifications()) || any;
    Scenario smaller = best_;
    bool has_listeners = false;
    change_specs(smaller, [&](spec::Spec& stack) {
      has_listeners = has_listeners || !stack.listeners.empty();
      stack.listeners.clear();
    });
    return (has_listeners && accept(std::move(smaller))) || any;
  }

  bool shorten() {
    bool any = false;
    for (std::size_t index = 0; index < best_.steps.size(); ++index) {
      const Nanos length = best_.steps[index].after;
      for (const Nanos shorter : {Nanos{0}, Nanos{length / 1s * 1s}, Nanos{length / 100ms * 100ms}}) {
        if (shorter >= best_.steps[index].after) continue;
        Scenario smaller = best_;
        smaller.steps[index].after = shorter;
        if (accept(std::move(smaller))) any = true;
      }
    }
    return any;
  }

  Scenario best_;
  std::string violation_;
  std::string kind_;
  const Plant& plant_;
  int runs_left_;
};
}  // namespace

Shrunk shrink(const Scenario& broken, const Plant& plant, int runs_max) {
  // What was drawn is written down first: from then on each part of it stands for itself.
  Scenario scripted = broken;
  const RunResult first =
      run(broken, {.plant = plant, .record = broken.drawn ? &scripted.oddities : nullptr});
  scripted.drawn = false;
  const bool same = kind_of(run(scripted, {.plant = plant}).violation) == kind_of(first.violation);
  return Shrinker(same ? std::move(scripted) : broken, first.violation, plant, runs_max).shrink();
}

}  // namespace muster::sim
