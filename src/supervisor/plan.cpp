#include "supervisor/plan.h"

#include <algorithm>
#include <utility>

#include "fmt/core.h"
#include "spec/load.h"
#include "supervisor/persistent.h"
#include "supervisor/rehearsal.h"

namespace muster::supervisor {

namespace {

constexpr Millis start_takes_unknown{1000};

// One value per line with its length in front, as in a revision's text: nothing can look like two.
class IdText {
 public:
  void add(std::string_view value) { text_ += fmt::format("{}:{}\n", value.size(), value); }
  void add(const std::vector<spec::Field>& fields) {
    for (const spec::Field& field : fields) {
      add(field.key);
      add(field.value);
    }
  }
  [[nodiscard]] std::string id() const { return fmt::format("{:016x}", fingerprint(text_)).substr(0, 12); }

 private:
  std::string text_;
};

// How long its replicas took the last time; the quickest, since one may have fallen out and come back.
Nanos last_start(const AppWorld& app) {
  std::optional<Nanos> quickest;
  for (const auto& [ordinal, slot] : app.slots) {
    for (const Tenant& tenant : slot.tenants) {
      if (!tenant.was_ready) continue;
      const Nanos took = tenant.ready_since - tenant.spawned_at;
      quickest = quickest ? std::min(*quickest, took) : took;
    }
  }
  return quickest.value_or(start_takes_unknown);
}

StartTakes start_takes_of(const World& world) {
  std::map<std::string, Nanos> known;
  for (const auto& [name, app] : world.apps) known[name] = last_start(app);
  return [known = std::move(known)](const spec::App& app) {
    const auto at = known.find(app.name);
    return at == known.end() ? Nanos{start_takes_unknown} : at->second;
  };
}

const AppWorld* app_now(const World& world, const std::string& name) {
  const auto at = world.apps.find(name);
  return at == world.apps.end() || at->second.removed ? nullptr : &at->second;
}

std::string strategy_text(const spec::App& app, int replicas) {
  const bool ordered = app.exclusive_slots() || app.update.strategy == spec::UpdateStrategy::ordered;
  if (app.update.strategy == spec::UpdateStrategy::recreate)
    return "recreate: all old processes end before the first new one starts";
  if (ordered) return "ordered: one after the other, each ready before the next";
  const RolloutBounds bounds = rollout_bounds(app.update, replicas, false);
  return fmt::format("rolling: surge {}, unavailable {}", bounds.surge, bounds.unavailable);
}

// What happens to one replica after the other; a start that follows an end at the same ordinal is a replacement.
std::vector<PlannedReplica> replicas_of(const Rehearsed& course, const std::string& app) {
  std::map<int, PlannedReplica> rows;
  for (const Rehearsed::End& end : course.ends) {
    if (end.replica.app != app) continue;
    const auto [at, fresh] = rows.try_emplace(end.replica.ordinal);
    if (!fresh) continue;
    at->second = PlannedReplica{.replica = end.replica,
                                .what = PlannedReplica::What::stop,
                                .from = end.revision,
                                .to = std::nullopt,
                                .at = end.at,
                                .why = end.why};
  }
  for (const Rehearsed::Start& start : course.starts) {
    if (start.replica.app != app) continue;
    const auto [at, fresh] = rows.try_emplace(start.replica.ordinal);
    PlannedReplica& row = at->second;
    if (fresh) {
      row = PlannedReplica{.replica = start.replica,
                           .what = PlannedReplica::What::start,
                           .from = std::nullopt,
                           .to = start.revision,
                           .at = start.at,
                           .why = start.why};
      continue;
    }
    if (row.what == PlannedReplica::What::stop) row.what = PlannedReplica::What::replace;
    row.to = start.revision;
    row.at = std::min(row.at, start.at);
  }
  std::vector<PlannedReplica> ordered;
  ordered.reserve(rows.size());
  for (auto& [ordinal, row] : rows) ordered.push_back(std::move(row));
  std::ranges::stable_sort(ordered, {}, &PlannedReplica::at);
  return ordered;
}

PlannedApp plan_app(const World& world, const std::string& name, const spec::App* fresh,
                    const Rehearsed& course) {
  PlannedApp plan;
  plan.name = name;
  const AppWorld* app = app_now(world, name);
  if (app != nullptr) {
    plan.revision = app->revision;
    plan.ready = ready_count(*app);
  }
  if (app == nullptr) {
    plan.change = PlannedChange::added;
  } else if (fresh == nullptr) {
    plan.change = PlannedChange::removed;
  } else {
    plan.fields = spec::changed_fields(spec::fields_of(*app->file), spec::fields_of(*fresh));
    if (!plan.fields.empty()) plan.change = PlannedChange::changed;
    plan.hold = hold_text(*app);
    if (plan.change == PlannedChange::none) plan.failure = failure_text(*app);
  }
  plan.replicas = replicas_of(course, name);
  plan.next_revision = plan.revision.value_or(Revision{1});
  if (const auto at = course.apps.find(name); at != course.apps.end()) {
    plan.next_revision = at->second.revision;
    plan.ready_min = at->second.ready_min;
    if (fresh != nullptr) plan.wanted = at->second.wanted;
    plan.takes = at->second.settled;
  }
  const bool replaces = std::ranges::any_of(
      plan.replicas, [](const PlannedReplica& row) { return row.what == PlannedReplica::What::replace; });
  if (fresh != nullptr && replaces) plan.strategy = strategy_text(*fresh, plan.wanted);
  return plan;
}

// Runs by a schedule come anyway.
std::vector<PlannedJob> plan_jobs(const World& world, const spec::Spec& fresh, const Rehearsed& course) {
  std::vector<PlannedJob> plans;
  for (const spec::Job& job : fresh.jobs) {
    const spec::Job* old = world.spec ? world.spec->find_job(job.name()) : nullptr;
    PlannedJob plan{.name = job.name(), .change = PlannedChange::added, .fields = {}, .runs = {}};
    if (old != nullptr) {
      plan.fields = spec::changed_fields(spec::fields_of(*old), spec::fields_of(job));
      plan.change = plan.fields.empty() ? PlannedChange::none : PlannedChange::changed;
    }
    for (const Rehearsed::Start& run : course.job_runs) {
      if (run.replica.app == job.name() && !run.why.starts_with("due at ")) plan.runs.push_back(run.why);
    }
    if (plan.change != PlannedChange::none || !plan.runs.empty()) plans.push_back(std::move(plan));
  }
  if (!world.spec) return plans;
  for (const spec::Job& job : world.spec->jobs) {
    if (fresh.find_job(job.name()) == nullptr)
      plans.push_back({.name = job.name(), .change = PlannedChange::removed, .fields = {}, .runs = {}});
  }
  return plans;
}

std::vector<PlannedListener> plan_listeners(const World& world, const spec::Spec& fresh) {
  std::vector<PlannedListener> plans;
  const auto before = [&](const std::string& name) {
    return world.spec ? world.spec->find_listener(name) : nullptr;
  };
  for (const spec::Listener& listener : fresh.listeners) {
    const spec::Listener* old = before(listener.name);
    PlannedListener plan{.name = listener.name, .change = PlannedChange::added, .fields = {}};
    plan.fields = spec::changed_fields(old == nullptr ? std::vector<spec::Field>{} : spec::fields_of(*old),
                                       spec::fields_of(listener));
    if (old != nullptr) plan.change = PlannedChange::changed;
    if (!plan.fields.empty()) plans.push_back(std::move(plan));
  }
  if (!world.spec) return plans;
  for (const spec::Listener& listener : world.spec->listeners) {
    if (fresh.find_listener(listener.name) == nullptr)
      plans.push_back({.name = listener.name, .change = PlannedChange::removed, .fields = {}});
  }
  return plans;
}

// What the daemon is about without the edit, a start after a pause, say, is no part of what the edit changes.
void leave_out_what_comes_anyway(Plan& plan, const Planner& planner, Now now) {
  const auto is_unchanged = [](const PlannedApp& app) {
    return app.change == PlannedChange::none && !app.replicas.empty();
  };
  if (std::ranges::none_of(plan.apps, is_unchanged)) return;
  const World& world = planner.world();
  const Rehearsed without = rehearse(planner, world.spec, now, start_takes_of(world));
  for (PlannedApp& app : plan.apps) {
    if (!is_unchanged(app)) continue;
    const std::vector<PlannedReplica> anyway = replicas_of(without, app.name);
    std::erase_if(app.replicas, [&](const PlannedReplica& row) {
      return std::ranges::find(anyway, row.replica, &PlannedReplica::replica) != anyway.end();
    });
  }
}

bool worth_telling(const PlannedApp& app) {
  return app.change != PlannedChange::none || !app.replicas.empty() || !app.hold.empty() ||
         !app.failure.empty();
}

}  // namespace

std::string plan_id(const World& world, const spec::Spec& spec) {
  IdText text;
  text.add(spec.path);
  for (const spec::App& app : spec.apps) {
    text.add("app " + app.name);
    text.add(spec::fields_of(app));
  }
  for (const spec::Job& job : spec.jobs) {
    text.add("job " + job.name());
    text.add(spec::fields_of(job));
  }
  for (const spec::Listener& listener : spec.listeners) {
    text.add("listener " + listener.name);
    text.add(spec::fields_of(listener));
  }
  text.add("daemon");
  text.add(spec::fields_of(spec.daemon));
  for (const auto& [name, app] : world.apps) {
    if (app.removed) continue;
    text.add(fmt::format("now {} {} {}", name, raw(app.revision), raw(app.file_revision)));
    text.add(spec::fields_of(*app.file));
    text.add(hold_text(app));
    text.add(failure_text(app));
  }
  return text.id();
}

bool Plan::changes() const {
  return !listeners.empty() || !jobs.empty() || !daemon.empty() ||
         std::ranges::any_of(apps, [](const PlannedApp& app) {
           return app.change != PlannedChange::none || !app.replicas.empty() || !app.failure.empty();
         });
}

Plan make_plan(const Planner& planner, const std::shared_ptr<const spec::Spec>& spec, Now now,
               std::vector<Drift> drift) {
  const World& world = planner.world();
  Plan plan;
  plan.id = plan_id(world, *spec);
  plan.spec_path = spec->path;
  plan.spec_revision = world.spec_revision;
  plan.drift = std::move(drift);
  const Rehearsed course = rehearse(planner, spec, now, start_takes_of(world));
  plan.whole = course.whole;
  std::map<std::string, const spec::App*> names;
  for (const auto& [name, app] : world.apps) {
    if (!app.removed) names[name] = nullptr;
  }
  for (const spec::App& app : spec->apps) names[app.name] = &app;
  for (const auto& [name, fresh] : names) plan.apps.push_back(plan_app(world, name, fresh, course));
  if (world.spec) leave_out_what_comes_anyway(plan, planner, now);
  std::erase_if(plan.apps, [](const PlannedApp& app) { return !worth_telling(app); });
  plan.jobs = plan_jobs(world, *spec, course);
  plan.listeners = plan_listeners(world, *spec);
  plan.daemon = world.spec
                    ? spec::changed_fields(spec::fields_of(world.spec->daemon), spec::fields_of(spec->daemon))
                    : std::vector<spec::FieldChange>{};
  return plan;
}

std::string plan_summary(const Plan& plan) {
  int start = 0;
  int replace = 0;
  int stop = 0;
  bool failed = false;
  for (const PlannedApp& app : plan.apps) {
    failed = failed || !app.failure.empty();
    for (const PlannedReplica& row : app.replicas) {
      ++(row.what == PlannedReplica::What::start     ? start
         : row.what == PlannedReplica::What::replace ? replace
                                                     : stop);
    }
  }
  std::string text;
  const auto add = [&text](int count, std::string_view what) {
    if (count > 0) text += fmt::format("{}{} to {}", text.empty() ? "" : ", ", count, what);
  };
  add(start, "start");
  add(replace, "replace");
  add(stop, "stop");
  const auto runs = std::ranges::count_if(plan.jobs, [](const PlannedJob& job) { return !job.runs.empty(); });
  if (runs > 0)
    text += fmt::format("{}{} job{} to run", text.empty() ? "" : ", ", runs, runs == 1 ? "" : "s");
  if (!text.empty()) return text;
  if (!plan.changes()) return "nothing to do";
  return failed ? "nothing is done: what failed is not tried again unasked"
                : "no process is touched: everything applies live";
}

}  // namespace muster::supervisor
