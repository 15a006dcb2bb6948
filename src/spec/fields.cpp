#include "spec/fields.h"

#include <algorithm>
#include <array>
#include <utility>

#include "fmt/core.h"

namespace muster::spec {

namespace {

// Builds the list; each call says what an edit of the key does.
class Fields {
 public:
  void live(std::string key, std::string value) {
    fields_.push_back(Field{.key = prefix_ + key, .value = std::move(value), .restarts = false});
  }
  void born(std::string key, std::string value) {  // with the process: a new revision
    fields_.push_back(Field{.key = prefix_ + key, .value = std::move(value), .restarts = true});
  }
  // Keys are below `table` while `fill` runs.
  template <typename Fill>
  void below(std::string_view table, const Fill& fill) {
    const std::string outer = prefix_;
    prefix_.append(table).append(".");
    fill();
    prefix_ = outer;
  }
  std::vector<Field> take() { return std::move(fields_); }

 private:
  std::string prefix_;
  std::vector<Field> fields_;
};

std::string text_of(bool value) {
  return value ? "true" : "false";
}

std::string text_of(const Port& port) {
  switch (port.kind) {
    case PortKind::none:
      return "none";
    case PortKind::numbered:
      return std::to_string(port.base);
    case PortKind::automatic:
      return "auto";
    case PortKind::local:
      return "unix";
  }
  return "";
}

std::string text_of(const Share& share) {
  return fmt::format("{}{}", share.value, share.percent ? "%" : "");
}

bool is_plain_word(std::string_view word) {
  constexpr std::string_view safe = "%+,-./:=@_{}";
  return !word.empty() && std::ranges::all_of(word, [&](char letter) {
    return (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
           (letter >= '0' && letter <= '9') || safe.find(letter) != std::string_view::npos;
  });
}

// As sh(1) would have to be told it.
std::string words_text(const std::vector<Template>& words) {
  std::string text;
  for (const Template& word : words) {
    const std::string raw = word.text();
    if (!text.empty()) text += ' ';
    if (is_plain_word(raw)) {
      text += raw;
      continue;
    }
    text += '\'';
    for (const char letter : raw) text += letter == '\'' ? std::string("'\\''") : std::string(1, letter);
    text += '\'';
  }
  return text;
}

template <typename Range, typename Text>
std::string joined(const Range& values, const Text& text) {
  std::string all;
  bool first = true;
  for (const auto& value : values) {
    if (!std::exchange(first, false)) all += ", ";
    all += text(value);
  }
  return all;
}

std::string joined(const std::vector<std::string>& values) {
  return joined(values, [](const std::string& value) { return value; });
}

std::string text_of(const StatusRange& range) {
  return range.from == range.to ? std::to_string(range.from) : fmt::format("{}-{}", range.from, range.to);
}

std::string text_of(RestartPolicy policy) {
  switch (policy) {
    case RestartPolicy::always:
      return "always";
    case RestartPolicy::on_failure:
      return "on-failure";
    case RestartPolicy::never:
      return "never";
  }
  return "";
}

std::string text_of(UpdateStrategy strategy) {
  switch (strategy) {
    case UpdateStrategy::rolling:
      return "rolling";
    case UpdateStrategy::recreate:
      return "recreate";
    case UpdateStrategy::ordered:
      return "ordered";
  }
  return "";
}

std::string text_of(AfterCondition condition) {
  switch (condition) {
    case AfterCondition::ready:
      return "ready";
    case AfterCondition::started:
      return "started";
    case AfterCondition::completed:
      return "completed";
    case AfterCondition::completed_ok:
      return "completed-ok";
  }
  return "";
}

std::string text_of(LogFormat format) {
  switch (format) {
    case LogFormat::text:
      return "text";
    case LogFormat::json:
      return "json";
    case LogFormat::raw:
      return "raw";
  }
  return "";
}

void add_health(Fields& to, const HealthCheck& check, bool readiness) {
  if (check.always) to.live("none", "true");
  if (check.tcp) to.live("tcp", "true");
  if (check.http) to.live("http", check.http->text());
  if (!check.cmd.empty()) to.live("cmd", words_text(check.cmd));
  if (check.notify) to.live("notify", "true");
  if (check.log) to.live("log", *check.log);
  if (check.alive_only()) to.live("alive", duration_text(check.alive_for));
  to.live("every", duration_text(check.every));
  to.live("timeout", duration_text(check.timeout));
  to.live("fall", std::to_string(check.fall));
  to.live("rise", std::to_string(check.rise));
  if (readiness) to.live("start", duration_text(check.start));
  to.live("expect", joined(check.expect, [](const StatusRange& range) { return text_of(range); }));
}

void add_restart(Fields& to, const Restart& restart) {
  to.live("policy", text_of(restart.policy));
  to.live("backoff", duration_text(restart.backoff));
  to.live("max_backoff", duration_text(restart.max_backoff));
  to.live("jitter", fmt::format("{}", restart.jitter));
  to.live("reset", duration_text(restart.reset));
  to.live("max_restarts", restart.max_restarts ? fmt::format("{} in {}", restart.max_restarts->count,
                                                             duration_text(restart.max_restarts->window))
                                               : "none");
  to.live("ok_codes", joined(restart.ok_codes, [](int code) { return std::to_string(code); }));
}

void add_stop(Fields& to, const Stop& stop) {
  to.live("drain", duration_text(stop.drain));
  to.live("signal", std::to_string(stop.signal));
  to.live("timeout", duration_text(stop.timeout));
  if (!stop.exec.empty()) to.live("exec", words_text(stop.exec));
}

void add_update(Fields& to, const Update& update) {
  to.live("strategy", text_of(update.strategy));
  to.live("surge", text_of(update.surge));
  // What is not written lets no ready replica go early.
  if (update.unavailable_given) to.live("unavailable", text_of(update.unavailable));
  to.live("min_ready", duration_text(update.min_ready));
  to.live("deadline", duration_text(update.deadline));
  to.live("rollback", text_of(update.rollback));
}

void add_scale(Fields& to, const Scale& scale) {
  to.live("min", std::to_string(scale.min));
  to.live("max", std::to_string(scale.max));
  if (scale.cpu) to.live("cpu", std::to_string(*scale.cpu));
  if (scale.in_flight) to.live("in_flight", std::to_string(*scale.in_flight));
  if (scale.memory) to.live("memory", std::to_string(*scale.memory));
  to.live("window", duration_text(scale.window));
  to.live("cooldown", duration_text(scale.cooldown));
}

void add_ports(Fields& to, const App& app) {
  to.born("port", text_of(app.port));
  for (const NamedPort& named : app.ports) to.born("ports." + named.name, text_of(named.port));
}

void add_environment(Fields& to, const App& app) {
  for (const EnvVar& variable : app.env) to.born("env." + variable.name, variable.value.text());
  if (!app.env_files.empty()) to.live("env_file", joined(app.env_files));
  for (const auto& [name, value] : app.env_file_vars) to.born("env_file." + name, value);
  to.born("inherit_env", app.inherit_env.all || app.inherit_env.names.empty()
                             ? text_of(app.inherit_env.all)
                             : joined(app.inherit_env.names));
}

void add_identity(Fields& to, const App& app) {
  to.born("dir", app.dir.text());
  if (!app.user.empty()) to.born("user", app.user);
  if (!app.group.empty()) to.born("group", app.group);
  to.born("umask", fmt::format("{:03o}", app.umask));
  to.born("nice", std::to_string(app.nice));
  to.born("no_new_privs", text_of(app.no_new_privs));
}

void add_volumes(Fields& to, const App& app) {
  for (const Volume& volume : app.volumes) {
    const std::string key = "volume." + volume.key;
    to.born(key, volume.name);
    to.born(key + ".mode", fmt::format("{:04o}", volume.mode));
    if (volume.path) to.born(key + ".path", *volume.path);
    if (volume.size) to.live(key + ".size", size_text(*volume.size));
  }
}

std::string text_of(Overlap overlap) {
  switch (overlap) {
    case Overlap::forbid:
      return "forbid";
    case Overlap::allow:
      return "allow";
    case Overlap::replace:
      return "replace";
  }
  return "";
}

std::string text_of(ListenMode mode) {
  return mode == ListenMode::http ? "http" : "tcp";
}

std::string text_of(AccessLogFormat format) {
  switch (format) {
    case AccessLogFormat::off:
      return "off";
    case AccessLogFormat::common:
      return "common";
    case AccessLogFormat::combined:
      return "combined";
    case AccessLogFormat::json:
      return "json";
  }
  return "";
}

std::string text_of(const Balance& balance) {
  switch (balance.kind) {
    case Balance::Kind::round_robin:
      return "round-robin";
    case Balance::Kind::least_conn:
      return "least-conn";
    case Balance::Kind::p2c:
      return "p2c";
    case Balance::Kind::hash:
      break;
  }
  switch (balance.key) {
    case Balance::Key::client:
      return "hash:client";
    case Balance::Key::path:
      return "hash:path";
    case Balance::Key::header:
      return "hash:header:" + balance.name;
    case Balance::Key::cookie:
      return "hash:cookie:" + balance.name;
  }
  return "";
}

std::string text_of(ProxyProtocol::Version version) {
  switch (version) {
    case ProxyProtocol::Version::none:
      return "none";
    case ProxyProtocol::Version::v1:
      return "v1";
    case ProxyProtocol::Version::v2:
      return "v2";
  }
  return "";
}

std::string text_of(const Network& network) {
  std::string hex;
  for (const std::uint8_t byte : network.address) hex += fmt::format("{:02x}", byte);
  constexpr std::string_view mapped = "00000000000000000000ffff";
  if (network.bits >= 96 && hex.starts_with(mapped))
    return fmt::format("{}.{}.{}.{}/{}", network.address[12], network.address[13], network.address[14],
                       network.address[15], network.bits - 96);
  std::string text;
  for (std::size_t at = 0; at < hex.size(); at += 4) text += (at == 0 ? "" : ":") + hex.substr(at, 4);
  return fmt::format("{}/{}", text, network.bits);
}

void add_timeouts(Fields& to, const ListenTimeouts& timeout) {
  to.live("connect", duration_text(timeout.connect));
  to.live("head", duration_text(timeout.head));
  to.live("idle", duration_text(timeout.idle));
  to.live("keepalive", duration_text(timeout.keepalive));
  to.live("response", duration_text(timeout.response));
  to.live("tunnel", duration_text(timeout.tunnel));
  to.live("send", duration_text(timeout.send));
}

void add_route(Fields& to, const Route& route) {
  to.live("host", route.host.empty() ? "*" : route.host);
  to.live("path", route.path);
  if (!route.app.empty()) to.live("to", route.app);
  to.live("weight", std::to_string(route.weight));
  if (route.redirect) to.live("redirect", route.redirect->text());
  if (route.respond) {
    to.live("respond.status", std::to_string(route.respond->status));
    to.live("respond.body", route.respond->body);
    to.live("respond.type", route.respond->type);
  }
  to.below("timeout", [&] { add_timeouts(to, route.timeout); });
}

// The order of the edits of one name matters, so the fields have numbers.
void add_edits(Fields& to, const HeaderEdits& edits) {
  const auto each = [&to](const char* what, const std::vector<HeaderField>& fields) {
    for (std::size_t at = 0; at < fields.size(); ++at)
      to.live(fmt::format("{}.{}.{}", what, at + 1, fields[at].name), fields[at].value);
  };
  each("set", edits.set);
  each("add", edits.add);
  if (!edits.remove.empty()) to.live("remove", joined(edits.remove));
}

void add_tls(Fields& to, const Tls& tls) {
  to.live("min", tls.min == TlsVersion::tls1_2 ? "1.2" : "1.3");
  for (std::size_t at = 0; at < tls.certificates.size(); ++at) {
    const Certificate& certificate = *tls.certificates[at];
    to.live(fmt::format("cert.{}", at + 1),
            fmt::format("{} (sha256 {})", joined(certificate.names()), certificate.fingerprint()));
  }
  for (std::size_t at = 0; at < tls.client_ca.size(); ++at)
    to.live(fmt::format("client_ca.{}", at + 1), "sha256 " + fingerprint_of(*tls.client_ca[at]));
}

void add_limits(Fields& to, const Listener& listener) {
  to.live("retries", std::to_string(listener.retries));
  to.live("queue.size", std::to_string(listener.queue_size));
  to.live("queue.timeout", duration_text(listener.queue_timeout));
  if (listener.eject) {
    to.live("eject.fails", std::to_string(listener.eject->fails));
    to.live("eject.time", duration_text(listener.eject->time));
  } else {
    to.live("eject", "off");
  }
  if (listener.body_max) to.live("body_max", size_text(*listener.body_max));
  if (listener.max_conns) to.live("max_conns", std::to_string(*listener.max_conns));
  if (listener.max_in_flight) to.live("max_in_flight", std::to_string(*listener.max_in_flight));
}

}  // namespace

std::string duration_text(Millis length) {
  std::int64_t left = length.count();
  if (left == 0) return "0s";
  if (left % 1000 != 0) return fmt::format("{}ms", left);
  left /= 1000;
  std::string text;
  constexpr std::array<std::pair<std::int64_t, char>, 4> units{
      {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}}};
  for (const auto& [unit, letter] : units) {
    if (left >= unit) text += fmt::format("{}{}", left / unit, letter);
    left %= unit;
  }
  return text;
}

std::string size_text(std::uint64_t bytes) {
  constexpr std::array<std::string_view, 4> units{"KiB", "MiB", "GiB", "TiB"};
  std::string_view unit = "B";
  for (const std::string_view next : units) {
    if (bytes == 0 || bytes % 1024 != 0) break;
    bytes /= 1024;
    unit = next;
  }
  return fmt::format("{}{}", bytes, unit);
}

std::vector<Field> fields_of(const App& app) {
  Fields fields;
  fields.born("run", app.shell ? app.run.front().text() : words_text(app.run));
  fields.born("shell", text_of(app.shell));
  fields.live("replicas", std::to_string(app.replicas));
  if (app.scale) fields.below("scale", [&] { add_scale(fields, *app.scale); });
  add_ports(fields, app);
  fields.below("health", [&] { add_health(fields, app.health, true); });
  if (app.live) fields.below("live", [&] { add_health(fields, *app.live, false); });
  if (app.watchdog) fields.live("watchdog", duration_text(*app.watchdog));
  for (const Dependency& dependency : app.after)
    fields.live("after." + dependency.app, text_of(dependency.condition));
  fields.below("restart", [&] { add_restart(fields, app.restart); });
  fields.below("stop", [&] { add_stop(fields, app.stop); });
  fields.below("update", [&] { add_update(fields, app.update); });
  add_environment(fields, app);
  add_identity(fields, app);
  add_volumes(fields, app);
  if (app.limits.files) fields.born("limits.files", std::to_string(*app.limits.files));
  if (app.limits.core) fields.born("limits.core", size_text(*app.limits.core));
  if (app.limits.memory) fields.live("limits.memory", size_text(*app.limits.memory));
  if (app.limits.cpu) fields.live("limits.cpu", fmt::format("{}", *app.limits.cpu));
  if (app.limits.pids) fields.live("limits.pids", std::to_string(*app.limits.pids));
  fields.live("log.rotate", size_text(app.log.rotate_bytes));
  fields.live("log.keep", std::to_string(app.log.keep));
  fields.live("log.format", text_of(app.log.format));
  if (!app.watch.empty()) fields.live("watch", joined(app.watch));
  return fields.take();
}

// What the run is made of, and when; nothing of it runs on, so nothing needs a new revision.
std::vector<Field> fields_of(const Job& job) {
  Fields fields;
  fields.live("schedule", job.schedule ? job.schedule->text : "");
  if (!job.timezone.empty()) fields.live("timezone", job.timezone);
  if (job.timeout) fields.live("timeout", duration_text(*job.timeout));
  fields.live("overlap", text_of(job.overlap));
  fields.live("retries", std::to_string(job.retries));
  if (!job.before.empty()) fields.live("before", joined(job.before));
  std::vector<Field> all = fields.take();
  // Keys that only an app has say nothing here.
  for (Field& field : fields_of(job.task)) {
    constexpr std::array<std::string_view, 6> of_apps{"replicas", "port",    "health.",
                                                      "live.",    "update.", "restart."};
    const bool is_of_apps = std::ranges::any_of(
        of_apps, [&](std::string_view prefix) { return std::string_view(field.key).starts_with(prefix); });
    field.restarts = false;
    if (!is_of_apps) all.push_back(std::move(field));
  }
  return all;
}

std::vector<Field> fields_of(const Listener& listener) {
  Fields fields;
  fields.live("bind", joined(listener.bind, [](const BindAddress& bind) { return bind.text; }));
  fields.live("mode", text_of(listener.mode));
  if (!listener.app.empty()) fields.live("to", listener.app);
  for (std::size_t at = 0; at < listener.routes.size(); ++at)
    fields.below(fmt::format("route.{}", at + 1), [&] { add_route(fields, listener.routes[at]); });
  fields.below("timeout", [&] { add_timeouts(fields, listener.timeout); });
  fields.live("balance", text_of(listener.balance));
  if (!listener.sticky_cookie.empty()) fields.live("sticky.cookie", listener.sticky_cookie);
  add_limits(fields, listener);
  fields.live("proxy_protocol.in", text_of(listener.proxy_protocol.in));
  fields.live("proxy_protocol.out", text_of(listener.proxy_protocol.out));
  fields.below("headers", [&] { add_edits(fields, listener.headers); });
  fields.below("response_headers", [&] { add_edits(fields, listener.response_headers); });
  if (!listener.trusted_proxies.empty())
    fields.live("trusted_proxies",
                joined(listener.trusted_proxies, [](const Network& network) { return text_of(network); }));
  fields.live("access_log", text_of(listener.access_log));
  if (listener.tls) fields.below("tls", [&] { add_tls(fields, *listener.tls); });
  return fields.take();
}

std::vector<Field> fields_of(const Daemon& daemon) {
  Fields fields;
  const auto level = [&] {
    switch (daemon.log_level) {
      case LogLevel::debug:
        return "debug";
      case LogLevel::info:
        return "info";
      case LogLevel::warn:
        return "warn";
      case LogLevel::error:
        return "error";
    }
    return "";
  };
  fields.live("threads", daemon.threads == 0 ? "auto" : std::to_string(daemon.threads));
  fields.live("port_range", fmt::format("{}-{}", daemon.port_range_first, daemon.port_range_last));
  fields.live("log_level", level());
  fields.live("log_budget", size_text(daemon.log_budget_bytes));
  fields.live("watch_spec", text_of(daemon.watch_spec));
  return fields.take();
}

std::vector<FieldChange> changed_fields(const std::vector<Field>& before, const std::vector<Field>& after) {
  std::vector<FieldChange> changes;
  for (const Field& field : after) {
    const auto old = std::ranges::find(before, field.key, &Field::key);
    if (old != before.end() && old->value == field.value) continue;
    changes.push_back(FieldChange{.key = field.key,
                                  .before = old == before.end() ? std::nullopt : std::optional(old->value),
                                  .after = field.value,
                                  .restarts = field.restarts});
  }
  for (const Field& field : before) {
    if (std::ranges::find(after, field.key, &Field::key) != after.end()) continue;
    changes.push_back(FieldChange{
        .key = field.key, .before = field.value, .after = std::nullopt, .restarts = field.restarts});
  }
  return changes;
}

}  // namespace muster::spec
