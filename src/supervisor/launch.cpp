#include "supervisor/launch.h"

#include <algorithm>
#include <array>
#include <map>

#include "fmt/core.h"

namespace muster::supervisor {

namespace {

using Variables = std::map<std::string, std::string, std::less<>>;

constexpr std::string_view default_path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

// What the service manager told muster is not for its children: they would answer in muster's name.
bool is_for_muster_only(std::string_view name) {
  constexpr std::array names{"NOTIFY_SOCKET",
                             "WATCHDOG_USEC",
                             "WATCHDOG_PID",
                             "LISTEN_PID",
                             "LISTEN_FDS",
                             "LISTEN_FDNAMES",
                             "LISTEN_PIDFDID",
                             "JOURNAL_STREAM",
                             "INVOCATION_ID",
                             "SYSTEMD_EXEC_PID",
                             "MAINPID",
                             "MANAGERPID",
                             "FDSTORE",
                             "MEMORY_PRESSURE_WATCH",
                             "MEMORY_PRESSURE_WRITE"};
  return std::ranges::find(names, name) != names.end() || name.starts_with("MUSTER_");
}

// What LoadCredential= gives is muster's: the files of listeners, and of other apps.
constexpr std::string_view credentials_variable = "CREDENTIALS_DIRECTORY";

Variables inherited(const spec::App& app, const LaunchContext& context) {
  constexpr std::array always{"PATH", "HOME", "USER", "SHELL", "LANG", "TZ"};
  Variables variables;
  for (const std::string& assignment : context.daemon_environment) {
    const auto equals = assignment.find('=');
    if (equals == std::string::npos || equals == 0) continue;
    const std::string name = assignment.substr(0, equals);
    if (is_for_muster_only(name)) continue;
    const auto& names = app.inherit_env.names;
    const bool with_all = app.inherit_env.all && name != credentials_variable;
    if (with_all || std::ranges::find(always, name) != always.end() ||
        std::ranges::find(names, name) != names.end())
      variables[name] = assignment.substr(equals + 1);
  }
  if (!variables.contains("PATH")) variables["PATH"] = default_path;
  // Those of the app's user, whoever started muster.
  if (context.other_user || !app.inherit_env.all) {
    const auto set = [&variables](const char* name, const std::string& value) {
      if (!value.empty()) variables[name] = value;
    };
    set("HOME", context.account.home);
    set("USER", context.account.name);
    set("SHELL", context.account.shell);
    if (variables.contains("LOGNAME")) set("LOGNAME", context.account.name);
  }
  return variables;
}

std::string variable_name(std::string_view prefix, std::string_view name) {
  std::string made(prefix);
  for (const char byte : name) {
    made += byte == '-' ? '_' : byte >= 'a' && byte <= 'z' ? static_cast<char>(byte - 'a' + 'A') : byte;
  }
  return made;
}

Variables environment(const spec::App& app, const LaunchContext& context) {
  Variables variables = inherited(app, context);
  for (const auto& [name, value] : app.env_file_vars) variables[name] = value;
  for (const auto& [name, port] : context.ports) {
    if (name.empty()) variables["PORT"] = std::to_string(port);
  }
  if (!context.socket.empty()) variables["PORT"] = context.socket;
  const auto expanding = [&](const spec::TemplateVariable& variable) { return value_of(variable, context); };
  for (const spec::EnvVar& variable : app.env) variables[variable.name] = variable.value.expand(expanding);
  if (context.unbuffered_python) variables.try_emplace("PYTHONUNBUFFERED", "1");
  // Last: nobody else says who a replica is.
  variables["MUSTER_APP"] = context.replica.app;
  variables["MUSTER_ORDINAL"] = std::to_string(context.replica.ordinal);
  variables["MUSTER_REPLICAS"] = std::to_string(context.replicas);
  for (const auto& [key, path] : context.volumes) variables[variable_name("MUSTER_VOLUME_", key)] = path;
  for (const spec::Dependency& dependency : app.after) {
    for (const auto& [name, address] : context.addresses) {
      if (name == dependency.app) variables[variable_name("MUSTER_ADDR_", name)] = address;
    }
  }
  return variables;
}

std::vector<std::string> assignments(const Variables& variables) {
  std::vector<std::string> made;
  made.reserve(variables.size());
  for (const auto& [name, value] : variables) made.push_back(std::string(name).append("=").append(value));
  return made;
}

ProcessOrder base_order(const spec::App& app, const LaunchContext& context) {
  ProcessOrder order;
  order.dir =
      app.dir.expand([&](const spec::TemplateVariable& variable) { return value_of(variable, context); });
  if (order.dir.empty()) order.dir = context.folder;
  if (!order.dir.starts_with('/')) order.dir = context.folder + "/" + order.dir;
  order.user = app.user;
  order.group = app.group;
  order.umask = app.umask;
  order.nice = app.nice;
  order.no_new_privs = app.no_new_privs;
  order.files_max = app.limits.files;
  order.core_bytes_max = app.limits.core;
  return order;
}

}  // namespace

std::string value_of(const spec::TemplateVariable& variable, const LaunchContext& context) {
  const auto found = [&variable](const auto& pairs, const std::string& key) -> std::string {
    for (const auto& [name, value] : pairs) {
      if (name == key) return fmt::format("{}", value);
    }
    static_cast<void>(variable);
    return "";
  };
  if (variable.name == "port" && variable.argument.empty() && !context.socket.empty()) return context.socket;
  if (variable.name == "port") return found(context.ports, variable.argument);
  if (variable.name == "addr" && variable.argument.empty()) return "127.0.0.1";
  if (variable.name == "addr") return found(context.addresses, variable.argument);
  if (variable.name == "ordinal") return std::to_string(context.replica.ordinal);
  if (variable.name == "replicas") return std::to_string(context.replicas);
  if (variable.name == "app") return context.replica.app;
  if (variable.name == "volume" && variable.argument.empty())
    return context.volumes.empty() ? "" : context.volumes.front().second;
  if (variable.name == "volume") return found(context.volumes, variable.argument);
  return "";
}

std::string shell_quoted(std::string_view value) {
  const auto plain = [](char byte) {
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
           std::string_view("%+,-./:=@_").find(byte) != std::string_view::npos;
  };
  if (!value.empty() && std::ranges::all_of(value, plain)) return std::string(value);
  std::string quoted = "'";
  for (const char byte : value) {
    if (byte == '\'') {
      quoted += "'\\''";
    } else {
      quoted += byte;
    }
  }
  return quoted + "'";
}

LimitOrder bounds_of(const spec::App& app, const LaunchContext& context) {
  return {.limits = app.limits, .nice = app.nice, .own_user = context.own_user};
}

ProcessOrder main_order(const spec::App& app, const LaunchContext& context) {
  ProcessOrder order = base_order(app, context);
  order.bounds = bounds_of(app, context);
  if (app.shell) {
    const auto quoted = [&](const spec::TemplateVariable& variable) {
      return shell_quoted(value_of(variable, context));
    };
    order.argv = {"/bin/sh", "-c", app.run.empty() ? "" : app.run.front().expand(quoted)};
  } else {
    for (const spec::Template& word : app.run) {
      order.argv.push_back(
          word.expand([&](const spec::TemplateVariable& variable) { return value_of(variable, context); }));
    }
  }
  Variables variables = environment(app, context);
  if (!context.notify_socket.empty()) {
    variables["NOTIFY_SOCKET"] = context.notify_socket;
    if (app.watchdog)
      variables["WATCHDOG_USEC"] = std::to_string(std::chrono::microseconds(*app.watchdog).count());
  }
  order.environment = assignments(variables);
  return order;
}

ProcessOrder command_order(const spec::App& app, const std::vector<spec::Template>& command,
                           const LaunchContext& context) {
  ProcessOrder order = base_order(app, context);
  for (const spec::Template& word : command) {
    order.argv.push_back(
        word.expand([&](const spec::TemplateVariable& variable) { return value_of(variable, context); }));
  }
  order.environment = assignments(environment(app, context));
  return order;
}

}  // namespace muster::supervisor
