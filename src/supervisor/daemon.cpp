#include "supervisor/daemon.h"

#include <fcntl.h>
#include <malloc.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <memory>
#include <set>

#include "base/check.h"
#include "boost/json.hpp"
#include "fmt/core.h"
#include "supervisor/access_logs.h"
#include "supervisor/accounts.h"
#include "supervisor/control_api.h"
#include "supervisor/control_server.h"
#include "supervisor/daemon_watches.h"
#include "supervisor/engine.h"
#include "supervisor/folders.h"
#include "supervisor/listen_fds.h"
#include "supervisor/own_log.h"
#include "supervisor/replica_output.h"
#include "supervisor/sd_notify.h"
#include "supervisor/spec_source.h"
#include "supervisor/state_codec.h"
#include "supervisor/state_file.h"
#include "supervisor/state_lock.h"
#include "supervisor/takeover.h"
#include "supervisor/tree_marks.h"
#include "supervisor/upgrade.h"
#include "supervisor/uv_refusals.h"
#include "supervisor/version.h"
#include "supervisor/write_file.h"

namespace muster::supervisor {

namespace {

constexpr Millis stop_grace{2000};  // of the traffic threads, once every replica has stopped
constexpr std::uint64_t extend_every_ms = 5'000;
constexpr Millis extend_by{30'000};      // TimeoutStopSec, pushed on while the ordered stop goes on
constexpr Millis store_answer_max{500};  // of the service manager
constexpr Millis output_settles{500};    // of `up`, before an upgrade; its reader may be slow
constexpr Millis output_settles_in_pause{5};
constexpr mode_t state_folder_mode = 0711;  // the apps' users pass through to their volumes

template <typename Handle>
void close_handle(Handle* handle) {
  if (handle == nullptr) return;
  handle->data = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(handle),
           [](uv_handle_t* closed) { delete reinterpret_cast<Handle*>(closed); });
}

// By a thread of libuv's pool.
void close_at_leisure(uv_loop_t* loop, Fd fd) {
  auto* const request = new uv_fs_t{};
  const auto done = [](uv_fs_t* closed) {
    uv_fs_req_cleanup(closed);
    delete closed;
  };
  if (uv_fs_close(loop, request, fd.get(), done) == 0) {
    static_cast<void>(fd.release());
  } else {
    done(request);
  }
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
  Status read_first(bool certificates);
  Status open_spec();
  std::vector<std::string> open_records(EngineConfig& config);
  void open_volumes(EngineConfig& config, std::vector<std::string>& warnings);
  Status open_as_first_image();
  Status open_as_next_image();
  Result<std::unique_ptr<Traffic>> open_traffic(std::optional<lb::Handover> handover);
  Status open_engine(std::unique_ptr<Traffic> traffic, std::set<InstanceId> served);
  std::unique_ptr<OutputKeeper> make_keeper(OutputFifos& fifos, std::function<void(std::string)> warn);
  Status open_control();
  void open_signals();
  void open_watches();
  void on_signal(int number);
  Status reload(const ReloadRequest& request = {});
  Status use(const std::shared_ptr<const spec::Spec>& spec, std::optional<CommandId> command,
             bool retry = false);
  [[nodiscard]] std::string state_path() const { return options_.state_dir + "/state.json"; }
  void hang_up();
  void shut_down(const std::string& why, bool at_once);
  void on_event(const LoggedEvent& event);
  void on_exit(const ExitDaemon& exit);
  void start_watchdog();
  void check_socket();
  void check_own_file(const std::string& path);
  void close_all();
  void open_upgrade();
  [[nodiscard]] DaemonHandover own_handover(const UpgradeRequest& request) const;
  [[nodiscard]] Result<HandoverQuestion> write_question() const;
  Status open_listeners_of_file();
  [[nodiscard]] Status may_upgrade() const;
  void upgrade(UpgradeRequest request, const std::function<void(const Error&)>& failed);
  Error become_next(const UpgradeRequest& request, Instant paused_since, const lb::Handover& traffic);
  void tell_upgraded();
  static void allow_signals();

  DaemonOptions options_;
  SdNotify sd_;
  SpecSource source_;
  std::vector<std::pair<std::string, Fd>> systemd_fds_;
  std::set<InstanceId> stored_output_;  // what the service manager kept of it
  Fd lock_;
  std::vector<Fd> group_locks_;  // that the image before held: of groups whose processes live on
  ReadSpec first_;
  std::shared_ptr<const spec::Spec> spec_;
  uv_loop_t loop_{};
  bool loop_open_ = false;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<ControlApi> api_;
  std::unique_ptr<ControlServer> control_;
  std::unique_ptr<DaemonWatches> watches_;
  std::vector<uv_signal_t*> signals_;
  uv_timer_t* extend_timer_ = nullptr;
  uv_timer_t* watchdog_timer_ = nullptr;
  FollowId follower_{};
  int end_signal_ = 0;  // `up`: the exit code says which
  bool shutting_down_ = false;
  std::unique_ptr<Upgrade> upgrade_;
  std::string handed_;               // what the image before has kept and closed
  std::string last_upgrade_ = "{}";  // the body of GET /v1/upgrade
  std::optional<int> exit_code_;
};

Status Daemon::start() {
  ::umask(022);  // what muster makes has its modes said where it is made
  std::signal(SIGPIPE, SIG_IGN);
  if (options_.handover) {
    forget_listen_fds();
    systemd_fds_ = std::move(options_.handover->systemd_fds);
  } else {
    auto fds = take_listen_fds();
    if (!fds) return std::move(fds.error());
    systemd_fds_ = std::move(fds.value());
  }
  stored_output_ =
      options_.handover ? std::move(options_.handover->stored_output) : take_stored_output(systemd_fds_);
  if (Status opened = open_spec(); !opened) return opened;
  if (Status opened = open_loop(&loop_); !opened) return opened;
  loop_open_ = true;
  if (Status opened = options_.handover ? open_as_next_image() : open_as_first_image(); !opened)
    return opened;
  if (Status opened = open_control(); !opened) return opened;
  open_signals();
  if (options_.handover) allow_signals();
  open_watches();
  Status used = use(first_.spec, std::nullopt);
  first_.spec.reset();
  return used;
}

Status Daemon::open_as_first_image() {
  if (Status opened = start_pool(&loop_); !opened) return opened;
  auto traffic = open_traffic(std::nullopt);
  if (!traffic) return std::move(traffic.error());
  return open_engine(std::move(traffic.value()), {});
}

// The clients of the image before are served as soon as may be: whatever follows holds nobody up.
Status Daemon::open_as_next_image() {
  handed_ = handover_sentence(options_.handover->traffic);
  std::set<InstanceId> served = served_by(options_.handover->traffic);
  raise_descriptor_limit();  // the first numbers are taken by what was handed over
  auto traffic = open_traffic(std::move(options_.handover->traffic));
  if (!traffic) return std::move(traffic.error());
  if (Status gone_on = traffic.value()->go_on(first_.spec); !gone_on) return gone_on;
  if (Status read = read_first(true); !read) return read;
  if (Status opened = start_pool(&loop_); !opened) return opened;
  return open_engine(std::move(traffic.value()), std::move(served));
}

Status Daemon::read_first(bool certificates) {
  first_ = certificates ? source_.read() : source_.read_without_certificates();
  if (certificates && !first_.warnings.empty()) log_warn(first_.warnings);
  return first_.spec ? Status(Unit{}) : Error{.message = first_.error, .code = first_.code};
}

Status Daemon::open_spec() {
  if (Status read = read_first(!options_.handover); !read) return read;
  set_own_log_level(first_.spec->daemon.log_level);
  if (Status made = make_folders(options_.state_dir, state_folder_mode); !made) return made;
  if (options_.handover) {
    lock_ = std::move(options_.handover->lock);
    group_locks_ = std::move(options_.handover->group_locks);
    return Unit{};
  }
  auto lock = lock_state_folder(options_.state_dir);
  if (!lock) return std::move(lock.error());
  lock_ = std::move(lock.value());
  return Unit{};
}

// Replicas of an earlier daemon are taken over whatever this one's own are to do when it dies.
std::vector<std::string> Daemon::open_records(EngineConfig& config) {
  const bool keep = first_.spec->daemon.on_crash == spec::OnCrash::keep;
  config.instances.end_with_daemon = !keep;
  auto records = std::make_unique<ReplicaRecords>(
      options_.state_dir + "/replicas", current_boot_id(), [this](const std::string& problem) {
        engine_->note(problem.empty() ? Severity::info : Severity::error, "state",
                      problem.empty() ? "the records of the replicas are written again" : problem);
      });
  ReplicaRecords::Found found = records->find();
  // Those that were to end with their daemon have done so; only its own next image finds them alive.
  const auto giver = found.life ? decode_token_giver(found.life->token) : std::nullopt;
  if (giver && giver->end_with_daemon && !options_.handover) {
    for (const ReplicaRecord& record : found.records) records->remove(record.process.instance);
    found.records.clear();
    found.life.reset();
  }
  config.planner.first_instance = found.next;
  if (found.life) {
    config.life = *found.life;
    config.living = found.records;
    auto& living = config.planner.living.emplace();
    for (const ReplicaRecord& record : found.records) living.push_back(record.process);
  }
  config.records = std::move(records);
  return std::move(found.warnings);
}

void Daemon::open_volumes(EngineConfig& config, std::vector<std::string>& warnings) {
  config.volumes = std::make_unique<VolumeKeeper>(
      &loop_, options_.state_dir, current_boot_id(),
      VolumeHooks{.note = [this](Note note) { engine_->note(std::move(note)); },
                  .in_use = [this] { return engine_->instances().volumes_in_use(); }});
  for (std::string& warning : config.volumes->load()) warnings.push_back(std::move(warning));
}

std::unique_ptr<OutputKeeper> Daemon::make_keeper(OutputFifos& fifos, std::function<void(std::string)> warn) {
  if (!stored_output_.empty() || sd_.has_store(store_answer_max))
    return keep_in_fd_store(sd_, std::exchange(stored_output_, {}));
  return keep_by_process(&loop_, fifos, std::move(warn));
}

// What comes of its threads is told in a turn of the loop: the engine is there by then.
Result<std::unique_ptr<Traffic>> Daemon::open_traffic(std::optional<lb::Handover> handover) {
  std::vector<std::pair<std::string, int>> borrowed;
  for (const auto& [name, fd] : systemd_fds_) borrowed.emplace_back(name, fd.get());
  const int asked = options_.threads.value_or(first_.spec->daemon.threads);
  return Traffic::start(
      &loop_, asked > 0 ? asked : cores(), std::move(borrowed),
      TrafficHooks{.emit = [this](Event event) { engine_->emit(std::move(event)); },
                   .on_upstream_failed =
                       [this](InstanceId instance, std::string text) {
                         engine_->upstream_failed(instance, std::move(text));
                       },
                   .on_pong = [this](std::uint64_t) { sd_.watchdog(); },
                   .on_access_lines =
                       [this](const lb::AccessLines& lines) {
                         engine_->logs().write_access_log(lines.listener, lines.bytes, lines.lost);
                       },
                   .on_access_logs_flushed = [this] { engine_->logs().reopen_access_logs(); }},
      std::move(handover));
}

// `served`: by the balancer of the image before.
Status Daemon::open_engine(std::unique_ptr<Traffic> traffic, std::set<InstanceId> served) {
  LoadedState restored = load_state(state_path());
  EngineConfig config;
  config.planner.mode = options_.mode;
  config.planner.seed = static_cast<std::uint64_t>(clock_now().wall.time_since_epoch().count());
  config.planner.restored = std::move(restored.state);
  std::vector<std::string> warnings = open_records(config);
  open_volumes(config, warnings);
  config.instances.mode = options_.mode;
  config.instances.run_dir = options_.run_dir;
  config.instances.folder = first_.spec->folder;
  config.instances.environment = options_.environment;
  config.logs.folder = options_.log_dir;
  config.logs.budget_bytes = first_.spec->daemon.log_budget_bytes;
  config.state_path = state_path();
  if (options_.handover) {
    config.planner.served = std::move(served);
    config.planner.drains = options_.handover->drains;
    config.started = options_.handover->started;
    config.instances.files_soft = options_.handover->files_soft;
  }
  if (!config.instances.end_with_daemon || !stored_output_.empty())
    config.make_keeper = [this](OutputFifos& fifos, std::function<void(std::string)> warn) {
      return make_keeper(fifos, std::move(warn));
    };
  auto engine = Engine::create(
      &loop_, std::move(config), std::move(traffic),
      EngineHooks{.on_event = [this](const LoggedEvent& event) { on_event(event); },
                  .on_command_done = [this](const CommandDone& done) { api_->command_done(done); },
                  .on_exit = [this](const ExitDaemon& exit) { on_exit(exit); },
                  .on_drift_files =
                      [this](std::vector<std::string> files) {
                        if (watches_) watches_->follow_drift(std::move(files));
                      }});
  if (!engine) return std::move(engine.error());
  engine_ = std::move(engine.value());
  raise_descriptor_limit();  // after the replicas' own limit was remembered
  warnings.insert(warnings.begin(), restored.warnings.begin(), restored.warnings.end());
  for (const std::string& warning : warnings) engine_->note(Severity::warning, "state", warning);
  engine_->note(Severity::info, "daemon",
                fmt::format("muster {} has started, pid {}; processes are kept together by {}", version_text,
                            getpid(), engine_->instances().host().containment()));
  if (options_.on_line) follower_ = engine_->logs().follow(options_.on_line);
  open_upgrade();
  return Unit{};
}

void Daemon::open_upgrade() {
  upgrade_ = std::make_unique<Upgrade>(
      &loop_, engine_->traffic(), options_.image.path,
      UpgradeHooks{
          .write_question = [this] { return write_question(); },
          .run =
              [this](std::vector<std::string> argv, Millis limit, std::function<void(CommandResult)> done) {
                engine_->instances().run_own_command(std::move(argv), limit, std::move(done));
              },
          .open_listeners = [this] { return open_listeners_of_file(); },
          .on_agreed =
              [this](const std::string& version) {
                engine_->note(Severity::info, "upgrade",
                              fmt::format("from muster {} to {}", version_text, version));
                engine_->save_state();
                static_cast<void>(engine_->flush_state());  // so that it need not be done in the pause
                ::malloc_trim(0);                           // nor execve(2) give it back to the kernel there
                api_->tell_of_upgrade();
                if (options_.settle_output) options_.settle_output(output_settles);
              },
          .is_starting = [this] { return has_start_under_way(engine_->world()); },
          .become =
              [this](const UpgradeRequest& request, Instant paused_since, const lb::Handover& traffic) {
                return become_next(request, paused_since, traffic);
              }});
}

// Everything but the traffic, which nobody has given up yet.
DaemonHandover Daemon::own_handover(const UpgradeRequest& request) const {
  DaemonHandover handover;
  handover.from = version_text;
  handover.id = request.id;
  handover.started = engine_->started();
  handover.files_soft = engine_->instances().host().files_soft();
  handover.lock.reset(::fcntl(lock_.get(), F_DUPFD_CLOEXEC, 0));
  for (const int lock : engine_->instances().host().locks())
    handover.group_locks.emplace_back(::fcntl(lock, F_DUPFD_CLOEXEC, 0));
  for (const Fd& lock : group_locks_)
    handover.group_locks.emplace_back(::fcntl(lock.get(), F_DUPFD_CLOEXEC, 0));
  BoundSocket control = control_->listening_socket();
  handover.control = std::move(control.fd);
  handover.control_device = control.device;
  handover.control_inode = control.inode;
  for (const auto& [name, fd] : systemd_fds_)
    handover.systemd_fds.emplace_back(name, Fd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0)));
  handover.stored_output = engine_->output().stored();
  handover.drains = drains_of(engine_->world());
  // The last one to close it waits for the kernel's readers of all watches: some 15 ms.
  if (watches_->descriptor() >= 0)
    handover.slow_to_close.emplace_back(::fcntl(watches_->descriptor(), F_DUPFD_CLOEXEC, 0));
  return handover;
}

// As it would be left now, with the state behind it.
Result<HandoverQuestion> Daemon::write_question() const {
  const std::string path = options_.state_dir + "/upgrade.question";
  const std::string text =
      encode_handover(own_handover({}), {}) + encode_state(engine_->planner().persistent());
  if (const Status written = write_file(path, text, Synced::no); !written) return written.error();
  return HandoverQuestion{.file = path,
                          .mode = options_.mode,
                          .spec_path = options_.spec_path,
                          .run_dir = options_.run_dir,
                          .only_apps = options_.only_apps};
}

// The next image would end if it could not do so. A spec that only that one understands it has to open by itself.
Status Daemon::open_listeners_of_file() {
  const ReadSpec read = source_.read();
  if (read.spec) return engine_->traffic().prepare(read.spec);
  if (read.code == ExitCode::bad_spec) return Unit{};
  return Error{.message = read.error, .code = read.code};
}

// What the upgrade cannot carry is a reason against it, before anything has changed.
Status Daemon::may_upgrade() const {
  if (shutting_down_) return Error{.message = "the daemon is stopping"};
  if (upgrade_->under_way()) return Error{.message = "an upgrade is under way"};
  if (engine_->volumes().is_removing()) return Error{.message = "a volume is being removed"};
  return Unit{};
}

void Daemon::upgrade(UpgradeRequest request, const std::function<void(const Error&)>& failed) {
  const auto refuse = [this, failed](const Error& error) {
    engine_->note(Severity::warning, "upgrade", "refused, nothing has changed: " + error.message);
    if (failed) failed(Error{.message = "refused: " + error.message, .code = error.code});
  };
  if (const Status may = may_upgrade(); !may) return refuse(may.error());
  upgrade_->begin(std::move(request), refuse);
}

Error Daemon::become_next(const UpgradeRequest& request, Instant paused_since, const lb::Handover& traffic) {
  if (const Status saved = engine_->flush_state(); !saved) return saved.error();
  if (options_.settle_output) options_.settle_output(output_settles_in_pause);
  DaemonHandover handover = own_handover(request);
  handover.paused_since = paused_since;
  sd_.reloading("upgrading");
  Error error = become(options_.image, options_.environment, handover, traffic);
  sd_.ready("running");
  return error;
}

// The first look of whoever asked for it.
void Daemon::tell_upgraded() {
  if (!options_.handover) return;
  const Instant gone_on = engine_->traffic().gone_on().value_or(std::chrono::steady_clock::now());
  const std::chrono::duration<double, std::milli> pause = gone_on - options_.handover->paused_since;
  const std::string message =
      fmt::format("upgraded from muster {} to {}; {}; requests were held for {:.1f} ms",
                  options_.handover->from, version_text, handed_, pause.count());
  engine_->note(Severity::info, "upgrade", message);
  last_upgrade_ = boost::json::serialize(boost::json::object{{"id", options_.handover->id},
                                                             {"from", options_.handover->from},
                                                             {"to", version_text},
                                                             {"message", message},
                                                             {"pause_ms", pause.count()}});
  for (Fd& fd : options_.handover->slow_to_close) close_at_leisure(&loop_, std::move(fd));
  options_.handover.reset();
}

// They were blocked over execve(2); those that came meanwhile are taken now.
void Daemon::allow_signals() {
  sigset_t none;
  ::sigemptyset(&none);
  ::pthread_sigmask(SIG_SETMASK, &none, nullptr);
}

Status Daemon::open_control() {
  api_ = std::make_unique<ControlApi>(
      *engine_, source_,
      ControlApiHooks{.reload = [this](const ReloadRequest& request) { return reload(request); },
                      .shut_down = [this](const std::string& why, bool at_once) { shut_down(why, at_once); },
                      .upgrade =
                          [this](UpgradeRequest request, const std::function<void(const Error&)>& failed) {
                            upgrade(std::move(request), failed);
                          },
                      .last_upgrade = [this] { return last_upgrade_; }});
  ControlServerOptions server;
  server.path = options_.socket_path;
  // The service's socket is for the group `muster` (as root) or the service's own; a person's is theirs alone.
  if (options_.mode == RunMode::daemon) {
    server.group = geteuid() == 0 ? find_group("muster") : std::optional<gid_t>(getegid());
  }
  if (options_.handover) {
    server.taken.emplace(BoundSocket{.fd = std::move(options_.handover->control),
                                     .device = options_.handover->control_device,
                                     .inode = options_.handover->control_inode});
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
  watches_ = std::make_unique<DaemonWatches>(
      &loop_, options_.socket_path,
      DaemonWatchHooks{
          .on_spec =
              [this] {
                if (!shutting_down_ && spec_->daemon.watch_spec) static_cast<void>(reload());
              },
          .on_socket = [this] { check_socket(); },
          .on_own = [this](const std::string& path) { check_own_file(path); },
          .on_drift =
              [this] {
                if (!shutting_down_) engine_->look_for_drift();
              },
          .on_app = [this](
                        const std::string& app,
                        const std::string& path) { engine_->emit(FilesChanged{.app = app, .path = path}); },
          .warn = [this](std::string text) { engine_->note(Severity::warning, "watch", std::move(text)); }});
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

}  // namespace

int run_daemon(DaemonOptions options) {
  Daemon daemon(std::move(options));
  if (const Status started = daemon.start(); !started) return start_failed(started.error());
  return daemon.run();
}

}  // namespace muster::supervisor
