#include "supervisor/daemon.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>

#include "base/check.h"
#include "fmt/core.h"
#include "supervisor/accounts.h"
#include "supervisor/daemon_life.h"
#include "supervisor/folders.h"
#include "supervisor/listen_fds.h"
#include "supervisor/own_log.h"
#include "supervisor/state_file.h"
#include "supervisor/state_lock.h"
#include "supervisor/tree_marks.h"
#include "supervisor/uv_refusals.h"
#include "supervisor/version.h"

namespace muster::supervisor {

namespace {

constexpr Millis store_answer_max{500};     // of the service manager
constexpr mode_t state_folder_mode = 0711;  // the apps' users pass through to their volumes

int cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  const int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  return std::max(count, 1);
}

// To all that there may be. What it was before is what replicas get; none: it cannot be told, and was left.
std::optional<std::uint64_t> raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return std::nullopt;
  const std::uint64_t before = limit.rlim_cur;
  limit.rlim_cur = limit.rlim_max;
  static_cast<void>(setrlimit(RLIMIT_NOFILE, &limit));
  return before;
}

bool ends_with_daemon(std::string_view token) {
  const auto giver = decode_token_giver(token);
  return giver && giver->end_with_daemon;
}

int start_failed(const Error& error) {
  log_error(error.message);
  return static_cast<int>(error.code);
}

}  // namespace

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
  files_soft_ = raise_descriptor_limit();  // before replicas of an earlier daemon and clients take theirs
  if (Status opened = start_pool(&loop_); !opened) return opened;
  auto traffic = open_traffic(std::nullopt);
  if (!traffic) return std::move(traffic.error());
  return open_engine(std::move(traffic.value()), {});
}

// The clients of the image before are served as soon as may be: whatever follows holds nobody up.
Status Daemon::open_as_next_image() {
  handed_ = handover_sentence(options_.handover->traffic);
  std::set<InstanceId> served = served_by(options_.handover->traffic);
  static_cast<void>(raise_descriptor_limit());  // the first numbers are taken by what was handed over
  files_soft_ = options_.handover->files_soft;
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
Result<std::vector<std::string>> Daemon::open_records(EngineConfig& config) {
  const bool keep = first_.spec->daemon.on_crash == spec::OnCrash::keep;
  config.instances.end_with_daemon = !keep;
  auto records = std::make_unique<ReplicaRecords>(
      options_.state_dir + "/replicas", current_boot_id(), [this](const std::string& problem) {
        engine_->note(problem.empty() ? Severity::info : Severity::error, "state",
                      problem.empty() ? "the records of the replicas are written again" : problem);
      });
  auto there = records->find();
  if (!there) return std::move(there).error();
  ReplicaRecords::Found& found = there.value();
  // Those that were to end with their daemon have done so; only its own next image finds them alive.
  if (!options_.handover) {
    std::erase_if(found.records, [&records](const ReplicaRecord& record) {
      const bool ended = ends_with_daemon(record.token);
      if (ended) records->remove(record.process.instance);
      return ended;
    });
    if (found.life && found.records.empty() && ends_with_daemon(found.life->token)) found.life.reset();
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
  auto records = open_records(config);
  if (!records) return std::move(records).error();
  std::vector<std::string> warnings = std::move(records).value();
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
  }
  config.instances.files_soft = files_soft_;
  config.instances.is_next_image = options_.handover.has_value();
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
  warnings.insert(warnings.begin(), restored.warnings.begin(), restored.warnings.end());
  for (const std::string& warning : warnings) engine_->note(Severity::warning, "state", warning);
  engine_->note(Severity::info, "daemon",
                fmt::format("muster {} has started, pid {}; processes are kept together by {}", version_text,
                            getpid(), engine_->instances().host().containment()));
  if (options_.on_line) follower_ = engine_->logs().follow(options_.on_line);
  open_upgrade();
  return Unit{};
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

int run_daemon(DaemonOptions options) {
  Daemon daemon(std::move(options));
  if (const Status started = daemon.start(); !started) return start_failed(started.error());
  return daemon.run();
}

}  // namespace muster::supervisor
