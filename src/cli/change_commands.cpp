// Commands that change what runs: POST, then the daemon's verdict is the exit code.
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "base/fd.h"
#include "cli/commands_run.h"
#include "cli/json_view.h"
#include "cli/output.h"
#include "fmt/core.h"
#include "supervisor/text.h"

namespace muster::cli {

namespace json = boost::json;

namespace {

// An exit code comes over the wire: only those of the contract are passed on.
int exit_code(std::int64_t code) {
  return code >= 0 && code <= 127 ? static_cast<int>(code) : code_of(ExitCode::failed);
}

std::string indented_lines(const std::string& text) {
  std::string safe;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    safe += supervisor::escape_for_terminal(std::string_view(text).substr(at, end - at)) + "\n";
    at = end + 1;
  }
  return safe;
}

int tell(const Context& context, const Answer& answer) {
  if (answer.status != 200) return fail(refusal(answer));
  const auto parsed = parse_object(answer.body);
  if (!parsed) return fail(parsed.error());
  const JsonView verdict(&parsed.value());
  const int code = exit_code(verdict["code"].whole().value_or(1));
  const std::string message = indented_lines(verdict["message"].text());
  if (context.arguments.json()) {
    print(answer.body + "\n");
  } else if (code == 0) {
    print(message);
  } else {
    complain(message.empty() ? "failed" : std::string_view(message).substr(0, message.size() - 1));
  }
  return code;
}

// `what` is what was asked for: "restart web/2".
int change(const Context& context, const Client& client, const std::string& path, const std::string& what,
           const json::object& body) {
  auto answer = client.post(path, json::serialize(body), context.arguments.timeout);
  if (answer) return tell(context, answer.value());
  if (answer.error().code == ExitCode::timed_out)
    complain(fmt::format("{}: not settled within the --timeout; it goes on, `muster ps` shows how far it is",
                         what));
  else
    complain(answer.error().message);
  return code_of(answer.error().code);
}

json::value or_null(const std::optional<int>& number) {
  return number ? json::value(*number) : json::value(nullptr);
}

json::object target_body(const Arguments& arguments, const Target& target) {
  json::object body;
  body["app"] = target.app;
  body["wait"] = arguments.wait;
  if (arguments.command() == Command::scale) {
    body["replicas"] = or_null(target.replicas);
  } else if (arguments.row->operand != Operand::app) {
    body["ordinal"] = or_null(target.ordinal);
  }
  if (arguments.command() == Command::restart) body["now"] = arguments.now;
  return body;
}

// Until the daemon's process is gone: `down` is answered before that.
int wait_for_end(const Context& context, const Client& client, const Fd& pidfd) {
  const Instant deadline = std::chrono::steady_clock::now() + context.arguments.timeout;
  while (true) {
    // Without a pidfd (another pid namespace) the socket that nobody answers any more says it.
    if (!pidfd && !Client::at(client.path())) return 0;
    const auto left = std::chrono::ceil<Millis>(deadline - std::chrono::steady_clock::now()).count();
    if (left <= 0) break;
    pollfd ended{.fd = pidfd.get(), .events = POLLIN, .revents = 0};
    const int ready =
        ::poll(&ended, pidfd ? 1 : 0, static_cast<int>(std::min<std::int64_t>(left, pidfd ? 3'600'000 : 50)));
    if (ready > 0) return 0;
  }
  complain("still stopping after the --timeout; `muster ps` shows what is left");
  return code_of(ExitCode::timed_out);
}

}  // namespace

int run_apply(const Context& context) {
  auto client = find_daemon(context);
  if (!client) return fail(client.error());
  json::object body{{"wait", context.arguments.wait}, {"retry", context.arguments.retry}};
  if (context.arguments.plan) body["plan"] = *context.arguments.plan;
  return change(context, client.value(), "/v1/apply", "apply", body);
}

int run_targets(const Context& context) {
  const Arguments& arguments = context.arguments;
  auto client = find_daemon(context);
  if (!client) return fail(client.error());
  const std::string path = fmt::format("/v1/{}", arguments.row->name);
  int worst = 0;
  for (std::size_t i = 0; i < arguments.targets.size(); ++i) {
    const Target& target = arguments.targets[i];
    const std::string what = fmt::format("{} {}", arguments.row->name, arguments.operands[i]);
    worst = std::max(worst, change(context, client.value(), path, what, target_body(arguments, target)));
  }
  return worst;
}

int run_undo(const Context& context) {
  auto client = find_daemon(context);
  if (!client) return fail(client.error());
  const std::string& app = context.arguments.targets.front().app;
  return change(context, client.value(), "/v1/rollout/undo", "rollout undo " + app,
                json::object{{"app", app}, {"wait", context.arguments.wait}});
}

int run_job(const Context& context) {
  auto client = find_daemon(context);
  if (!client) return fail(client.error());
  const std::string& job = context.arguments.targets.front().app;
  return change(context, client.value(), "/v1/run", "run " + job,
                json::object{{"job", job}, {"wait", context.arguments.wait}});
}

namespace {
// What tells this upgrade from every other one.
std::string new_id() {
  return fmt::format("{}-{}", ::getpid(), std::chrono::system_clock::now().time_since_epoch().count());
}

// The next image tells about it, once it is there.
Result<std::string> ask_next_image(const Client& client, const std::string& id, Instant deadline) {
  constexpr std::chrono::milliseconds pause{20};
  for (;;) {
    const auto left = std::chrono::ceil<Millis>(deadline - std::chrono::steady_clock::now());
    if (left <= Millis::zero())
      return Error{.message = "upgrade: no word from the daemon within the --timeout",
                   .code = ExitCode::timed_out};
    const auto answer = client.get("/v1/upgrade", left);
    if (answer && answer.value().status == 200) {
      const auto parsed = parse_object(answer.value().body);
      if (parsed && JsonView(&parsed.value())["id"].text() == id) return answer.value().body;
    }
    if (answer)
      return Error{.message = "upgrade: the daemon that answers now knows nothing of it; its log says why"};
    if (answer.error().code == ExitCode::unreachable) return answer.error();
    ::poll(nullptr, 0, static_cast<int>(pause.count()));  // a connection of before was cut: once more
  }
}
}  // namespace

int run_upgrade(const Context& context) {
  auto client = find_daemon(context);
  if (!client) return fail(client.error());
  const std::string id = new_id();
  const Instant deadline = std::chrono::steady_clock::now() + context.arguments.timeout;
  const json::object body{{"grace_ms", context.arguments.grace.count()}, {"id", id}};
  const auto refused = client.value().post("/v1/upgrade", json::serialize(body), context.arguments.timeout);
  if (refused) return tell(context, refused.value());
  if (refused.error().code == ExitCode::timed_out) return fail(refused.error());
  const auto told = ask_next_image(client.value(), id, deadline);
  if (!told) return fail(told.error());
  if (context.arguments.json()) {
    print(told.value() + "\n");
  } else {
    const auto parsed = parse_object(told.value());
    print(indented_lines(JsonView(&parsed.value())["message"].text()));
  }
  return 0;
}

int post_volume(const Context& context, const Client& client, const std::string& to, const std::string& what,
                const std::string& path) {
  return change(context, client, to, what, json::object{{"path", path}});
}

int run_down(const Context& context) {
  auto client = find_daemon(context);
  if (!client) return fail(client.error());
  const int pid = client.value().daemon_pid();
  const Fd pidfd(pid > 0 ? static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)) : -1);
  const json::object body{{"now", context.arguments.now}, {"wait", false}};
  const int code = change(context, client.value(), "/v1/down", "down", body);
  return code != 0 || !context.arguments.wait ? code : wait_for_end(context, client.value(), pidfd);
}

}  // namespace muster::cli
