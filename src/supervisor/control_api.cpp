#include "supervisor/control_api.h"

#include <unistd.h>

#include <charconv>
#include <set>

#include "boost/json.hpp"
#include "fmt/core.h"
#include "supervisor/job_json.h"
#include "supervisor/log_stream.h"
#include "supervisor/text.h"
#include "supervisor/version.h"
#include "supervisor/volumes_json.h"

namespace muster::supervisor {

namespace json = boost::json;

namespace {

constexpr std::size_t rows_per_pull = 256;
constexpr std::size_t why_events_max = 40;

void refuse(const std::shared_ptr<ControlReply>& reply, int status, const std::string& sentence) {
  reply->send(status, json::serialize(json::object{{"error", escape_for_terminal(sentence)}}));
}

void answer(const std::shared_ptr<ControlReply>& reply, ExitCode code, const std::string& message) {
  reply->send(200, json::serialize(json::object{{"code", static_cast<int>(code)}, {"message", message}}));
}

std::optional<long> number(const std::string& text) {
  long value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc{} || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

// The query's `ordinal`, `tail`, …: none when it is not there, an error when it is no number.
Result<std::optional<long>> query_number(const ControlRequest& request, const std::string& name) {
  const auto at = request.query.find(name);
  if (at == request.query.end()) return std::optional<long>{};
  const auto value = number(at->second);
  if (!value) return Error{.message = fmt::format("'{}' is not a number: {}", name, at->second)};
  return value;
}

std::string query_text(const ControlRequest& request, const std::string& name) {
  const auto at = request.query.find(name);
  return at == request.query.end() ? "" : at->second;
}

// The body of a POST: an object with known keys only.
struct Body {
  json::object fields;

  [[nodiscard]] Result<std::string> text(const char* key) const {
    const json::value* value = fields.if_contains(key);
    if (value == nullptr || !value->is_string())
      return Error{.message = fmt::format("'{}' has to be a string", key)};
    return std::string(value->get_string());
  }
  [[nodiscard]] Result<bool> flag(const char* key, bool absent) const {
    const json::value* value = fields.if_contains(key);
    if (value == nullptr) return absent;
    if (!value->is_bool()) return Error{.message = fmt::format("'{}' has to be true or false", key)};
    return value->get_bool();
  }
  [[nodiscard]] Result<std::optional<int>> integer(const char* key) const {
    const json::value* value = fields.if_contains(key);
    if (value == nullptr || value->is_null()) return std::optional<int>{};
    if (!value->is_int64() || value->get_int64() < 0 || value->get_int64() > 1'000'000)
      return Error{.message = fmt::format("'{}' has to be a whole number, or null", key)};
    return std::optional<int>(static_cast<int>(value->get_int64()));
  }
};

Result<Body> parse_body(const std::string& text, const std::set<std::string>& known) {
  boost::system::error_code problem;
  json::value value = text.empty() ? json::object{} : json::parse(text, problem);
  if (problem) return Error{.message = "the body is not JSON: " + problem.message()};
  if (!value.is_object()) return Error{.message = "the body has to be an object"};
  for (const auto& field : value.get_object()) {
    if (!known.contains(std::string(field.key())))
      return Error{.message = fmt::format("unknown key '{}'", std::string(field.key()))};
  }
  return Body{std::move(value.get_object())};
}

const std::map<std::string, std::set<std::string>>& posts() {
  static const std::map<std::string, std::set<std::string>> table{
      {"/v1/apply", {"wait", "retry", "plan"}},
      {"/v1/start", {"app", "ordinal", "wait"}},
      {"/v1/stop", {"app", "ordinal", "wait"}},
      {"/v1/restart", {"app", "ordinal", "wait", "now"}},
      {"/v1/scale", {"app", "replicas", "wait"}},
      {"/v1/drain", {"app", "ordinal", "wait"}},
      {"/v1/undrain", {"app", "ordinal", "wait"}},
      {"/v1/pause", {"app", "wait"}},
      {"/v1/resume", {"app", "wait"}},
      {"/v1/rollout/undo", {"app", "wait"}},
      {"/v1/run", {"job", "wait"}},
      {"/v1/upgrade", {"grace_ms", "id"}},
      {"/v1/down", {"now", "wait"}},
      {"/v1/volumes/adopt", {"path"}},
      {"/v1/volumes/rm", {"path"}},
  };
  return table;
}

bool is_get(const std::string& path) {
  static const std::set<std::string> paths{"/v1/status",  "/v1/events", "/v1/logs",    "/v1/why",
                                           "/v1/rollout", "/v1/plan",   "/v1/version", "/v1/volumes"};
  return paths.contains(path);
}

}  // namespace

void ControlApi::handle(const ControlRequest& request, const Reply& reply) {
  if (request.path == "/v1/upgrade" && request.method == "GET")
    return reply->send(200, hooks_.last_upgrade());
  const bool get = is_get(request.path);
  if (!get && !posts().contains(request.path)) return refuse(reply, 404, "no such path: " + request.path);
  const std::string allowed = get ? "GET" : "POST";
  if (request.method != allowed) return refuse(reply, 405, fmt::format("{} wants {}", request.path, allowed));
  if (request.path.starts_with("/v1/volumes/")) return change_volume(request, reply);
  if (!get) return post(request, reply);
  if (request.path == "/v1/status") return status(reply);
  if (request.path == "/v1/events") return events(request, reply);
  if (request.path == "/v1/logs") return logs(request, reply);
  if (request.path == "/v1/why") return why(request, reply);
  if (request.path == "/v1/rollout") return rollout(request, reply);
  if (request.path == "/v1/plan") return plan(reply);
  if (request.path == "/v1/volumes") return volumes(request, reply);
  version(reply);
}

void ControlApi::status(const Reply& reply) {
  StatusInput input;
  input.world = &engine_.world();
  input.stats = engine_.traffic().stats();
  input.usage = engine_.usage();
  input.drift = engine_.look_for_drift();
  input.now = clock_now();
  input.daemon_started = engine_.started();
  input.pid = getpid();
  input.version = version_text;
  input.containment = engine_.instances().host().containment();
  input.limits = engine_.limits();
  reply->send(200, status_json(input));
}

void ControlApi::version(const Reply& reply) {
  const ProcessHost& host = engine_.instances().host();
  json::object
      limits;  // by kind: null where the kernel enforces it for the whole replica, else why it does not
  for (const LimitKind kind : limit_kinds) {
    const std::string& why = host.controllers().why_not(kind);
    limits[to_string(kind)] = why.empty() ? json::value(nullptr) : json::value(escape_for_terminal(why));
  }
  reply->send(200, json::serialize(json::object{{"version", version_text},
                                                {"pid", getpid()},
                                                {"containment", host.containment()},
                                                {"limits", std::move(limits)}}));
}

void ControlApi::rollout(const ControlRequest& request, const Reply& reply) {
  const std::string app = query_text(request, "app");
  auto body = rollout_json(engine_.world(), app, clock_now().mono);
  if (!body) return refuse(reply, 404, fmt::format("no app '{}'", app));
  reply->send(200, std::move(*body));
}

// The file is read here and now, as a reload would; what follows from it is found beside the loop.
void ControlApi::plan(const Reply& reply) {
  const ReadSpec read = source_.read();
  if (!read.spec) return answer(reply, read.code, read.error);
  const bool taken =
      plan_work_.make({.planner = engine_.planner(),
                       .spec = read.spec,
                       .now = clock_now(),
                       .drift = engine_.look_for_drift(),
                       .done = [reply](const Plan& plan) { reply->send(200, plan_json(plan)); }});
  if (!taken) refuse(reply, 503, "too many plans are being made");
}

void ControlApi::volumes(const ControlRequest& request, const Reply& reply) {
  const auto ordinal = query_number(request, "ordinal");
  if (!ordinal) return refuse(reply, 400, ordinal.error().message);
  VolumeFilter filter{.app = query_text(request, "app"),
                      .ordinal = std::nullopt,
                      .with_use = query_text(request, "use") != "0"};
  if (ordinal.value()) filter.ordinal = static_cast<int>(*ordinal.value());
  const bool taken = engine_.volumes().list(
      filter, [reply](const std::vector<VolumeRow>& rows) { reply->send(200, volumes_json(rows)); });
  if (!taken) refuse(reply, 503, "too many clients ask for the volumes");
}

void ControlApi::change_volume(const ControlRequest& request, const Reply& reply) {
  const auto body = parse_body(request.body, posts().at(request.path));
  if (!body) return refuse(reply, 400, body.error().message);
  const auto path = body.value().text("path");
  if (!path) return refuse(reply, 400, path.error().message);
  const VolumeKeeper::Done done = [reply](const Result<std::string>& told) {
    if (told) return answer(reply, ExitCode::ok, told.value());
    answer(reply, told.error().code, told.error().message);
  };
  if (request.path == "/v1/volumes/adopt") return engine_.volumes().adopt(path.value(), done);
  engine_.volumes().remove(path.value(), done);
}

void ControlApi::events(const ControlRequest& request, const Reply& reply) {
  const auto after = query_number(request, "after");
  const auto ordinal = query_number(request, "ordinal");
  if (!after || !ordinal) return refuse(reply, 400, (after ? ordinal.error() : after.error()).message);
  const std::string app = query_text(request, "app");
  std::optional<int> replica;
  if (ordinal.value()) replica = static_cast<int>(*ordinal.value());
  const auto seq = static_cast<std::uint64_t>(after.value().value_or(0));
  EventLog& log = engine_.events();
  if (query_text(request, "follow") != "1") {
    auto rows =
        std::make_shared<std::vector<LoggedEvent>>(log.after(seq, limits::events_kept_max, app, replica));
    auto next = std::make_shared<std::size_t>(0);
    return reply->stream([rows, next](std::string& to) {
      for (std::size_t count = 0; count < rows_per_pull && *next < rows->size(); ++count)
        to += to_json_line((*rows)[(*next)++]) + "\n";
      return *next < rows->size();
    });
  }
  std::weak_ptr<ControlReply> weak = reply;
  const auto id = log.subscribe(seq, [weak] {
    if (const auto alive = weak.lock()) alive->wake();
  });
  if (!id) return refuse(reply, 503, "too many clients follow the events");
  reply->on_gone([&log, id = *id] { log.unsubscribe(id); });
  reply->stream([&log, id = *id, app, replica](std::string& to) {
    // Nothing appended would mean "wait": events that are filtered out are passed over here.
    for (std::size_t before = to.size(), more = 1; more != 0 && to.size() == before;) {
      const EventLog::Taken taken = log.take(id, rows_per_pull);
      if (taken.lost > 0) to += fmt::format("{{\"lost\":{}}}\n", taken.lost);
      for (const LoggedEvent& event : taken.events) {
        const bool fits =
            (app.empty() || event.note.app == app) && (!replica || event.note.ordinal == replica);
        if (fits) to += to_json_line(event) + "\n";
      }
      more = taken.more ? 1 : 0;
    }
    return true;
  });
}

void ControlApi::logs(const ControlRequest& request, const Reply& reply) {
  const auto ordinal = query_number(request, "ordinal");
  const auto tail = query_number(request, "tail");
  if (!ordinal || !tail) return refuse(reply, 400, (ordinal ? tail.error() : ordinal.error()).message);
  LogQuery query;
  query.app = query_text(request, "app");
  if (ordinal.value()) query.ordinal = static_cast<int>(*ordinal.value());
  if (tail.value()) query.tail = static_cast<std::size_t>(*tail.value());
  if (const std::string since = query_text(request, "since"); !since.empty()) {
    query.since = parse_since(since, std::chrono::system_clock::now());
    if (!query.since)
      return refuse(reply, 400,
                    fmt::format("'since' is neither a length such as 5m nor a time such as "
                                "2026-01-01T00:00:00Z: {}",
                                since));
  }
  const World& world = engine_.world();
  if (!query.app.empty() && !world.apps.contains(query.app) && !world.jobs.contains(query.app))
    return refuse(reply, 404, fmt::format("no app '{}'", query.app));
  std::weak_ptr<ControlReply> weak = reply;
  auto opened =
      LogStream::open(engine_.logs(), std::move(query), query_text(request, "follow") == "1", [weak] {
        if (const auto alive = weak.lock()) alive->wake();
      });
  if (!opened) return refuse(reply, 500, opened.error().message);
  auto stream = std::shared_ptr<LogStream>(std::move(opened.value()));
  reply->stream([stream](std::string& to) {
    for (std::size_t before = to.size(); to.size() == before;) {
      const LogStream::Taken taken = stream->take(rows_per_pull);
      if (taken.lost > 0) to += fmt::format("{{\"lost\":{}}}\n", taken.lost);
      for (const StoredLine& line : taken.lines) {
        append_json_line(to, line.replica, line.time, line.stream, line.text);
        to += '\n';
      }
      if (taken.state == LogStream::Taken::State::ended) return false;
      if (taken.state == LogStream::Taken::State::waiting) return true;
    }
    return true;
  });
}

void ControlApi::why(const ControlRequest& request, const Reply& reply) {
  const auto ordinal = query_number(request, "ordinal");
  if (!ordinal) return refuse(reply, 400, ordinal.error().message);
  WhyInput input;
  input.world = &engine_.world();
  input.app = query_text(request, "app");
  if (ordinal.value()) input.ordinal = static_cast<int>(*ordinal.value());
  const lb::Stats stats = engine_.traffic().stats();
  input.stats = &stats;
  input.upstream_failures = engine_.upstream_failures();
  input.limits = engine_.limits();
  input.events = engine_.events().after(0, why_events_max, input.app, input.ordinal);
  const bool is_job = input.world->jobs.contains(input.app);
  if (is_job && !input.ordinal) input.logs = engine_.logs().tail(ReplicaId{.app = input.app, .ordinal = 0});
  if (input.ordinal) input.logs = engine_.logs().tail(ReplicaId{.app = input.app, .ordinal = *input.ordinal});
  input.drift = engine_.look_for_drift();
  input.now = clock_now();
  auto body = is_job ? job_why_json(input) : why_json(input);
  if (!body) {
    return refuse(reply, 404,
                  input.ordinal ? fmt::format("no replica {}/{}", input.app, *input.ordinal)
                                : fmt::format("no app '{}'", input.app));
  }
  reply->send(200, std::move(*body));
}

void ControlApi::post(const ControlRequest& request, const Reply& reply) {
  auto parsed = parse_body(request.body, posts().at(request.path));
  if (!parsed) return refuse(reply, 400, parsed.error().message);
  const Body body = std::move(parsed.value());
  const auto wait = body.flag("wait", true);
  const auto now = body.flag("now", false);
  const auto retry = body.flag("retry", false);
  const auto ordinal = body.integer("ordinal");
  const auto replicas = body.integer("replicas");
  for (const std::string& problem :
       {wait ? "" : wait.error().message, now ? "" : now.error().message, retry ? "" : retry.error().message,
        ordinal ? "" : ordinal.error().message, replicas ? "" : replicas.error().message}) {
    if (!problem.empty()) return refuse(reply, 400, problem);
  }
  if (request.path == "/v1/apply") {
    ReloadRequest reload{.command = std::nullopt, .retry = retry.value(), .plan = std::nullopt};
    if (body.fields.contains("plan")) {
      const auto plan = body.text("plan");
      if (!plan) return refuse(reply, 400, plan.error().message);
      reload.plan = plan.value();
    }
    return apply(reply, wait.value(), std::move(reload));
  }
  if (request.path == "/v1/down") return down(reply, now.value(), wait.value());
  if (request.path == "/v1/upgrade") {
    const auto grace = body.integer("grace_ms");
    if (!grace) return refuse(reply, 400, grace.error().message);
    UpgradeRequest upgrade_request;
    if (grace.value()) upgrade_request.grace = Millis(*grace.value());
    if (body.fields.contains("id")) {
      auto id = body.text("id");
      if (!id) return refuse(reply, 400, id.error().message);
      upgrade_request.id = std::move(id).value();
    }
    return upgrade(reply, std::move(upgrade_request));
  }
  if (request.path == "/v1/run") {
    const auto job = body.text("job");
    if (!job) return refuse(reply, 400, job.error().message);
    return command(reply, wait.value(),
                   [&](CommandId id) { return RunCommand{.command = id, .job = job.value()}; });
  }
  const auto app = body.text("app");
  if (!app) return refuse(reply, 400, app.error().message);
  post_to_app(request.path,
              {.target = {.app = app.value(), .ordinal = ordinal.value()},
               .wait = wait.value(),
               .now = now.value(),
               .replicas = replicas.value()},
              reply);
}

void ControlApi::post_to_app(const std::string& path, const AppOrder& order, const Reply& reply) {
  if (path == "/v1/start")
    return command(reply, order.wait,
                   [&](CommandId id) { return StartCommand{.command = id, .target = order.target}; });
  if (path == "/v1/stop")
    return command(reply, order.wait,
                   [&](CommandId id) { return StopCommand{.command = id, .target = order.target}; });
  if (path == "/v1/pause" || path == "/v1/resume") {
    return command(reply, order.wait, [&](CommandId id) {
      return PauseCommand{.command = id, .app = order.target.app, .pause = path == "/v1/pause"};
    });
  }
  if (path == "/v1/rollout/undo") {
    return command(reply, order.wait,
                   [&](CommandId id) { return UndoCommand{.command = id, .app = order.target.app}; });
  }
  if (path == "/v1/scale") {
    return command(reply, order.wait, [&](CommandId id) {
      return ScaleCommand{.command = id, .app = order.target.app, .replicas = order.replicas};
    });
  }
  if (path == "/v1/restart") {
    // A restart takes the env_files as they are now.
    RestartCommand restart{.command = {}, .target = order.target, .at_once = order.now, .env_file_vars = {}};
    const auto at = engine_.world().apps.find(order.target.app);
    if (at != engine_.world().apps.end()) {
      auto variables = source_.env_files_of(*at->second.file);
      if (!variables) return answer(reply, ExitCode::bad_spec, variables.error().message);
      restart.env_file_vars = std::move(variables.value());
    }
    return command(reply, order.wait, [&](CommandId id) {
      restart.command = id;
      return restart;
    });
  }
  command(reply, order.wait, [&](CommandId id) {
    return DrainCommand{.command = id, .target = order.target, .drain = path == "/v1/drain"};
  });
}

void ControlApi::apply(const Reply& reply, bool wait, ReloadRequest request) {
  const CommandId id = engine_.next_command();
  request.command = id;
  waiting_[id] = reply;
  if (const Status read = hooks_.reload(request); !read) {
    waiting_.erase(id);
    return answer(reply, read.error().code, read.error().message);
  }
  settle(id, reply, wait);
}

void ControlApi::down(const Reply& reply, bool now, bool wait) {
  hooks_.shut_down("muster down", now);
  if (!wait) return answer(reply, ExitCode::ok, "stopping");
  waiting_for_end_.push_back(reply);
}

void ControlApi::upgrade(const Reply& reply, UpgradeRequest request) {
  hooks_.upgrade(std::move(request),
                 [reply](const Error& error) { answer(reply, error.code, error.message); });
}

void ControlApi::tell_of_upgrade() {
  const auto waiting = std::exchange(waiting_, {});
  for (const auto& [id, reply] : waiting) {
    reply->on_gone([] {});
    answer(reply, ExitCode::timed_out,
           "the daemon is being upgraded; what was asked for goes on, `muster ps` shows how far it is");
    engine_.emit(CommandAbandoned{.command = id});
  }
}

void ControlApi::command(const Reply& reply, bool wait, const std::function<Event(CommandId)>& make) {
  const CommandId id = engine_.next_command();
  waiting_[id] = reply;
  engine_.emit(make(id));
  settle(id, reply, wait);
}

// One step now: what is refused is refused at once, also for those who do not wait.
void ControlApi::settle(CommandId id, const Reply& reply, bool wait) {
  engine_.turn();
  if (!waiting_.contains(id)) return;
  if (wait) {
    reply->on_gone([this, id] {
      if (waiting_.erase(id) > 0) engine_.emit(CommandAbandoned{.command = id});
    });
    return;
  }
  waiting_.erase(id);
  engine_.emit(CommandAbandoned{.command = id});
  engine_.when_saved([reply] { answer(reply, ExitCode::ok, "accepted"); });
}

void ControlApi::command_done(const CommandDone& done) {
  const auto at = waiting_.find(done.command);
  if (at == waiting_.end()) return;
  const Reply reply = std::move(at->second);
  waiting_.erase(at);
  engine_.when_saved([reply, done] { answer(reply, done.code, done.message); });
}

void ControlApi::finish(const std::string& message) {
  for (const Reply& reply : waiting_for_end_) answer(reply, ExitCode::ok, message);
  waiting_for_end_.clear();
  const auto waiting = std::move(waiting_);
  waiting_.clear();
  for (const auto& [id, reply] : waiting) answer(reply, ExitCode::failed, "the daemon has ended: " + message);
}

}  // namespace muster::supervisor
