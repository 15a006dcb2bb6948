#include "sim/random_spec.h"

#include <algorithm>

namespace muster::sim {

namespace {
constexpr std::size_t apps_max = 5;
constexpr std::uint16_t ports_of_an_app = 100;
}  // namespace

RandomSpec::RandomSpec(Random& random, bool with_jobs) : random_(random), with_jobs_(with_jobs) {
  const int count = random_.between(1, 3);
  for (int index = 0; index < count; ++index) {
    apps_.push_back(new_app());
    choose_after(apps_.size() - 1);
  }
  choose_listeners();
  if (!with_jobs_) return;
  const int jobs = random_.percent(50) ? random_.between(1, 2) : 0;
  for (int index = 0; index < jobs; ++index) jobs_.push_back(new_job());
}

spec::App RandomSpec::new_app() {
  // Names do not follow the order of `after`: the planner goes by name.
  spec::App result =
      app(std::string(1, static_cast<char>('a' + random_.below(26))) + std::to_string(names_++));
  result.replicas = random_.percent(10) ? 0 : random_.percent(10) ? 8 : random_.between(1, 4);
  set_run(result, "./run " + std::to_string(revisions_++));
  choose_ports(result);
  choose_health(result);
  choose_rules(result);
  if (random_.percent(15)) set_volume(result, "data");
  return result;
}

void RandomSpec::choose_ports(spec::App& app) {
  const int kind = random_.below(10);
  app.port = {};
  if (kind < 5) app.port.kind = spec::PortKind::automatic;
  if (kind >= 8) {
    app.port = spec::Port{.kind = spec::PortKind::numbered, .base = range_};
    range_ = static_cast<std::uint16_t>(range_ + ports_of_an_app);
  }
}

void RandomSpec::choose_health(spec::App& app) {
  spec::HealthCheck check;
  const int kind = random_.below(10);
  if (app.port.kind != spec::PortKind::none && kind < 6) {
    check.tcp = true;
  } else if (kind == 6) {
    check.notify = true;
  } else if (kind == 7) {
    check.log = "listening";
  } else if (kind == 8) {
    check.cmd = {spec::Template("./check")};
  } else if (kind == 9) {
    check.always = true;
  }
  check.start = random_.millis(500, 5000);
  check.fall = random_.between(1, 3);
  app.health = check;
  app.live.reset();
  if (random_.percent(20)) {
    app.live = spec::HealthCheck{};
    app.live->cmd = {spec::Template("./alive")};
    app.live->every = Millis{1000};
    app.live->fall = random_.between(1, 2);
  }
  app.watchdog.reset();
  if (random_.percent(10)) app.watchdog = random_.millis(1000, 3000);
}

void RandomSpec::choose_rules(spec::App& app) {
  const int policy = random_.below(10);
  if (policy == 0) app.restart.policy = spec::RestartPolicy::never;
  if (policy == 1) app.restart.policy = spec::RestartPolicy::on_failure;
  app.restart.backoff = random_.millis(500, 1500);
  app.restart.max_backoff = random_.millis(4000, 30000);
  app.restart.jitter = 0.25;
  app.restart.reset = random_.millis(5000, 20000);
  app.restart.max_restarts.reset();
  if (random_.percent(10)) app.restart.max_restarts = spec::RestartLimit{.count = 4, .window = Millis{30000}};
  app.stop.drain = random_.millis(0, 4000);
  app.stop.timeout = random_.millis(200, 3000);
  app.stop.exec.clear();
  if (random_.percent(15)) app.stop.exec = {spec::Template("./stop")};
  // Drawn above: what else the seeds tell stays the same.
  const auto mib = static_cast<std::uint64_t>(app.stop.drain.count() % 4);
  app.limits.memory = mib == 0 ? std::nullopt : std::optional(mib << 20U);
  choose_update(app);
}

void RandomSpec::choose_update(spec::App& app) {
  app.update = {};
  const auto share = [this](int percent_max) {
    if (random_.percent(50)) return spec::Share{random_.between(0, percent_max), true};
    return spec::Share{random_.between(0, 3), false};
  };
  if (random_.percent(40)) app.update.surge = share(150);
  if (random_.percent(40)) {
    app.update.unavailable = share(100);
    app.update.unavailable_given = true;
  }
  const int kind = random_.below(10);
  if (kind == 0) app.update.strategy = spec::UpdateStrategy::recreate;
  if (kind == 1) app.update.strategy = spec::UpdateStrategy::ordered;
  if (random_.percent(20)) app.update.min_ready = random_.millis(0, 3000);
  app.update.deadline = random_.percent(70) ? random_.millis(4000, 20000) : Millis{600000};
  app.update.rollback = random_.percent(80);
}

void RandomSpec::choose_after(std::size_t index) {
  apps_[index].after.clear();
  for (std::size_t other = 0; other < index; ++other) {
    if (!random_.percent(35)) continue;
    const auto condition = random_.percent(70) ? spec::AfterCondition::ready
                                               : static_cast<spec::AfterCondition>(random_.between(1, 3));
    set_after(apps_[index], apps_[other].name, condition);
  }
}

void RandomSpec::choose_listeners() {
  listeners_.clear();
  std::uint16_t port = 8080;
  for (const spec::App& app : apps_) {
    if (app.port.kind != spec::PortKind::none && random_.percent(75))
      listeners_.push_back(listener("l" + std::to_string(port), app.name, port));
    ++port;
  }
}

void RandomSpec::remove(std::size_t index) {
  const std::string name = apps_[index].name;
  forget_app(name);
  apps_.erase(apps_.begin() + static_cast<std::ptrdiff_t>(index));
  for (spec::App& app : apps_) {
    std::erase_if(app.after, [&](const spec::Dependency& dependency) { return dependency.app == name; });
  }
  std::erase_if(listeners_, [&](const spec::Listener& listener) { return listener.app == name; });
}

void RandomSpec::edit() {
  const int changes = random_.between(1, 3);
  for (int change = 0; change < changes; ++change) edit_once();
  if (with_jobs_ && random_.percent(15)) edit_jobs();
}

void RandomSpec::edit_once() {
  if (apps_.empty() || (apps_.size() < apps_max && random_.percent(10))) {
    apps_.push_back(new_app());
    return choose_after(apps_.size() - 1);
  }
  const auto index = static_cast<std::size_t>(random_.below(static_cast<int>(apps_.size())));
  spec::App& app = apps_[index];
  switch (random_.below(13)) {
    case 0:
    case 1:
    case 2:
      return set_run(app, "./run " + std::to_string(revisions_++));
    case 3:
    case 4:
      app.replicas = random_.between(0, 6);
      return;
    case 5:
      if (app.port.kind != spec::PortKind::numbered) return choose_ports(app);
      app.port.base = static_cast<std::uint16_t>(app.port.base / ports_of_an_app * ports_of_an_app +
                                                 random_.between(0, 3));
      return;
    case 6:
      return choose_health(app);
    case 7:
      return choose_rules(app);
    case 8:
      return choose_after(index);
    case 9:
      return choose_listeners();
    case 10:
      if (app.volumes.empty()) return set_volume(app, "data");
      return app.volumes.clear();
    case 11:
      if (random_.percent(50)) return remove(index);
      {  // a rename
        spec::App renamed = app;
        remove(index);
        renamed.name += "r";
        apps_.push_back(std::move(renamed));
        return choose_after(apps_.size() - 1);
      }
    default:
      // Two apps swap their ranges of ports; when a job lets only one of them go on, it would wait for ever.
      for (spec::App& other : apps_) {
        if (!with_jobs_ && &other != &app && other.port.kind == spec::PortKind::numbered &&
            app.port.kind == spec::PortKind::numbered)
          return std::swap(app.port.base, other.port.base);
      }
      app.env_file_vars = {{"VERSION", std::to_string(revisions_++)}};
  }
}

}  // namespace muster::sim
