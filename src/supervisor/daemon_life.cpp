#include "supervisor/daemon_life.h"

#include <unistd.h>

#include <csignal>

#include "base/check.h"
#include "fmt/core.h"
#include "supervisor/access_logs.h"
#include "supervisor/own_log.h"

namespace muster::supervisor {

namespace {

constexpr Millis stop_grace{2000};  // of the traffic threads, once every replica has stopped
constexpr std::uint64_t extend_every_ms = 5'000;
constexpr Millis extend_by{30'000};  // TimeoutStopSec, pushed on while the ordered stop goes on

template <typename Handle>
void close_handle(Handle* handle) {
  if (handle == nullptr) return;
  handle->data = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(handle),
           [](uv_handle_t* closed) { delete reinterpret_cast<Handle*>(closed); });
}

spec::LogLevel level_of(Severity severity) {
  switch (severity) {
    case Severity::info:
      return spec::LogLevel::info;
    case Severity::warning:
      return spec::LogLevel::warn;
    case Severity::error:
      return spec::LogLevel::error;
  }
  return spec::LogLevel::info;
}

}  // namespace

// A listener's socket file, or the state file, is gone: both are made again.
void Daemon::check_own_file(const std::string& path) {
  if (shutting_down_) return;
  if (path == state_path()) {
    if (::access(path.c_str(), F_OK) == 0) return;
    engine_->note(Severity::warning, "state", path + " was removed: written again");
    return engine_->save_state();
  }
  if (path == options_.log_dir) {
    if (::access(path.c_str(), F_OK) == 0) return;
    engine_->note(Severity::warning, "logs", path + " was removed: made again with the next line");
    return engine_->reopen_logs();
  }
  if (!engine_->traffic().has_lost(path)) return;
  const Status opened = use(std::make_shared<const spec::Spec>(*spec_), std::nullopt);
  engine_->note(Severity::warning, "listener",
                opened ? fmt::format("unix:{} was removed: opened again", path)
                       : fmt::format("unix:{} was removed and cannot be opened again: {}", path,
                                     opened.error().message));
}

// The socket's file is gone or is somebody else's: without it nobody reaches the daemon.
void Daemon::check_socket() {
  if (shutting_down_ || control_->still_there()) return;
  const Status opened = control_->reopen();
  engine_->note(Severity::warning, "control-socket",
                opened ? fmt::format("{} was removed: made again", options_.socket_path)
                       : fmt::format("{} was removed and cannot be made again: {}", options_.socket_path,
                                     opened.error().message));
}

void Daemon::on_signal(int number) {
  const std::string name = signal_name(number);
  switch (number) {
    case SIGHUP:
      if (options_.mode == RunMode::daemon) return hang_up();
      [[fallthrough]];
    case SIGINT:
    case SIGTERM:
      if (end_signal_ == 0) end_signal_ = number;
      return shut_down(name, shutting_down_);
    case SIGUSR1:
      engine_->reopen_logs();
      engine_->note(Severity::info, "logs", "log files reopened (SIGUSR1)");
      return;
    default:
      upgrade({}, nullptr);
  }
}

void Daemon::hang_up() {
  if (shutting_down_) return;
  sd_.reloading("reading the spec");
  const Status read = reload();
  engine_->turn();
  sd_.ready(read ? "running" : "running; the newest spec is refused");
}

Status Daemon::reload(const ReloadRequest& request) {
  if (shutting_down_) return Error{.message = "the daemon is stopping"};
  const ReadSpec read = source_.read();
  if (!read.warnings.empty()) log_warn(read.warnings);
  if (!read.spec) {
    engine_->emit(SpecRejected{.error = read.error, .listeners = read.listener_errors});
    return Error{.message = read.error, .code = read.code};
  }
  if (request.plan && *request.plan != plan_id(engine_->world(), *read.spec))
    return Error{.message =
                     fmt::format("plan {} is stale: the file, what is in force or a hold has changed since; "
                                 "`muster plan` makes a new one",
                                 *request.plan)};
  if (Status used = use(read.spec, request.command, request.retry); !used) {
    engine_->emit(SpecRejected{.error = used.error().message});
    return used;
  }
  return Unit{};
}

// The spec is fine: it is taken if all its listeners can be opened, else nothing of it is.
Status Daemon::use(const std::shared_ptr<const spec::Spec>& spec, std::optional<CommandId> command,
                   bool retry) {
  if (Status prepared = engine_->traffic().prepare(spec); !prepared) return prepared;
  if (spec_ && spec_->daemon.threads != spec->daemon.threads)
    engine_->note(Severity::warning, "spec", "daemon.threads counts from the next start of the daemon");
  if (spec_ && spec_->daemon.on_crash != spec->daemon.on_crash)
    engine_->note(Severity::warning, "spec", "daemon.on_crash counts from the next start of the daemon");
  spec_ = spec;
  set_own_log_level(spec->daemon.log_level);
  engine_->logs().set_budget(spec->daemon.log_budget_bytes);
  engine_->instances().use_ports_of(*spec);
  engine_->instances().use_users_of(*spec);
  engine_->volumes().use(spec);
  for (const spec::App& app : spec->apps) engine_->logs().set_options(app.name, app.log);
  for (const spec::Job& job : spec->jobs) engine_->logs().set_options(job.name(), job.task.log);
  engine_->logs().set_access_logs(access_logs_of(*spec));
  engine_->emit(SpecLoaded{.spec = spec, .command = command, .retry = retry});
  watches_->follow_spec(*spec, options_.mode == RunMode::up);
  watches_->follow_own({state_path(), options_.log_dir}, *spec);
  return Unit{};
}

void Daemon::shut_down(const std::string& why, bool at_once) {
  engine_->emit(ShutdownRequested{.why = why, .at_once = at_once});
  if (shutting_down_) return;
  shutting_down_ = true;
  sd_.stopping("stopping: " + why);
  if (!sd_.active()) return;
  sd_.extend_timeout(extend_by);
  extend_timer_ = new uv_timer_t{};
  MUSTER_CHECK(uv_timer_init(&loop_, extend_timer_) == 0);
  extend_timer_->data = this;
  uv_timer_start(
      extend_timer_,
      [](uv_timer_t* timer) { static_cast<Daemon*>(timer->data)->sd_.extend_timeout(extend_by); },
      extend_every_ms, extend_every_ms);
}

void Daemon::on_event(const LoggedEvent& event) {
  if (options_.on_event) return options_.on_event(event);
  std::string who = event.note.app;
  if (event.note.ordinal) who += fmt::format("/{}", *event.note.ordinal);
  own_log(level_of(event.note.severity),
          who.empty() ? event.note.text : fmt::format("{}: {}", who, event.note.text));
}

void Daemon::on_exit(const ExitDaemon& exit) {
  if (exit_code_) return;
  const bool by_signal = options_.mode == RunMode::up && end_signal_ != 0;
  exit_code_ = by_signal ? 128 + end_signal_ : exit.code;
  api_->finish(exit.why);
  uv_stop(&loop_);
}

void Daemon::start_watchdog() {
  const auto every = sd_.watchdog_every();
  if (!every) return;
  watchdog_timer_ = new uv_timer_t{};
  MUSTER_CHECK(uv_timer_init(&loop_, watchdog_timer_) == 0);
  watchdog_timer_->data = this;
  // Each ping is a round trip through every traffic thread: one that hangs is as good as a dead daemon.
  uv_timer_start(
      watchdog_timer_,
      [](uv_timer_t* timer) { static_cast<Daemon*>(timer->data)->engine_->traffic().ping(0); }, 0,
      static_cast<std::uint64_t>(every->count()));
}

int Daemon::run() {
  engine_->turn();  // the listeners of the first spec are open now
  tell_upgraded();
  sd_.ready("running");
  start_watchdog();
  uv_run(&loop_, UV_RUN_DEFAULT);
  engine_->finish(stop_grace);
  return exit_code_.value_or(1);
}

void Daemon::close_all() {
  if (!loop_open_) return;
  if (control_) control_->close_listener();
  watches_.reset();
  for (uv_signal_t* handle : signals_) close_handle(handle);
  close_handle(extend_timer_);
  close_handle(watchdog_timer_);
  if (control_) {
    // Answers that were just given are still written; nobody can hold this up for long.
    for (int turn = 0; turn < 50; ++turn) uv_run(&loop_, UV_RUN_NOWAIT);
  }
  control_.reset();
  upgrade_.reset();
  api_.reset();
  if (engine_) engine_->finish(Millis{0});
  engine_.reset();
  uv_run(&loop_, UV_RUN_DEFAULT);
  uv_loop_close(&loop_);
}

Daemon::~Daemon() {
  close_all();
}

}  // namespace muster::supervisor
