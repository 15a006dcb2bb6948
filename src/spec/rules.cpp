// Rules that concern more than one key.
#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <tuple>

#include "base/limits.h"
#include "fmt/core.h"
#include "spec/draft.h"

namespace muster::spec {

namespace {

using AppIndex = std::map<std::string, AppDraft*, std::less<>>;

class Rules {
 public:
  Rules(const Reader& reader, Draft& draft) : reader_(reader), draft_(draft) {
    for (AppDraft& app : draft.apps) apps_.emplace(app.app.name, &app);
    for (JobDraft& job : draft.jobs) jobs_.emplace(job.task.app.name, &job);
    for (const ListenerDraft& listener : draft.listeners)
      for (std::string& app : listener.listener.apps()) targets_.insert(std::move(app));
  }

  void run() {
    listeners_have_apps();
    log_names_differ();
    automatic_ports();
    for (AppDraft& app : draft_.apps) {
      checks_have_ports(app);
      socket_fits(app);
      variables_exist(app);
      dependencies_exist(app);
      one_process_each(app);
      scale_fits(app);
      users(app);
    }
    for (JobDraft& job : draft_.jobs) {
      name_is_free(job);
      variables_exist(job.task);
      dependencies_exist(job.task);
      apps_before_exist(job);
      users(job.task);
    }
  }

 private:
  [[nodiscard]] std::string suggest_app(std::string_view name, bool or_job = false) const {
    if (reader_.report().full()) return "";
    std::vector<std::string_view> names;
    for (const auto& [known, app] : apps_) names.push_back(known);
    if (or_job) {
      for (const auto& [known, job] : jobs_) names.push_back(known);
    }
    return suggest(name, names);
  }

  void listeners_have_apps() {
    for (const ListenerDraft& listener : draft_.listeners) {
      const std::string& to = listener.listener.app;
      app_exists(to, listener.to_at);
      for (std::size_t i = 0; i < listener.listener.routes.size(); ++i)
        app_exists(listener.listener.routes[i].app, listener.routes_to_at[i]);
    }
  }

  // access-web-2.log is also the name of the log of replica 2 of an app 'access-web'.
  void log_names_differ() {
    for (const ListenerDraft& draft : draft_.listeners) {
      const std::string& name = draft.listener.name;
      const std::size_t dash = name.rfind('-');
      if (draft.listener.access_log == AccessLogFormat::off || dash == std::string::npos) continue;
      const bool number = name.find_first_not_of("0123456789", dash + 1) == std::string::npos;
      const std::string app = "access-" + name.substr(0, dash);
      if (number && (apps_.contains(app) || jobs_.contains(app)))
        reader_.error(draft.access_log_at,
                      fmt::format("access-{}.log is also the log of {}/{}", name, app, name.substr(dash + 1)),
                      "another name for the listener or the app keeps them apart");
    }
  }

  void app_exists(const std::string& name, Mark at) {
    if (name.empty() || apps_.contains(name)) return;
    if (jobs_.contains(name)) return reader_.error(at, fmt::format("'{}' is a job, not an app", name));
    reader_.error(at, fmt::format("there is no app '{}'", name), suggest_app(name));
  }

  void name_is_free(const JobDraft& job) {
    const auto app = apps_.find(job.task.app.name);
    if (app != apps_.end())
      reader_.error(job.task.at, fmt::format("'{}' is already the name of an app at {}", app->first,
                                             reader_.report().place(app->second->at)));
  }

  void apps_before_exist(const JobDraft& job) {
    for (std::size_t i = 0; i < job.job.before.size(); ++i) app_exists(job.job.before[i], job.before_at[i]);
  }

  void automatic_ports() {
    for (AppDraft& draft : draft_.apps) {
      const bool listened = targets_.contains(draft.app.name);
      const bool used = std::ranges::any_of(draft.uses, [](const VariableUse& use) {
        return use.variable.name == "port" && use.variable.argument.empty();
      });
      if (!draft.port_given && (listened || used)) draft.app.port.kind = PortKind::automatic;
      if (draft.port_given && draft.app.port.kind == PortKind::none && listened)
        reader_.error(draft.port_at,
                      fmt::format("a listener leads to app '{}', which then needs a port", draft.app.name),
                      "port = \"auto\"");
    }
  }

  void checks_have_ports(AppDraft& draft) {
    const bool port = draft.app.port.kind != PortKind::none;
    const auto check = [&](const HealthCheck& health, Mark at) {
      if (port || !(health.tcp || health.http)) return;
      reader_.error(at, fmt::format("the check needs a port, and app '{}' has none", draft.app.name),
                    "port = \"auto\" gives it one: it reads {port} or the variable PORT");
    };
    if (!draft.health_given || says_nothing(draft.app.health)) draft.app.health.tcp = port;
    if (draft.health_given) check(draft.app.health, draft.health_at);
    if (!draft.app.live) return;
    check(*draft.app.live, draft.live_at);
    if (!says_nothing(*draft.app.live)) return;
    draft.app.live->tcp = port;
    if (!port)
      reader_.error(draft.live_at, fmt::format("nothing to check: app '{}' has no port", draft.app.name),
                    "name a `cmd`, or give it a port");
  }

  // The longest that this app can come to have.
  void socket_fits(const AppDraft& draft) {
    const std::string& folder = reader_.options().run_folder;
    if (draft.app.port.kind != PortKind::local || folder.empty()) return;
    constexpr std::uint64_t many_starts = 999'999'999;
    const std::string longest = socket_path(folder, draft.app.name, limits::replicas_max - 1, many_starts);
    if (longest.size() <= limits::socket_path_bytes_max) return;
    reader_.error(
        draft.port_at,
        fmt::format("a socket like {} has {} bytes in its path and may have {}", longest, longest.size(),
                    limits::socket_path_bytes_max),
        "--socket PATH or MUSTER_SOCKET names another folder for it, or give the app a shorter name");
  }

  static bool says_nothing(const HealthCheck& health) { return health.alive_only(); }

  void variables_exist(const AppDraft& draft) {
    std::set<std::tuple<Mark, std::string, std::string>> looked_at;
    for (const VariableUse& use : draft.uses) {
      if (reader_.report().full()) return;
      if (!looked_at.emplace(use.at, use.variable.name, use.variable.argument).second) continue;
      const std::string& name = use.variable.name;
      if (name == "port") {
        port_exists(draft, use);
      } else if (name == "volume") {
        volume_exists(draft, use);
      } else if (name == "addr") {
        address_exists(use);
      } else if (name != "ordinal" && name != "replicas" && name != "app") {
        reader_.error(use.at, fmt::format("unknown variable '{{{}}}'", name), suggest_variable(name));
      } else if (!use.variable.argument.empty()) {
        reader_.error(use.at, fmt::format("'{{{0}.{1}}}': write '{{{0}}}'", name, use.variable.argument));
      }
    }
  }

  static std::string suggest_variable(std::string_view name) {
    constexpr std::array<std::string_view, 6> known{"port", "addr", "ordinal", "replicas", "app", "volume"};
    const std::string close = suggest(name, known);
    return close.empty() ? "{{ is a brace" : close;
  }

  void port_exists(const AppDraft& draft, const VariableUse& use) {
    const App& app = draft.app;
    const std::string& argument = use.variable.argument;
    if (argument.empty()) {
      if (app.port.kind == PortKind::none)
        reader_.error(use.at, fmt::format("'{{port}}': {} has no port", draft.label()),
                      draft.of_job ? "nothing listens to a job" : "port = \"auto\"");
      return;
    }
    if (std::ranges::find(app.ports, argument, &NamedPort::name) != app.ports.end()) return;
    std::vector<std::string_view> names;
    for (const NamedPort& named : app.ports) names.push_back(named.name);
    reader_.error(use.at, fmt::format("{} has no port '{}' in `ports`", draft.label(), argument),
                  suggest(argument, names));
  }

  void volume_exists(const AppDraft& draft, const VariableUse& use) {
    const App& app = draft.app;
    const std::string& argument = use.variable.argument;
    if (!argument.empty() && std::ranges::find(app.volumes, argument, &Volume::key) != app.volumes.end())
      return;
    std::vector<std::string_view> names;
    std::string all;
    for (const Volume& volume : app.volumes) {
      names.push_back(volume.key);
      all += fmt::format("{}{{volume.{}}}", all.empty() ? "" : " or ", volume.key);
    }
    if (argument.empty()) {
      if (names.empty())
        reader_.error(use.at, fmt::format("'{{volume}}': {} has no volume", draft.label()),
                      "volume = \"data\"");
      if (names.size() > 1)
        reader_.error(use.at, fmt::format("'{{volume}}': {} has {} volumes", draft.label(), names.size()),
                      "write " + all);
    } else {
      reader_.error(use.at, fmt::format("{} has no volume '{}'", draft.label(), argument),
                    suggest(argument, names));
    }
  }

  void address_exists(const VariableUse& use) {
    const std::string& argument = use.variable.argument;
    if (argument.empty()) return;
    const auto found = apps_.find(argument);
    if (found == apps_.end()) {
      reader_.error(use.at, fmt::format("'{{addr.{0}}}': there is no app '{0}'", argument),
                    suggest_app(argument));
    } else if (found->second->app.port.kind == PortKind::none && !targets_.contains(argument)) {
      reader_.error(use.at, fmt::format("'{{addr.{0}}}': app '{0}' has no port and no listener", argument));
    }
  }

  void dependencies_exist(const AppDraft& draft) {
    for (std::size_t i = 0; i < draft.app.after.size(); ++i) {
      const auto& [name, condition] = draft.app.after[i];
      if (apps_.contains(name)) continue;
      if (const auto job = jobs_.find(name); job != jobs_.end()) {
        comes_after_job(draft, *job->second, condition, draft.after_at[i]);
      } else {
        reader_.error(draft.after_at[i], fmt::format("there is no app '{}'", name), suggest_app(name, true));
      }
    }
  }

  // Without `replicas` it begins with the fewest.
  void scale_fits(AppDraft& draft) {
    if (!draft.app.scale) return;
    const Scale& scale = *draft.app.scale;
    if (draft.replicas_at.line == 0) {
      draft.app.replicas = scale.min;
    } else if (draft.app.replicas < scale.min || draft.app.replicas > scale.max) {
      reader_.error(draft.replicas_at,
                    fmt::format("app '{}' begins with {} replicas, `scale` allows {} to {}", draft.app.name,
                                draft.app.replicas, scale.min, scale.max));
    }
    if (scale.in_flight && !targets_.contains(draft.app.name))
      reader_.error(draft.scale_in_flight_at,
                    fmt::format("`in_flight`: no listener leads to app '{}'", draft.app.name));
    if (scale.memory && !draft.app.limits.memory)
      reader_.error(
          draft.scale_memory_at,
          fmt::format("`memory` is a percentage of limits.memory, and app '{}' has none", draft.app.name),
          "limits = { memory = \"512MiB\" }");
    if (scale.on_demand() && !targets_.contains(draft.app.name))
      reader_.error(
          draft.scale_min_at,
          fmt::format("`min = 0`: no listener leads to app '{}', so nothing would start it", draft.app.name));
  }

  void comes_after_job(const AppDraft& draft, const JobDraft& job, AfterCondition condition, Mark at) {
    const std::string& name = job.task.app.name;
    if (condition == AfterCondition::ready)
      return reader_.error(at, fmt::format("job '{}' runs to its end and is never ready", name),
                           fmt::format("after = {{ {} = \"completed-ok\" }}", name));
    if (job.job.schedule)
      reader_.report().warning(
          at, fmt::format("job '{}' runs by its schedule: {} waits for the first run", name, draft.label()));
  }

  // A warning: [defaults] may say it for all apps.
  void one_process_each(const AppDraft& draft) {
    if (!draft.app.exclusive_slots() || draft.app.update.strategy != UpdateStrategy::rolling) return;
    const Mark at = draft.strategy_at.line != 0 ? draft.strategy_at : draft.surge_at;
    if (at.line == 0) return;
    reader_.report().warning(
        at, fmt::format("app '{}' has a {}: never two processes of one ordinal, so its replicas are updated "
                        "one after the other, as with strategy = \"ordered\"",
                        draft.app.name, draft.app.volumes.empty() ? "numbered port" : "volume"));
  }

  void users(const AppDraft& draft) {
    if (!reader_.options().root || !draft.app.user.empty()) return;
    if (reader_.options().mode == Mode::daemon)
      return reader_.error(draft.at, draft.label() + " has no `user`, and muster runs as root",
                           "user = \"root\" to insist");
    if (warned_) return;
    warned_ = true;
    reader_.report().warning(draft.at, "muster runs as root, and so do the apps without `user`");
  }

  const Reader& reader_;
  Draft& draft_;
  AppIndex apps_;
  std::map<std::string, JobDraft*, std::less<>> jobs_;
  std::set<std::string, std::less<>> targets_;
  bool warned_ = false;
};

}  // namespace

void apply_rules(const Reader& reader, Draft& draft) {
  Rules(reader, draft).run();
  check_ports(reader, draft);
  check_cycles(reader, draft);
}

}  // namespace muster::spec
