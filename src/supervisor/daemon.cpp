#include "supervisor/daemon.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <map>
#include <memory>

#include "base/check.h"
#include "fmt/core.h"
#include "supervisor/access_logs.h"
#include "supervisor/accounts.h"
#include "supervisor/control_api.h"
#include "supervisor/control_server.h"
#include "supervisor/engine.h"
#include "supervisor/file_watch.h"
#include "supervisor/folder_watch.h"
#include "supervisor/folders.h"
#include "supervisor/listen_fds.h"
#include "supervisor/own_log.h"
#include "supervisor/sd_notify.h"
#include "supervisor/spec_source.h"
#include "supervisor/state_file.h"
#include "supervisor/state_lock.h"
#include "supervisor/uv_refusals.h"
#include "supervisor/version.h"

namespace muster::supervisor {

namespace {

constexpr Millis spec_debounce{150};   // editors save in several steps
constexpr Millis own_debounce{50};     // nobody reaches a listener whose file is gone
constexpr Millis watch_debounce{300};  // `watch`: a build writes many files
constexpr Millis stop_grace{2000};     // of the traffic threads, once every replica has stopped
constexpr std::uint64_t extend_every_ms = 5'000;
constexpr Millis extend_by{30'000};         // TimeoutStopSec, pushed on while the ordered stop goes on
constexpr mode_t state_folder_mode = 0711;  // the apps' users pass through to their volumes

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

int cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  const int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  return std::max(count, 1);
}

void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  static_cast<void>(setrlimit(RLIMIT_NOFILE, &limit));
}

int start_failed(const Error& error) {
  log_error(error.message);
  return static_cast<int>(error.code);
}

// One running daemon: what is around the engine. Built step by step in start(); run() blocks until the end.
class Daemon {
 public:
  explicit Daemon(DaemonOptions options)
      : options_(std::move(options)),
        sd_(SdNotify::from_environment()),
        source_(options_.spec_path, options_.mode, options_.environment, options_.only_apps,
                options_.run_dir) {}
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;
  ~Daemon();

  Status start();
  int run();

 private:
  Status open_spec();
  Status open_engine();
  Status open_control();
  void open_signals();
  void open_watches();
  void on_signal(int number);
  Status reload(const ReloadRequest& request = {});
  Status use(const std::shared_ptr<const spec::Spec>& spec, std::optional<CommandId> command,
             bool retry = false);
  void follow_files();
  [[nodiscard]] std::string state_path() const { return options_.state_dir + "/state.json"; }
  void hang_up();
  void shut_down(const std::string& why, bool at_once);
  void on_event(const LoggedEvent& event);
  void on_exit(const ExitDaemon& exit);
  void start_watchdog();
  void check_socket();
  void follow_drift(std::vector<std::string> files);
  void follow_own_files();
  void check_own_file(const std::string& path);
  void close_all();

  DaemonOptions options_;
  SdNotify sd_;
  SpecSource source_;
  std::vector<std::pair<std::string, Fd>> systemd_fds_;
  Fd lock_;
  ReadSpec first_;
  std::shared_ptr<const spec::Spec> spec_;
  uv_loop_t loop_{};
  bool loop_open_ = false;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<ControlApi> api_;
  std::unique_ptr<ControlServer> control_;
  std::unique_ptr<FolderWatches> folder_watches_;  // of the watches below it
  std::unique_ptr<FileWatch> spec_watch_;
  std::unique_ptr<FileWatch> socket_watch_;
  std::unique_ptr<FileWatch> own_watch_;    // the state file, the sockets of unix listeners
  std::unique_ptr<FileWatch> drift_watch_;  // programs and volumes of living replicas
  std::vector<std::string> drift_files_;
  std::map<std::string, std::pair<std::vector<std::string>, std::unique_ptr<GlobWatch>>> app_watches_;
  std::vector<uv_signal_t*> signals_;
  uv_timer_t* extend_timer_ = nullptr;
  uv_timer_t* watchdog_timer_ = nullptr;
  FollowId follower_{};
  int end_signal_ = 0;  // `up`: the exit code says which
  bool shutting_down_ = false;
  std::optional<int> exit_code_;
};

Status Daemon::start() {
  ::umask(022);  // what muster makes has its modes said where it is made
  std::signal(SIGPIPE, SIG_IGN);
  auto fds = take_listen_fds();
  if (!fds) return std::move(fds.error());
  systemd_fds_ = std::move(fds.value());
  if (Status opened = open_spec(); !opened) return opened;
  if (Status opened = open_engine(); !opened) return opened;
  if (Status opened = open_control(); !opened) return opened;
  open_signals();
  open_watches();
  Status used = use(first_.spec, std::nullopt);
  first_.spec.reset();
  return used;
}

Status Daemon::open_spec() {
  first_ = source_.read();
  if (!first_.warnings.empty()) log_warn(first_.warnings);
  if (!first_.spec) return Error{.message = first_.error, .code = first_.code};
  set_own_log_level(first_.spec->daemon.log_level);
  if (Status made = make_folders(options_.state_dir, state_folder_mode); !made) return made;
  auto lock = lock_state_folder(options_.state_dir);
  if (!lock) return std::move(lock.error());
  lock_ = std::move(lock.value());
  return Unit{};
}

Status Daemon::open_engine() {
  if (Status opened = open_loop(&loop_); !opened) return opened;
  loop_open_ = true;
  LoadedState restored = load_state(state_path());
  EngineConfig config;
  config.planner.mode = options_.mode;
  config.planner.seed = static_cast<std::uint64_t>(clock_now().wall.time_since_epoch().count());
  config.planner.restored = std::move(restored.state);
  config.instances.mode = options_.mode;
  config.instances.state_dir = options_.state_dir;
  config.instances.run_dir = options_.run_dir;
  config.instances.folder = first_.spec->folder;
  config.instances.environment = options_.environment;
  config.logs.folder = options_.log_dir;
  config.logs.budget_bytes = first_.spec->daemon.log_budget_bytes;
  config.state_path = state_path();
  std::vector<std::pair<std::string, int>> borrowed;
  for (const auto& [name, fd] : systemd_fds_) borrowed.emplace_back(name, fd.get());
  const int asked = options_.threads.value_or(first_.spec->daemon.threads);
  auto engine = Engine::create(
      &loop_, std::move(config), asked > 0 ? asked : cores(), std::move(borrowed),
      EngineHooks{
          .on_event = [this](const LoggedEvent& event) { on_event(event); },
          .on_command_done = [this](const CommandDone& done) { api_->command_done(done); },
          .on_exit = [this](const ExitDaemon& exit) { on_exit(exit); },
          .on_pong = [this](std::uint64_t) { sd_.watchdog(); },
          .on_drift_files = [this](std::vector<std::string> files) { follow_drift(std::move(files)); }});
  if (!engine) return std::move(engine.error());
  engine_ = std::move(engine.value());
  raise_descriptor_limit();  // after the replicas' own limit was remembered
  for (const std::string& warning : restored.warnings) engine_->note(Severity::warning, "state", warning);
  engine_->note(Severity::info, "daemon",
                fmt::format("muster {} has started, pid {}; processes are kept together by {}", version_text,
                            getpid(), engine_->instances().host().containment()));
  if (options_.on_line) follower_ = engine_->logs().follow(options_.on_line);
  return Unit{};
}

Status Daemon::open_control() {
  api_ = std::make_unique<ControlApi>(
      *engine_, source_,
      ControlApiHooks{
          .reload = [this](const ReloadRequest& request) { return reload(request); },
          .shut_down = [this](const std::string& why, bool at_once) { shut_down(why, at_once); }});
  ControlServerOptions server;
  server.path = options_.socket_path;
  // The service's socket is for the group `muster` (as root) or the service's own; a person's is theirs alone.
  if (options_.mode == RunMode::daemon) {
    server.group = geteuid() == 0 ? find_group("muster") : std::optional<gid_t>(getegid());
  }
  auto listening = ControlServer::listen(
      &loop_, std::move(server),
      [this](const ControlRequest& request, const std::shared_ptr<ControlReply>& reply) {
        api_->handle(request, reply);
      });
  if (!listening) return std::move(listening.error());
  control_ = std::move(listening.value());
  return Unit{};
}

void Daemon::open_signals() {
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2}) {
    auto* handle = new uv_signal_t{};
    MUSTER_CHECK(uv_signal_init(&loop_, handle) == 0);
    handle->data = this;
    uv_signal_start(
        handle,
        [](uv_signal_t* caught, int caught_number) {
          static_cast<Daemon*>(caught->data)->on_signal(caught_number);
        },
        number);
    signals_.push_back(handle);
  }
}

void Daemon::open_watches() {
  folder_watches_ = std::make_unique<FolderWatches>(&loop_);
  spec_watch_ = std::make_unique<FileWatch>(*folder_watches_, spec_debounce, [this](const std::string&) {
    if (!shutting_down_ && spec_->daemon.watch_spec) static_cast<void>(reload());
  });
  socket_watch_ = std::make_unique<FileWatch>(*folder_watches_, spec_debounce,
                                              [this](const std::string&) { check_socket(); });
  static_cast<void>(socket_watch_->set_files({options_.socket_path}));
  own_watch_ = std::make_unique<FileWatch>(*folder_watches_, own_debounce,
                                           [this](const std::string& path) { check_own_file(path); });
  drift_watch_ = std::make_unique<FileWatch>(*folder_watches_, spec_debounce, [this](const std::string&) {
    if (!shutting_down_) engine_->look_for_drift();
  });
}

// What cannot be watched is found when somebody looks: `ps`, `plan`, a start.
void Daemon::follow_drift(std::vector<std::string> files) {
  if (!drift_watch_ || files == drift_files_) return;
  drift_files_ = std::move(files);
  static_cast<void>(drift_watch_->set_files(drift_files_));
}

void Daemon::follow_own_files() {
  std::vector<std::string> files{state_path(), options_.log_dir};
  for (const spec::Listener& listener : spec_->listeners) {
    for (const spec::BindAddress& bind : listener.bind) {
      if (bind.kind == spec::BindAddress::Kind::unix_path) files.push_back(bind.path);
    }
  }
  static_cast<void>(own_watch_->set_files(std::move(files)));
}

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
      engine_->note(Severity::warning, "upgrade", "SIGUSR2: upgrade in place is not in this version");
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
  spec_ = spec;
  set_own_log_level(spec->daemon.log_level);
  engine_->logs().set_budget(spec->daemon.log_budget_bytes);
  engine_->instances().use_ports_of(*spec);
  for (const spec::App& app : spec->apps) engine_->logs().set_options(app.name, app.log);
  for (const spec::Job& job : spec->jobs) engine_->logs().set_options(job.name(), job.task.log);
  engine_->logs().set_access_logs(access_logs_of(*spec));
  engine_->emit(SpecLoaded{.spec = spec, .command = command, .retry = retry});
  follow_files();
  follow_own_files();
  return Unit{};
}

void Daemon::follow_files() {
  std::vector<std::string> files;
  if (spec_->daemon.watch_spec) {
    files = spec_->files;
    files.insert(files.end(), spec_->env_files.begin(), spec_->env_files.end());
    files.insert(files.end(), spec_->tls_files.begin(), spec_->tls_files.end());
  }
  const auto complain = [this](const Status& status) {
    if (status) return;
    engine_->note(Severity::warning, "watch", status.error().message);
  };
  complain(spec_watch_->set_files(std::move(files)));
  std::erase_if(app_watches_, [&](const auto& entry) {
    const spec::App* app = spec_->find_app(entry.first);
    return app == nullptr || app->watch != entry.second.first;
  });
  for (const spec::App& app : spec_->apps) {
    if (app.watch.empty() || options_.mode != RunMode::up || app_watches_.contains(app.name)) continue;
    auto watch = std::make_unique<GlobWatch>(*folder_watches_, watch_debounce,
                                             [this, name = app.name](const std::string& path) {
                                               engine_->emit(FilesChanged{.app = name, .path = path});
                                             });
    complain(watch->set_globs(spec_->folder, app.watch));
    app_watches_.emplace(app.name, std::pair(app.watch, std::move(watch)));
  }
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
  sd_.ready("running");
  start_watchdog();
  uv_run(&loop_, UV_RUN_DEFAULT);
  engine_->finish(stop_grace);
  return exit_code_.value_or(1);
}

void Daemon::close_all() {
  if (!loop_open_) return;
  if (control_) control_->close_listener();
  app_watches_.clear();
  spec_watch_.reset();
  socket_watch_.reset();
  own_watch_.reset();
  drift_watch_.reset();
  folder_watches_.reset();
  for (uv_signal_t* handle : signals_) close_handle(handle);
  close_handle(extend_timer_);
  close_handle(watchdog_timer_);
  if (control_) {
    // Answers that were just given are still written; nobody can hold this up for long.
    for (int turn = 0; turn < 50; ++turn) uv_run(&loop_, UV_RUN_NOWAIT);
  }
  control_.reset();
  api_.reset();
  if (engine_) engine_->finish(Millis{0});
  engine_.reset();
  uv_run(&loop_, UV_RUN_DEFAULT);
  uv_loop_close(&loop_);
}

Daemon::~Daemon() {
  close_all();
}

}  // namespace

int run_daemon(DaemonOptions options) {
  Daemon daemon(std::move(options));
  if (const Status started = daemon.start(); !started) return start_failed(started.error());
  return daemon.run();
}

}  // namespace muster::supervisor
