// One [app.NAME].
#include <algorithm>
#include <array>

#include "base/limits.h"
#include "fmt/core.h"
#include "spec/draft.h"
#include "spec/env_file.h"

namespace muster::spec {

namespace {

constexpr std::uint64_t memory_limit_min = 1U << 20U;
constexpr double cpu_limit_min = 0.01;  // a millisecond of each 100: the kernel takes no smaller quota
constexpr double cpu_limit_max = 1024;
constexpr std::int64_t pids_limit_max = 4194304;  // PID_MAX_LIMIT

class AppReader {
 public:
  AppReader(const Reader& reader, const Member& member) : reader_(reader), member_(member) {
    App& app = draft_.app;
    app.name = member.key;
    app.position = reader.report().position(member.at);
    app.dir = Template(reader.folder());
    const bool up = reader.options().mode == Mode::up;
    app.inherit_env.all = up;
    app.no_new_privs = !up;
    if (up) app.stop.drain = Millis(2000);
    draft_.at = member.at;
  }

  using OtherKey = std::function<void(std::string_view key, const Node& value)>;

  AppDraft read(Section section, const OtherKey& other) {
    draft_.of_job = section == Section::job;
    reader_.each_key(section, member_.value, [&](std::string_view key, const Node& value) {
      if (!set(key, value)) other(key, value);
    });
    read_run();
    return std::move(draft_);
  }

  // False: it is no key of an app.
  bool set(std::string_view key, const Node& value);

  void run(const Node& value) { run_ = &value; }
  void replicas(const Node& value) {
    draft_.replicas_at = value.at;
    if (const auto count = reader_.integer(value, 0, limits::replicas_max))
      draft_.app.replicas = static_cast<int>(*count);
  }
  void port(const Node& value);
  void ports(const Node& value);
  void listen(const Node&) {}  // read by read_short_listeners
  void health(const Node& value) {
    draft_.app.health = read_health(reader_, value, false, draft_.uses);
    draft_.health_given = true;
    draft_.health_at = value.at;
  }
  void live(const Node& value) {
    draft_.live_at = value.at;
    draft_.live_given = true;
    HealthCheck check = read_health(reader_, value, true, draft_.uses);
    if (!check.always) draft_.app.live = std::move(check);
  }
  void watchdog(const Node& value) { draft_.app.watchdog = reader_.duration(value, Millis(100)); }
  void after(const Node& value);
  void restart(const Node& value);
  void stop(const Node& value);
  void update(const Node& value);
  void scale(const Node& value);
  void env(const Node& value);
  void env_file(const Node& value);
  void dir(const Node& value);
  void shell(const Node& value) { draft_.app.shell = reader_.boolean(value).value_or(false); }
  void inherit_env(const Node& value);
  void user(const Node& value);
  void group(const Node& value);
  void umask(const Node& value) { draft_.app.umask = reader_.octal(value, 0777).value_or(022); }
  void nice(const Node& value) {
    draft_.app.nice = static_cast<int>(reader_.integer(value, -20, 19).value_or(0));
  }
  void no_new_privs(const Node& value) {
    if (const auto flag = reader_.boolean(value)) draft_.app.no_new_privs = *flag;
  }
  void volume(const Node& value);
  void limits(const Node& value);
  void log(const Node& value);
  void watch(const Node& value);

 private:
  void read_run();
  void restart_key(std::string_view key, const Node& value);
  void ok_codes(const Node& value);
  void one_volume(const Member& member);
  std::optional<std::uint64_t> volume_size(const Node& value);
  std::optional<Port> read_port(const Node& value);
  std::optional<Share> share(const Node& value, int percent_max);
  bool variable_name(const std::string& name, Mark at);

  const Reader& reader_;
  const Member& member_;
  const Node* run_ = nullptr;
  AppDraft draft_;
};

struct AppKey {
  std::string_view name;
  void (AppReader::*read)(const Node&);
};
constexpr std::array app_keys{
    AppKey{"run", &AppReader::run},
    AppKey{"replicas", &AppReader::replicas},
    AppKey{"port", &AppReader::port},
    AppKey{"ports", &AppReader::ports},
    AppKey{"listen", &AppReader::listen},
    AppKey{"health", &AppReader::health},
    AppKey{"live", &AppReader::live},
    AppKey{"watchdog", &AppReader::watchdog},
    AppKey{"after", &AppReader::after},
    AppKey{"restart", &AppReader::restart},
    AppKey{"stop", &AppReader::stop},
    AppKey{"update", &AppReader::update},
    AppKey{"scale", &AppReader::scale},
    AppKey{"env", &AppReader::env},
    AppKey{"env_file", &AppReader::env_file},
    AppKey{"dir", &AppReader::dir},
    AppKey{"shell", &AppReader::shell},
    AppKey{"inherit_env", &AppReader::inherit_env},
    AppKey{"user", &AppReader::user},
    AppKey{"group", &AppReader::group},
    AppKey{"umask", &AppReader::umask},
    AppKey{"nice", &AppReader::nice},
    AppKey{"no_new_privs", &AppReader::no_new_privs},
    AppKey{"volume", &AppReader::volume},
    AppKey{"limits", &AppReader::limits},
    AppKey{"log", &AppReader::log},
    AppKey{"watch", &AppReader::watch},
};

bool AppReader::set(std::string_view key, const Node& value) {
  const auto* found = std::ranges::find(app_keys, key, &AppKey::name);
  if (found == app_keys.end()) return false;
  (this->*found->read)(value);
  return true;
}

void AppReader::read_run() {
  if (run_ == nullptr) return reader_.missing(member_.at, draft_.label() + " has no `run`");
  if (!draft_.app.shell) {
    if (auto argv = reader_.command(*run_, draft_.uses)) draft_.app.run = std::move(*argv);
    return;
  }
  if (!run_->is(Node::Kind::text))
    return reader_.wrong_type(*run_, "one string: with `shell` it is a script");
  auto script = reader_.templated(*run_, draft_.uses);
  if (!script) return;
  if (script->text().find_first_not_of(" \t\n\r") == std::string::npos)
    return reader_.error(run_->at, "the script is empty");
  draft_.app.run = {std::move(*script)};
}

std::optional<Port> AppReader::read_port(const Node& value) {
  if (value.is(Node::Kind::text)) {
    const auto kind = reader_.word(value, {"auto", "none", "unix"});
    if (!kind) return std::nullopt;
    constexpr std::array kinds{PortKind::automatic, PortKind::none, PortKind::local};
    return Port{kinds[*kind], 0};
  }
  const auto number = reader_.integer(value, 1, 65535);
  if (!number) return std::nullopt;
  return Port{PortKind::numbered, static_cast<std::uint16_t>(*number)};
}

void AppReader::port(const Node& value) {
  draft_.port_at = value.at;
  draft_.port_given = true;
  if (const auto port = read_port(value)) draft_.app.port = *port;
}

void AppReader::ports(const Node& value) {
  if (!reader_.few_enough(value.members.size(), value.at, "ports")) return;
  reader_.each_name(value, "a table of ports", [this](const Member& member) {
    if (!reader_.valid_name(member.key, member.at, "a port")) return;
    const auto port = read_port(member.value);
    if (!port) return;
    if (port->kind == PortKind::none || port->kind == PortKind::local)
      return reader_.error(member.value.at, "a named port is a number or \"auto\"");
    draft_.app.ports.push_back({member.key, *port});
    draft_.ports_at.push_back({member.key, member.value.at});
  });
}

void AppReader::after(const Node& value) {
  const auto add = [this](const std::string& app, AfterCondition condition, Mark at) {
    for (const Dependency& known : draft_.app.after)
      if (known.app == app) return reader_.error(at, fmt::format("'{}' is named twice", app));
    draft_.app.after.push_back({app, condition});
    draft_.after_at.push_back(at);
  };
  if (!reader_.few_enough(std::max(value.members.size(), value.items.size()), value.at, "apps in `after`"))
    return;
  if (!value.is(Node::Kind::table)) {
    for (const Node* item : Reader::listed(value))
      if (const auto app = reader_.text(*item)) add(*app, AfterCondition::ready, item->at);
    return;
  }
  reader_.each_name(value, "a table", [&](const Member& member) {
    const auto condition = reader_.word(member.value, {"ready", "started", "completed", "completed-ok"});
    if (condition) add(member.key, static_cast<AfterCondition>(*condition), member.at);
  });
}

void AppReader::restart(const Node& value) {
  if (value.is(Node::Kind::text)) return restart_key("policy", value);
  if (!reader_.table(value, "a string or a table")) return;
  reader_.each_key(Section::restart, value,
                   [this](std::string_view key, const Node& node) { restart_key(key, node); });
  const Restart& restart = draft_.app.restart;
  if (restart.max_backoff < restart.backoff)
    reader_.error(value.at, fmt::format("max_backoff ({}ms) is less than backoff ({}ms)",
                                        restart.max_backoff.count(), restart.backoff.count()));
}

void AppReader::restart_key(std::string_view key, const Node& value) {
  Restart& restart = draft_.app.restart;
  if (key == "policy") {
    if (const auto policy = reader_.word(value, {"always", "on-failure", "never"}))
      restart.policy = static_cast<RestartPolicy>(*policy);
  } else if (key == "jitter") {
    restart.jitter = reader_.number(value, 0, 1).value_or(restart.jitter);
  } else if (key == "max_restarts") {
    if (const auto written = reader_.text(value))
      restart.max_restarts = reader_.checked(parse_restart_limit(*written), value.at).value_or(std::nullopt);
  } else if (key == "ok_codes") {
    ok_codes(value);
  } else if (const auto duration = reader_.duration(value, Millis{0})) {
    // Without a pause nothing would bound the starts of an app that ends at once, and other apps would pay for them.
    if (*duration == Millis{0} && key != "reset")
      return reader_.error(
          value.at,
          fmt::format("{} is at least 1ms: without a pause a broken app would be started without end", key),
          "the first restart is at once in any case");
    if (key == "backoff") restart.backoff = *duration;
    if (key == "max_backoff") restart.max_backoff = *duration;
    if (key == "reset") restart.reset = *duration;
  }
}

void AppReader::ok_codes(const Node& value) {
  std::vector<int> codes;
  for (const Node* item : Reader::listed(value)) {
    const auto code = reader_.integer(*item, 0, 255);
    if (code && std::ranges::find(codes, *code) == codes.end()) codes.push_back(static_cast<int>(*code));
    if (codes.size() > 256) break;
  }
  draft_.app.restart.ok_codes = std::move(codes);
}

void AppReader::stop(const Node& value) {
  if (!reader_.table(value, "a table")) return;
  Stop& stop = draft_.app.stop;
  reader_.each_key(Section::stop, value, [&](std::string_view key, const Node& node) {
    if (key == "signal") {
      const auto name =
          node.is(Node::Kind::integer) ? std::optional(std::to_string(node.integer)) : reader_.text(node);
      if (name) stop.signal = reader_.checked(parse_signal(*name), node.at).value_or(stop.signal);
    } else if (key == "exec") {
      if (auto argv = reader_.command(node, draft_.uses)) stop.exec = std::move(*argv);
    } else if (const auto duration = reader_.duration(node, Millis(0))) {
      (key == "drain" ? stop.drain : stop.timeout) = *duration;
      if (key == "drain") stop.drain_given = true;
    }
  });
}

std::optional<Share> AppReader::share(const Node& value, int percent_max) {
  if (value.is(Node::Kind::text)) {
    const auto written = reader_.text(value);
    return written ? reader_.checked(parse_share(*written, percent_max), value.at) : std::nullopt;
  }
  const auto count = reader_.integer(value, 0, limits::replicas_max);
  return count ? std::optional(Share{static_cast<int>(*count), false}) : std::nullopt;
}

void AppReader::update(const Node& value) {
  if (!reader_.table(value, "a table")) return;
  Update& update = draft_.app.update;
  Mark surge_at;
  Mark unavailable_at;
  reader_.each_key(Section::update, value, [&](std::string_view key, const Node& node) {
    if (key == "strategy") {
      draft_.strategy_at = node.at;
      if (const auto word = reader_.word(node, {"rolling", "recreate", "ordered"}))
        update.strategy = static_cast<UpdateStrategy>(*word);
    } else if (key == "surge") {
      surge_at = node.at;
      update.surge = share(node, 1000).value_or(update.surge);
    } else if (key == "unavailable") {
      unavailable_at = node.at;
      update.unavailable_given = true;
      update.unavailable = share(node, 100).value_or(update.unavailable);
    } else if (key == "rollback") {
      update.rollback = reader_.boolean(node).value_or(update.rollback);
    } else if (const auto duration = reader_.duration(node, key == "deadline" ? Millis(1000) : Millis(0))) {
      (key == "deadline" ? update.deadline : update.min_ready) = *duration;
    }
  });
  draft_.surge_at = surge_at.line != 0 ? surge_at : unavailable_at;
  // As Kubernetes has it: else each rollout would fail.
  if (update.deadline <= update.min_ready)
    reader_.error(value.at, fmt::format("deadline ({}ms) has to be longer than min_ready ({}ms)",
                                        update.deadline.count(), update.min_ready.count()));
  const bool both = surge_at.line != 0 && unavailable_at.line != 0;
  if (both && update.surge.value == 0 && update.unavailable.value == 0)
    reader_.error(unavailable_at, "with a surge of 0 and nothing unavailable no replica could be replaced",
                  "one of them is at least 1");
  if (draft_.surge_at.line != 0 && update.strategy != UpdateStrategy::rolling)
    reader_.error(draft_.surge_at, "`surge` and `unavailable` belong to the strategy \"rolling\"");
}

bool AppReader::variable_name(const std::string& name, Mark at) {
  const auto good = [](char byte) {
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
           byte == '_';
  };
  if (name.empty() || !std::ranges::all_of(name, good) || (name.front() >= '0' && name.front() <= '9')) {
    reader_.error(at, fmt::format("'{}' is no name for an environment variable", name),
                  "letters, digits and '_', and no digit first");
    return false;
  }
  if (!name.starts_with("MUSTER_")) return true;
  reader_.error(at, fmt::format("'{}': names with MUSTER_ are set by muster", name));
  return false;
}

void AppReader::env(const Node& value) {
  reader_.each_name(value, "a table of variables", [this](const Member& member) {
    if (!variable_name(member.key, member.at)) return;
    const Node& node = member.value;
    if (node.is(Node::Kind::integer))
      return draft_.app.env.push_back({member.key, Template(std::to_string(node.integer))});
    if (node.is(Node::Kind::boolean))
      return draft_.app.env.push_back({member.key, Template(node.flag ? "true" : "false")});
    if (auto text = reader_.templated(node, draft_.uses))
      draft_.app.env.push_back({member.key, std::move(*text)});
  });
  std::ranges::sort(draft_.app.env, {}, &EnvVar::name);
}

void AppReader::env_file(const Node& value) {
  if (!reader_.few_enough(value.items.size(), value.at, "files")) return;
  for (const Node* item : Reader::listed(value)) {
    const auto path = reader_.path(*item);
    if (!path) continue;
    draft_.app.env_files.push_back(*path);
    if (!reader_.count_env_bytes(0, item->at)) return;
    std::size_t bytes = 0;
    auto variables = read_env_file(*path, reader_.world().read_file, bytes);
    if (!variables) {
      reader_.error(item->at, variables.error().message);
      continue;
    }
    // Each app has a copy of what it reads.
    if (!reader_.count_env_bytes(bytes + 64 * variables.value().size(), item->at)) return;
    for (auto& variable : variables.value()) draft_.app.env_file_vars.push_back(std::move(variable));
  }
  draft_.app.env_file_vars = the_last_of_each(draft_.app.env_file_vars);
}

void AppReader::dir(const Node& value) {
  auto path = reader_.templated(value, draft_.uses);
  if (!path) return;
  if (path->parts().empty()) return reader_.error(value.at, "an empty string cannot be used here");
  const auto* first = std::get_if<std::string>(&path->parts().front());
  const auto* variable = std::get_if<TemplateVariable>(&path->parts().front());
  const bool absolute = first != nullptr ? first->starts_with('/') : variable->name == "volume";
  if (absolute) {
    draft_.app.dir = std::move(*path);
    return;
  }
  std::vector<Template::Part> parts = path->parts();
  const std::string lead = reader_.folder() + (reader_.folder().ends_with('/') ? "" : "/");
  if (first != nullptr) {
    parts.front() = lead + *first;
  } else {
    parts.insert(parts.begin(), lead);
  }
  draft_.app.dir = Template(std::move(parts));
}

void AppReader::inherit_env(const Node& value) {
  InheritEnv& inherit = draft_.app.inherit_env;
  if (value.is(Node::Kind::boolean)) {
    inherit.all = value.flag;
    return;
  }
  if (!value.is(Node::Kind::list) && !value.is(Node::Kind::text))
    return reader_.wrong_type(value, "true, false or a list of names");
  inherit.all = false;
  for (const Node* item : Reader::listed(value)) {
    const auto name = reader_.text(*item);
    if (name && variable_name(*name, item->at)) inherit.names.push_back(*name);
  }
}

void AppReader::user(const Node& value) {
  const auto name = reader_.text_not_empty(value);
  if (!name) return;
  draft_.app.user = *name;
  if (!reader_.world().user_exists(*name))
    reader_.error(value.at, fmt::format("there is no user '{}'", *name));
}

void AppReader::group(const Node& value) {
  const auto name = reader_.text_not_empty(value);
  if (!name) return;
  draft_.app.group = *name;
  if (!reader_.world().group_exists(*name))
    reader_.error(value.at, fmt::format("there is no group '{}'", *name));
}

void AppReader::volume(const Node& value) {
  if (value.is(Node::Kind::text)) {
    const auto name = reader_.text(value);
    if (name && reader_.valid_name(*name, value.at, "a volume"))
      draft_.app.volumes.push_back({*name, *name, 0700, {}});
    return;
  }
  if (!reader_.few_enough(value.members.size(), value.at, "volumes")) return;
  reader_.each_name(value, "a name or a table", [this](const Member& member) { one_volume(member); });
}

std::optional<std::uint64_t> AppReader::volume_size(const Node& value) {
  const auto bytes = reader_.size(value);
  if (bytes && *bytes < limits::volume_size_bytes_min) {
    reader_.error(value.at, "a volume needs room for 64KiB");
    return std::nullopt;
  }
  return bytes;
}

void AppReader::one_volume(const Member& member) {
  const bool option = find_key(Section::volume, member.key) != nullptr;
  if (option && !member.value.is(Node::Kind::table))
    return reader_.error(member.at, fmt::format("'{}' belongs to a volume with a name", member.key),
                         fmt::format("write volume.NAME = {{ {} = ... }}", member.key));
  if (!reader_.valid_name(member.key, member.at, "a volume")) return;
  Volume volume{.key = member.key, .name = member.key, .mode = 0700, .path = {}};
  if (member.value.is(Node::Kind::text)) {
    const auto name = reader_.text(member.value);
    if (!name || !reader_.valid_name(*name, member.value.at, "a volume")) return;
    volume.name = *name;
  } else if (reader_.table(member.value, "a name or a table")) {
    reader_.each_key(Section::volume, member.value, [&](std::string_view key, const Node& node) {
      if (key == "mode") volume.mode = reader_.octal(node, 07777).value_or(0700);
      if (key == "path") volume.path = reader_.path(node);
      if (key == "size") volume.size = volume_size(node);
    });
  }
  for (const Volume& known : draft_.app.volumes)
    if (known.name == volume.name)
      return reader_.error(member.value.at,
                           fmt::format("volumes '{}' and '{}' would share the directory '{}'", known.key,
                                       volume.key, volume.name));
  draft_.app.volumes.push_back(std::move(volume));
}

void AppReader::scale(const Node& value) {
  if (!reader_.table(value, "a table")) return;
  Scale scale;
  bool has_max = false;
  reader_.each_key(Section::scale, value, [&](std::string_view key, const Node& node) {
    if (key == "min") {
      scale.min = static_cast<int>(reader_.integer(node, 0, limits::replicas_max).value_or(1));
      draft_.scale_min_at = node.at;
    } else if (key == "max") {
      has_max = true;
      scale.max =
          static_cast<int>(reader_.integer(node, 1, limits::replicas_max).value_or(limits::replicas_max));
    } else if (key == "cpu") {
      scale.cpu = static_cast<int>(reader_.integer(node, 1, 1000).value_or(100));
    } else if (key == "in_flight") {
      scale.in_flight = static_cast<int>(reader_.integer(node, 1, 100'000).value_or(1));
      draft_.scale_in_flight_at = node.at;
    } else if (key == "memory") {
      scale.memory = static_cast<int>(reader_.integer(node, 1, 100).value_or(100));
      draft_.scale_memory_at = node.at;
    } else if (key == "window") {
      scale.window = reader_.duration(node, Millis(0)).value_or(scale.window);
    } else {
      scale.cooldown = reader_.duration(node, Millis(0)).value_or(scale.cooldown);
    }
  });
  if (!has_max) return reader_.error(value.at, "`scale` has no `max`: how many replicas there may be");
  if (scale.max < scale.min)
    return reader_.error(value.at, fmt::format("`max` is {} and `min` is {}", scale.max, scale.min));
  if (!scale.cpu && !scale.memory && !scale.in_flight && !scale.on_demand())
    return reader_.error(value.at, "`scale` says nothing to scale by: give `cpu`, `memory` or `in_flight`");
  if (scale.on_demand() && scale.window < idle_window_min)
    return reader_.error(
        value.at, "`window` is less than 1s; with `min = 0` a replica stays that long without a request");
  draft_.app.scale = scale;
}

void AppReader::limits(const Node& value) {
  if (!reader_.table(value, "a table")) return;
  Limits& limits = draft_.app.limits;
  const auto count = [this](const Node& node, std::int64_t min, std::int64_t max) {
    const auto number = reader_.integer(node, min, max);
    return number ? std::optional(static_cast<std::uint64_t>(*number)) : std::nullopt;
  };
  reader_.each_key(Section::limits, value, [&](std::string_view key, const Node& node) {
    if (key == "core") limits.core = reader_.size(node);
    if (key == "files") limits.files = count(node, 16, 1073741816);
    if (key == "cpu") limits.cpu = reader_.number(node, cpu_limit_min, cpu_limit_max);
    if (key == "pids") limits.pids = count(node, 1, pids_limit_max);
    if (key == "memory") {
      limits.memory = reader_.size(node);
      if (limits.memory && *limits.memory < memory_limit_min)
        reader_.error(node.at, "no program starts in so little memory: 1MiB is the least");
    }
  });
}

void AppReader::log(const Node& value) {
  if (!reader_.table(value, "a table")) return;
  LogOptions& log = draft_.app.log;
  reader_.each_key(Section::log, value, [&](std::string_view key, const Node& node) {
    if (key == "rotate") {
      const auto bytes = reader_.size(node);
      if (bytes && *bytes < 4096) return reader_.error(node.at, "a log file needs room for 4KiB");
      log.rotate_bytes = bytes.value_or(log.rotate_bytes);
    } else if (key == "keep") {
      log.keep = static_cast<int>(reader_.integer(node, 0, 1000).value_or(log.keep));
    } else if (const auto format = reader_.word(node, {"text", "json", "raw"})) {
      log.format = static_cast<LogFormat>(*format);
    }
  });
}

void AppReader::watch(const Node& value) {
  for (const Node* item : Reader::listed(value))
    if (auto glob = reader_.text_not_empty(*item)) draft_.app.watch.push_back(std::move(*glob));
}

}  // namespace

AppDraft read_app(const Reader& reader, const Member& member) {
  // Each built key of the table has its reader.
  return AppReader(reader, member).read(Section::app, [](auto, const auto&) { MUSTER_CHECK(false); });
}

AppDraft read_task(const Reader& reader, const Member& member,
                   const std::function<void(std::string_view key, const Node& value)>& other) {
  return AppReader(reader, member).read(Section::job, other);
}

}  // namespace muster::spec
