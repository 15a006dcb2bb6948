#include "supervisor/revision_codec.h"

#include <fmt/format.h>

#include <algorithm>

namespace muster::supervisor {
namespace {

namespace json = boost::json;

template <typename List, typename Convert>
json::array list_of(const List& list, Convert convert) {
  json::array made;
  for (const auto& entry : list) made.push_back(convert(entry));
  return made;
}

json::value text_of(const std::string& text) {
  return json::value(text);
}

// A string is literal text, a list of one or two a variable and its argument.
json::value of(const spec::Template& text) {
  return list_of(text.parts(), [](const spec::Template::Part& part) -> json::value {
    if (const auto* literal = std::get_if<std::string>(&part)) return text_of(*literal);
    const auto& variable = std::get<spec::TemplateVariable>(part);
    return json::array{text_of(variable.name), text_of(variable.argument)};
  });
}

json::value of(const spec::Port& port) {
  return json::array{static_cast<int>(port.kind), static_cast<int>(port.base)};
}

json::value of(const spec::HealthCheck& check) {
  json::object made;
  made["always"] = check.always;
  made["tcp"] = check.tcp;
  if (check.http) made["http"] = of(*check.http);
  made["cmd"] = list_of(check.cmd, [](const spec::Template& word) { return of(word); });
  made["notify"] = check.notify;
  if (check.log) made["log"] = *check.log;
  made["alive_for"] = check.alive_for.count();
  made["every"] = check.every.count();
  made["timeout"] = check.timeout.count();
  made["fall"] = check.fall;
  made["rise"] = check.rise;
  made["start"] = check.start.count();
  made["expect"] = list_of(check.expect, [](const spec::StatusRange& range) {
    return json::array{range.from, range.to};
  });
  return made;
}

json::value of(const spec::Stop& stop) {
  return json::object{{"drain", stop.drain.count()},
                      {"drain_given", stop.drain_given},
                      {"signal", stop.signal},
                      {"timeout", stop.timeout.count()},
                      {"exec", list_of(stop.exec, [](const spec::Template& word) { return of(word); })}};
}

json::value of(const spec::Volume& volume) {
  json::object made{
      {"key", volume.key}, {"name", volume.name}, {"mode", static_cast<std::int64_t>(volume.mode)}};
  if (volume.path) made["path"] = *volume.path;
  return made;
}

// Takes what is there; the first thing that is wrong is the error.
class Settings {
 public:
  explicit Settings(const json::value& value) : object_(value.if_object()) {
    if (object_ == nullptr) wrong("it is no object");
  }

  [[nodiscard]] const std::string& error() const { return error_; }
  [[nodiscard]] bool has(std::string_view key) const { return object_ != nullptr && object_->contains(key); }

  std::string text(std::string_view key) { return as_text(key, member(key)); }
  bool flag(std::string_view key) {
    const json::value* value = member(key);
    if (value != nullptr && !value->is_bool()) wrong(key, "is not true or false");
    return value != nullptr && value->is_bool() && value->get_bool();
  }
  std::int64_t number(std::string_view key) { return as_number(key, member(key)); }
  int whole(std::string_view key) { return static_cast<int>(number(key)); }
  Millis millis(std::string_view key) { return Millis{number(key)}; }
  spec::Template templated(std::string_view key) { return as_template(key, member(key)); }
  std::vector<spec::Template> templates(std::string_view key) {
    std::vector<spec::Template> made;
    each(key, [&](const json::value& entry) { made.push_back(as_template(key, &entry)); });
    return made;
  }
  std::vector<std::string> texts(std::string_view key) {
    std::vector<std::string> made;
    each(key, [&](const json::value& entry) { made.push_back(as_text(key, &entry)); });
    return made;
  }
  spec::Port port(std::string_view key) { return as_port(key, member(key)); }
  spec::Port as_port(std::string_view key, const json::value* value) {
    const auto [kind, base] = pair(key, value);
    const std::int64_t number = as_number(key, base);
    const std::int64_t which = as_number(key, kind);
    if (which < 0 || which > static_cast<int>(spec::PortKind::local) || number < 0 || number > 65535)
      wrong(key, "is no port");
    if (!error_.empty()) return {};
    return {static_cast<spec::PortKind>(which), static_cast<std::uint16_t>(number)};
  }
  // The two entries of a list of two.
  std::pair<const json::value*, const json::value*> pair(std::string_view key, const json::value* value) {
    const json::array* list = value != nullptr ? value->if_array() : nullptr;
    if (list != nullptr && list->size() == 2) return {list->data(), list->data() + 1};
    wrong(key, "is no list of two");
    return {nullptr, nullptr};
  }
  std::string as_text(std::string_view key, const json::value* value) {
    if (value != nullptr && value->is_string()) return std::string(value->get_string());
    wrong(key, "is no string");
    return "";
  }
  std::int64_t as_number(std::string_view key, const json::value* value) {
    if (value != nullptr && value->is_int64()) return value->get_int64();
    wrong(key, "is no whole number");
    return 0;
  }
  template <typename Visit>
  void each(std::string_view key, Visit visit) {
    const json::value* value = member(key);
    const json::array* list = value != nullptr ? value->if_array() : nullptr;
    if (list == nullptr) return wrong(key, "is no list");
    for (const json::value& entry : *list) visit(entry);
  }
  // What is below a key, read by a Settings of its own.
  template <typename Read>
  void below(std::string_view key, const json::value* value, Read read) {
    if (value == nullptr) return wrong(key, "is missing");
    Settings inner(*value);
    read(inner);
    if (!inner.error().empty()) wrong(key, inner.error());
  }
  const json::value* member(std::string_view key) {
    const json::value* value = object_ != nullptr ? object_->if_contains(key) : nullptr;
    if (value == nullptr) wrong(key, "is missing");
    return value;
  }

 private:
  void wrong(std::string_view what) {
    if (error_.empty()) error_ = what;
  }
  void wrong(std::string_view key, std::string_view what) {
    if (error_.empty()) error_ = fmt::format("'{}' {}", key, what);
  }
  spec::Template as_template(std::string_view key, const json::value* value) {
    std::vector<spec::Template::Part> parts;
    const json::array* list = value != nullptr ? value->if_array() : nullptr;
    if (list == nullptr) {
      wrong(key, "is no list");
      return {};
    }
    for (const json::value& part : *list) {
      if (part.is_string()) {
        parts.emplace_back(std::string(part.get_string()));
        continue;
      }
      const auto [name, argument] = pair(key, &part);
      parts.emplace_back(spec::TemplateVariable{as_text(key, name), as_text(key, argument)});
    }
    return spec::Template(std::move(parts));
  }

  const json::object* object_;
  std::string error_;
};

spec::HealthCheck health_of(Settings& from) {
  spec::HealthCheck check;
  check.always = from.flag("always");
  check.tcp = from.flag("tcp");
  if (from.has("http")) check.http = from.templated("http");
  check.cmd = from.templates("cmd");
  check.notify = from.flag("notify");
  if (from.has("log")) check.log = from.text("log");
  check.alive_for = from.millis("alive_for");
  check.every = from.millis("every");
  check.timeout = from.millis("timeout");
  check.fall = from.whole("fall");
  check.rise = from.whole("rise");
  check.start = from.millis("start");
  check.expect.clear();
  from.each("expect", [&](const json::value& entry) {
    const auto [first, last] = from.pair("expect", &entry);
    check.expect.push_back({static_cast<int>(from.as_number("expect", first)),
                            static_cast<int>(from.as_number("expect", last))});
  });
  return check;
}

spec::Stop stop_of(Settings& from) {
  spec::Stop stop;
  stop.drain = from.millis("drain");
  stop.drain_given = from.flag("drain_given");
  stop.signal = from.whole("signal");
  stop.timeout = from.millis("timeout");
  stop.exec = from.templates("exec");
  return stop;
}

spec::Volume volume_of(Settings& from) {
  spec::Volume volume{.key = from.text("key"),
                      .name = from.text("name"),
                      .mode = static_cast<std::uint32_t>(from.number("mode")),
                      .path = std::nullopt};
  if (from.has("path")) volume.path = from.text("path");
  return volume;
}

void read_environment(Settings& from, spec::App& app) {
  from.each("env", [&](const json::value& entry) {
    from.below("env", &entry, [&](Settings& variable) {
      app.env.push_back({variable.text("name"), variable.templated("value")});
    });
  });
  app.env_files = from.texts("env_file");
  from.each("env_file_vars", [&](const json::value& entry) {
    const auto [name, value] = from.pair("env_file_vars", &entry);
    app.env_file_vars.emplace_back(from.as_text("env_file_vars", name), from.as_text("env_file_vars", value));
  });
  if (const json::value* inherit = from.member("inherit_env"); inherit != nullptr && inherit->is_bool()) {
    app.inherit_env.all = inherit->get_bool();
  } else {
    app.inherit_env.names = from.texts("inherit_env");
  }
}
}  // namespace

boost::json::object settings_to_json(const spec::App& app) {
  json::object made;
  made["run"] = list_of(app.run, [](const spec::Template& word) { return of(word); });
  made["shell"] = app.shell;
  made["port"] = of(app.port);
  made["ports"] = list_of(app.ports, [](const spec::NamedPort& named) {
    return json::array{named.name, of(named.port)};
  });
  made["health"] = of(app.health);
  if (app.live) made["live"] = of(*app.live);
  if (app.watchdog) made["watchdog"] = app.watchdog->count();
  made["stop"] = of(app.stop);
  made["env"] = list_of(app.env, [](const spec::EnvVar& variable) {
    return json::object{{"name", variable.name}, {"value", of(variable.value)}};
  });
  made["env_file"] = list_of(app.env_files, text_of);
  made["env_file_vars"] = list_of(app.env_file_vars, [](const auto& entry) {
    return json::array{entry.first, entry.second};
  });
  made["dir"] = of(app.dir);
  made["inherit_env"] = app.inherit_env.all ? json::value(true) : list_of(app.inherit_env.names, text_of);
  made["user"] = app.user;
  made["group"] = app.group;
  made["umask"] = static_cast<std::int64_t>(app.umask);
  made["nice"] = app.nice;
  made["no_new_privs"] = app.no_new_privs;
  made["volume"] = list_of(app.volumes, [](const spec::Volume& volume) { return of(volume); });
  json::object limits;
  if (app.limits.files) limits["files"] = static_cast<std::int64_t>(*app.limits.files);
  if (app.limits.core) limits["core"] = static_cast<std::int64_t>(*app.limits.core);
  made["limits"] = std::move(limits);
  return made;
}

Result<spec::App> settings_from_json(const std::string& name, const boost::json::value& value) {
  Settings from(value);
  spec::App app;
  app.name = name;
  app.run = from.templates("run");
  app.shell = from.flag("shell");
  app.port = from.port("port");
  from.each("ports", [&](const json::value& entry) {
    const auto [port_name, port] = from.pair("ports", &entry);
    app.ports.push_back({from.as_text("ports", port_name), from.as_port("ports", port)});
  });
  from.below("health", from.member("health"), [&](Settings& check) { app.health = health_of(check); });
  if (from.has("live"))
    from.below("live", from.member("live"), [&](Settings& check) { app.live = health_of(check); });
  if (from.has("watchdog")) app.watchdog = from.millis("watchdog");
  from.below("stop", from.member("stop"), [&](Settings& stop) { app.stop = stop_of(stop); });
  read_environment(from, app);
  app.dir = from.templated("dir");
  app.user = from.text("user");
  app.group = from.text("group");
  app.umask = static_cast<std::uint32_t>(from.number("umask"));
  app.nice = from.whole("nice");
  app.no_new_privs = from.flag("no_new_privs");
  from.each("volume", [&](const json::value& entry) {
    from.below("volume", &entry, [&](Settings& volume) { app.volumes.push_back(volume_of(volume)); });
  });
  from.below("limits", from.member("limits"), [&](Settings& limits) {
    if (limits.has("files")) app.limits.files = static_cast<std::uint64_t>(limits.number("files"));
    if (limits.has("core")) app.limits.core = static_cast<std::uint64_t>(limits.number("core"));
  });
  if (!from.error().empty()) return Error{.message = from.error()};
  return app;
}

std::vector<std::string> changed_keys(const spec::App& before, const spec::App& after) {
  const json::object old_keys = settings_to_json(before);
  const json::object new_keys = settings_to_json(after);
  std::vector<std::string> changed;
  const auto add = [&](std::string key) {
    if (key == "env_file_vars") key = "env_file";
    if (std::ranges::find(changed, key) == changed.end()) changed.push_back(std::move(key));
  };
  for (const auto& entry : new_keys) {
    const json::value* old = old_keys.if_contains(entry.key());
    if (old == nullptr || *old != entry.value()) add(std::string(entry.key()));
  }
  for (const auto& entry : old_keys) {
    if (!new_keys.contains(entry.key())) add(std::string(entry.key()));
  }
  return changed;
}

spec::App with_settings_of(const spec::App& file, const spec::App& earlier) {
  spec::App made = earlier;
  made.position = file.position;
  made.replicas = file.replicas;
  made.scale = file.scale;
  made.after = file.after;
  made.limits.memory = file.limits.memory;
  made.limits.cpu = file.limits.cpu;
  made.limits.pids = file.limits.pids;
  made.restart = file.restart;
  made.update = file.update;
  made.log = file.log;
  made.watch = file.watch;
  return made;
}

}  // namespace muster::supervisor
