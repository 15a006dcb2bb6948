// `up` and `daemon`: everything around supervisor::run_daemon. Alone in its file, so that the tests of the client
// link without the daemon.
#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <memory>
#include <optional>
#include <system_error>
#include <thread>

#include "cli/commands_run.h"
#include "cli/console.h"
#include "cli/json_view.h"
#include "cli/output.h"
#include "fmt/core.h"
#include "supervisor/daemon.h"
#include "supervisor/own_log.h"

namespace muster::cli {

namespace {

constexpr std::chrono::milliseconds last_child_wait{2000};
constexpr std::chrono::milliseconds look_again{10};

// The pid of the daemon that has the socket; none: nobody has, or only a child that a killed daemon was just starting.
std::optional<int> daemon_at(const std::string& socket) {
  const auto deadline = std::chrono::steady_clock::now() + last_child_wait;
  while (true) {
    const auto client = Client::at(socket);
    if (!client) return std::nullopt;
    const int pid = client.value().daemon_pid();
    if (const auto answer = client.value().get("/v1/version", std::chrono::seconds(2))) {
      const auto parsed = parse_object(answer.value().body);
      return parsed ? static_cast<int>(JsonView(&parsed.value())["pid"].whole().value_or(pid)) : pid;
    }
    const bool is_dead = pid > 0 && ::kill(pid, 0) != 0 && errno == ESRCH;
    if (!is_dead || std::chrono::steady_clock::now() >= deadline) return pid;
    std::this_thread::sleep_for(look_again);
  }
}

// A daemon that has the socket is named and left alone.
Status refuse_second(const DaemonPaths& paths) {
  const auto pid = daemon_at(paths.socket);
  if (!pid) return Unit{};
  return Error{.message = fmt::format("a daemon for {} runs already, pid {} ({}); `muster down` ends it",
                                      paths.spec, *pid, paths.socket)};
}

// MUSTER_THREADS, 1..256, wins over [daemon] threads.
Result<std::optional<int>> threads_from(const std::vector<std::string>& environment) {
  constexpr std::string_view name = "MUSTER_THREADS=";
  for (const std::string& entry : environment) {
    if (!entry.starts_with(name) || entry.size() == name.size()) continue;
    const std::string_view text = std::string_view(entry).substr(name.size());
    int threads = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), threads);
    if (problem != std::errc() || end != text.data() + text.size() || threads < 1 || threads > 256)
      return Error{.message = "MUSTER_THREADS is a number from 1 to 256", .code = ExitCode::usage};
    return std::optional(threads);
  }
  return std::optional<int>();
}

Result<supervisor::DaemonOptions> daemon_options(const Context& context, supervisor::RunMode mode) {
  auto paths = daemon_paths(context.arguments, context.around);
  if (!paths) return paths.error();
  const bool is_first = context.handover == nullptr;
  if (is_first) {
    if (Status alone = refuse_second(paths.value()); !alone) return alone.error();
  }
  if (Status made = prepare_socket_folder(paths.value().socket, context.around); !made) return made.error();
  auto threads = threads_from(context.environment);
  if (!threads) return threads.error();
  return supervisor::DaemonOptions{
      .mode = mode,
      .spec_path = paths.value().spec,
      .socket_path = paths.value().socket,
      .state_dir = paths.value().state_dir,
      .log_dir = paths.value().log_dir,
      .run_dir = paths.value().run_dir,
      .only_apps = context.arguments.operands,
      .environment = context.environment,
      .threads = threads.value(),
      .image = *context.image,
      .handover = is_first ? std::nullopt : std::optional(std::move(*context.handover)),
      .on_line = {},
      .on_event = {}};
}

// Started as /proc/self/exe (`demo` does), the process is called "exe", which says nothing to whoever reads ps(1). Before
// the first thread, because threads take over the name.
void take_own_name() {
  std::array<char, 16> name{};  // TASK_COMM_LEN
  if (::prctl(PR_GET_NAME, name.data()) == 0 && std::string_view(name.data()) == "exe")
    ::prctl(PR_SET_NAME, "muster");
}

void open_log(const Context& context) {
  const bool colour = !context.arguments.no_color && ::isatty(STDERR_FILENO) == 1;
  supervisor::open_own_log(supervisor::detect_own_log_style(), spec::LogLevel::info, colour);
}

}  // namespace

int run_daemon(const Context& context) {
  take_own_name();
  auto options = daemon_options(context, supervisor::RunMode::daemon);
  if (!options) return fail(options.error());
  open_log(context);
  return supervisor::run_daemon(std::move(options).value());
}

int run_up(const Context& context) {
  take_own_name();
  auto options = daemon_options(context, supervisor::RunMode::up);
  if (!options) return fail(options.error());
  std::signal(SIGPIPE, SIG_IGN);  // a reader of our output that goes away ends nothing
  open_log(context);
  std::optional<Console> console;
  try {
    console.emplace(STDOUT_FILENO, ConsoleOptions{.colour = colour_wanted(context.arguments),
                                                  .escape = stdout_is_terminal(),
                                                  .json = context.arguments.json()});
  } catch (const std::system_error& refused) {
    return fail(system_error("start the thread of the output", refused.code().value()));
  }
  options.value().on_line = [&console](const supervisor::LogLine& line) { console->line(line); };
  options.value().on_event = [&console](const supervisor::LoggedEvent& event) { console->event(event); };
  options.value().settle_output = [&console](Millis limit) { console->settle(limit); };
  return supervisor::run_daemon(std::move(options).value());
}

}  // namespace muster::cli
