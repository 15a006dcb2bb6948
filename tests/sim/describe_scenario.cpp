// A scenario for people: enough to understand what went wrong, and to write a unit test of it.
#include "fmt/core.h"
#include "sim/scenario.h"

namespace muster::sim {

namespace {
std::string share(const spec::Share& share) {
  return share.percent ? fmt::format("\"{}%\"", share.value) : std::to_string(share.value);
}

class Table {
 public:
  explicit Table(const std::string& name, const char* kind = "app")
      : text_(fmt::format("  [{}.{}]", kind, name)) {}
  template <typename... Values>
  void add(fmt::format_string<Values...> format, Values&&... values) {
    text_ += "  " + fmt::format(format, std::forward<Values>(values)...);
  }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_;
};

std::string check_words(const spec::HealthCheck& check) {
  if (check.always) return "none";
  if (check.tcp) return "tcp";
  if (check.notify) return "notify";
  if (check.log) return "log:" + *check.log;
  return check.cmd.empty() ? "alive for " + say_length(check.alive_for) : "cmd";
}

void add_health(Table& table, const spec::App& app) {
  const spec::HealthCheck usual;
  table.add("health = \"{}\"", check_words(app.health));
  if (app.health.fall != usual.fall) table.add("fall = {}", app.health.fall);
  if (app.health.start != usual.start) table.add("start = \"{}\"", say_length(app.health.start));
  if (app.live) table.add("live = \"{}, fall {}\"", check_words(*app.live), app.live->fall);
  if (app.watchdog) table.add("watchdog = \"{}\"", say_length(*app.watchdog));
  if (app.limits.memory) table.add("limits = {{ memory = \"{}MiB\" }}", *app.limits.memory >> 20U);
}

void add_after(Table& table, const spec::App& app) {
  constexpr std::array words{"ready", "started", "completed", "completed-ok"};
  for (const spec::Dependency& needed : app.after)
    table.add("after.{} = \"{}\"", needed.app, words.at(static_cast<std::size_t>(needed.condition)));
}

void add_update(Table& table, const spec::Update& update) {
  const spec::Update usual;
  if (update == usual) return;
  constexpr std::array words{"rolling", "recreate", "ordered"};
  table.add("update = {{ strategy = \"{}\", surge = {}", words.at(static_cast<std::size_t>(update.strategy)),
            share(update.surge));
  if (update.unavailable_given) table.add("unavailable = {}", share(update.unavailable));
  if (update.min_ready != usual.min_ready) table.add("min_ready = \"{}\"", say_length(update.min_ready));
  if (update.deadline != usual.deadline) table.add("deadline = \"{}\"", say_length(update.deadline));
  if (!update.rollback) table.add("rollback = false");
  table.add("}}");
}

void add_restart(Table& table, const spec::Restart& restart) {
  constexpr std::array words{"always", "on-failure", "never"};
  const spec::Restart usual;
  if (restart.policy != usual.policy)
    table.add("restart = \"{}\"", words.at(static_cast<std::size_t>(restart.policy)));
  if (restart.backoff != usual.backoff || restart.max_backoff != usual.max_backoff)
    table.add("backoff = \"{} to {}\"", say_length(restart.backoff), say_length(restart.max_backoff));
  if (restart.reset != usual.reset) table.add("reset = \"{}\"", say_length(restart.reset));
  if (restart.max_restarts)
    table.add("max_restarts = \"{} in {}\"", restart.max_restarts->count,
              say_length(restart.max_restarts->window));
}

void add_stop(Table& table, const spec::Stop& stop) {
  const spec::Stop usual;
  if (stop.drain != usual.drain) table.add("drain = \"{}\"", say_length(stop.drain));
  if (stop.timeout != usual.timeout) table.add("stop.timeout = \"{}\"", say_length(stop.timeout));
  if (!stop.exec.empty()) table.add("stop.exec");
}

std::string describe_job(const spec::Job& job) {
  constexpr std::array overlaps{"forbid", "allow", "replace"};
  Table table(job.name(), "job");
  table.add("run = \"{}\"", job.task.run.front().text());
  if (job.schedule) table.add("schedule = \"{}\"", job.schedule->text);
  for (const std::string& app : job.before) table.add("before = \"{}\"", app);
  if (job.overlap != spec::Overlap::forbid)
    table.add("overlap = \"{}\"", overlaps.at(static_cast<std::size_t>(job.overlap)));
  if (job.retries > 0) table.add("retries = {}", job.retries);
  if (job.timeout) table.add("timeout = \"{}\"", say_length(*job.timeout));
  for (const spec::Volume& volume : job.task.volumes) table.add("volume = \"{}\"", volume.name);
  add_after(table, job.task);
  add_restart(table, job.task.restart);
  add_stop(table, job.task.stop);
  return table.text();
}

std::string describe_stack(const spec::Spec& stack) {
  std::string text;
  for (const spec::App& app : stack.apps) text += sim::describe(app) + "\n";
  for (const spec::Job& job : stack.jobs) text += describe_job(job) + "\n";
  for (const spec::Listener& listener : stack.listeners)
    text += fmt::format("  [listen.{}]  to = \"{}\"\n", listener.name, listener.app);
  return text;
}

// What became of the apps, as far as they changed.
std::string changes(const spec::Spec& before, const spec::Spec& now) {
  std::string text;
  for (const spec::App& app : now.apps) {
    const spec::App* was = before.find_app(app.name);
    if (was == nullptr || !(*was == app)) text += "              " + sim::describe(app) + "\n";
  }
  for (const spec::App& app : before.apps) {
    if (now.find_app(app.name) == nullptr) text += fmt::format("                without {}\n", app.name);
  }
  for (const spec::Job& job : now.jobs) {
    const spec::Job* was = before.find_job(job.name());
    if (was == nullptr || !(*was == job)) text += "              " + describe_job(job) + "\n";
  }
  for (const spec::Job& job : before.jobs) {
    if (now.find_job(job.name()) == nullptr)
      text += fmt::format("                without job {}\n", job.name());
  }
  if (!(before.listeners == now.listeners)) {
    text += "                listeners to:";
    for (const spec::Listener& listener : now.listeners) text += " " + listener.app;
    text += "\n";
  }
  return text;
}

std::string conduct_words(const Conduct& conduct) {
  std::string text;
  const auto add = [&text](const std::string& words) { text += (text.empty() ? "" : ", ") + words; };
  if (conduct.start_takes > 10ms) add("takes " + say_length(conduct.start_takes) + " to start");
  if (conduct.fails) add(fmt::format("fails with {}", start_fault_row(*conduct.fails).word));
  if (conduct.never_healthy) {
    add("is never healthy");
  } else if (conduct.healthy_after > 100ms) {
    add("is healthy after " + say_length(conduct.healthy_after));
  }
  if (conduct.exits_after)
    add(fmt::format("{} after {}", supervisor::describe(conduct.exit), say_length(*conduct.exits_after)));
  if (conduct.ignores_signal) add("ignores the signal");
  if (conduct.signal_takes > 5ms) add("takes " + say_length(conduct.signal_takes) + " to end");
  if (conduct.tree_outlives) add("leaves children");
  if (conduct.kills_needed > 1) add(fmt::format("needs {} kills", conduct.kills_needed));
  if (conduct.stop_command_takes > 5ms) add("stop command takes " + say_length(conduct.stop_command_takes));
  if (!conduct.in_flight) add("is never idle");
  if (conduct.in_flight && *conduct.in_flight > Nanos{0})
    add("is idle after " + say_length(*conduct.in_flight));
  return text;
}

// "web/1, start 2 (of daemon 2)".
std::string turn(int life, const ReplicaId& replica, const char* what, int nth) {
  return fmt::format("{}, {} {}{}", to_string(replica), what, nth + 1,
                     life > 1 ? fmt::format(" of daemon {}", life) : "");
}

std::string describe_oddities(const Oddities& oddities) {
  std::string text;
  for (const auto& [key, conduct] : oddities.starts) {
    const auto& [life, replica, nth] = key;
    text += fmt::format("  {}: {}\n", turn(life, replica, "start", nth), conduct_words(conduct));
  }
  for (const auto& [key, conduct] : oddities.probes) {
    const auto& [life, replica, nth] = key;
    text += fmt::format("  {}: {}\n", turn(life, replica, "probe", nth),
                        conduct.lost ? "is lost" : "takes " + say_length(conduct.takes));
  }
  for (const auto& [key, takes] : oddities.swaps) {
    const auto& [life, nth] = key;
    text += fmt::format("  snapshot taken {}{}: after {}\n", nth + 1,
                        life > 1 ? fmt::format(" in daemon {}", life) : "", say_length(takes));
  }
  return text;
}
}  // namespace

std::string describe(const spec::App& app) {
  Table table(app.name);
  table.add("run = \"{}\"", app.run.front().text());
  table.add("replicas = {}", app.replicas);
  if (app.port.kind == spec::PortKind::numbered) table.add("port = {}", app.port.base);
  if (app.port.kind == spec::PortKind::automatic) table.add("port = \"auto\"");
  for (const spec::Volume& volume : app.volumes) table.add("volume = \"{}\"", volume.name);
  add_health(table, app);
  add_after(table, app);
  add_update(table, app.update);
  add_restart(table, app.restart);
  add_stop(table, app.stop);
  return table.text();
}

std::string describe(const Scenario& scenario) {
  std::string text = fmt::format("seed {}, `{}`, {} traffic thread(s)\n{}", scenario.seed,
                                 scenario.mode == RunMode::up ? "up" : "daemon", scenario.workers,
                                 describe_stack(*scenario.first));
  Nanos at{0};
  std::shared_ptr<const spec::Spec> file = scenario.first;
  for (const Step& step : scenario.steps) {
    at += step.after;
    text += fmt::format("  +{:<10}  {}\n", say_length(at), describe_deed(step.deed));
    std::shared_ptr<const spec::Spec> next;
    if (const auto* load = std::get_if<LoadFile>(&step.deed)) next = load->spec;
    if (const auto* again = std::get_if<RestartDaemon>(&step.deed)) next = again->file;
    if (!next) continue;
    text += changes(*file, *next);
    file = next;
  }
  if (scenario.settles) text += "  then all faults end, and everything has to come to rest\n";
  return text + (scenario.drawn ? "" : describe_oddities(scenario.oddities));
}

}  // namespace muster::sim
