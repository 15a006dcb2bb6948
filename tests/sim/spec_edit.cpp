#include "sim/spec_edit.h"

#include <algorithm>

namespace muster::sim {

void for_each_spec(const Scenario& scenario, const std::function<void(const spec::Spec&)>& look) {
  look(*scenario.first);
  for (const Step& step : scenario.steps) {
    if (const auto* load = std::get_if<LoadFile>(&step.deed)) look(*load->spec);
    const auto* again = std::get_if<RestartDaemon>(&step.deed);
    if (again != nullptr && again->file) look(*again->file);
  }
}

void change_specs(Scenario& scenario, const std::function<void(spec::Spec&)>& change) {
  const auto changed = [&](const std::shared_ptr<const spec::Spec>& stack) {
    auto copy = std::make_shared<spec::Spec>(*stack);
    change(*copy);
    return std::shared_ptr<const spec::Spec>(std::move(copy));
  };
  scenario.first = changed(scenario.first);
  for (Step& step : scenario.steps) {
    if (auto* load = std::get_if<LoadFile>(&step.deed)) load->spec = changed(load->spec);
    auto* again = std::get_if<RestartDaemon>(&step.deed);
    if (again != nullptr && again->file) again->file = changed(again->file);
  }
}

namespace {
void forget(spec::App& app, const std::string& name) {
  std::erase_if(app.after, [&](const spec::Dependency& needed) { return needed.app == name; });
}
}  // namespace

void remove_app(spec::Spec& stack, const std::string& name) {
  std::erase_if(stack.apps, [&](const spec::App& app) { return app.name == name; });
  for (spec::App& app : stack.apps) forget(app, name);
  for (spec::Job& job : stack.jobs) {
    forget(job.task, name);
    std::erase(job.before, name);
  }
  std::erase_if(stack.listeners, [&](const spec::Listener& listener) { return listener.app == name; });
}

void remove_job(spec::Spec& stack, const std::string& name) {
  std::erase_if(stack.jobs, [&](const spec::Job& job) { return job.name() == name; });
  for (spec::App& app : stack.apps) forget(app, name);
}

const std::vector<std::function<void(spec::App&)>>& simplifications() {
  static const std::vector<std::function<void(spec::App&)>> all{
      [](spec::App& app) { app.replicas = std::min(app.replicas, 1); },
      [](spec::App& app) { app.replicas = std::min(app.replicas, 2); },
      [](spec::App& app) { app.replicas = std::min(app.replicas, 3); },
      [](spec::App& app) { app.after.clear(); },
      [](spec::App& app) { app.live.reset(); },
      [](spec::App& app) { app.watchdog.reset(); },
      [](spec::App& app) { app.limits = {}; },
      [](spec::App& app) { app.health = spec::HealthCheck{}; },
      [](spec::App& app) { app.update = spec::Update{}; },
      [](spec::App& app) { app.restart = spec::Restart{}; },
      [](spec::App& app) { app.stop = spec::Stop{}; },
      [](spec::App& app) { app.volumes.clear(); },
      [](spec::App& app) { app.port = spec::Port{}; },
      [](spec::App& app) { app.env_file_vars.clear(); },
      [](spec::App& app) { app.update.min_ready = Millis{0}; },
      [](spec::App& app) { app.update.rollback = true; },
  };
  return all;
}

const std::vector<std::function<void(spec::Job&)>>& job_simplifications() {
  static const std::vector<std::function<void(spec::Job&)>> all{
      [](spec::Job& job) { job.schedule.reset(); },
      [](spec::Job& job) { job.before.clear(); },
      [](spec::Job& job) { job.overlap = spec::Overlap::forbid; },
      [](spec::Job& job) { job.retries = 0; },
      [](spec::Job& job) { job.timeout.reset(); },
      [](spec::Job& job) { job.task.after.clear(); },
      [](spec::Job& job) { job.task.volumes.clear(); },
      [](spec::Job& job) { job.task.restart = spec::Restart{}; },
      [](spec::Job& job) { job.task.stop = spec::Stop{}; },
  };
  return all;
}

}  // namespace muster::sim
