#include "supervisor/child.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>

#include "supervisor/proc_scan.h"
#include "supervisor/spawner.h"

namespace muster::supervisor {
namespace {

ExitStatus status_of(const siginfo_t& info) {
  ExitStatus status;
  if (info.si_code == CLD_EXITED) {
    status.code = info.si_status;
  } else {
    status.signal = info.si_status;
    status.core = info.si_code == CLD_DUMPED;
  }
  return status;
}

// None: it has not ended.
std::optional<ExitStatus> reaped_status(int pidfd) {
  siginfo_t info{};
  int result = 0;
  do result = waitid(P_PIDFD, static_cast<id_t>(pidfd), &info, WEXITED | WNOHANG);
  while (result != 0 && errno == EINTR);
  // ECHILD: somebody else took it. It has ended, nobody knows how.
  if (result != 0) return errno == ECHILD ? std::optional(ExitStatus{}) : std::nullopt;
  if (info.si_pid == 0) return std::nullopt;
  return status_of(info);
}

// pidfd_open(2) of that very process; an empty one when it is gone. An error: a shortage, it cannot be told.
Result<Fd> open_process(int pid, std::uint64_t start_ticks) {
  if (pid <= 0) return Fd();
  Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd && is_shortage(errno)) return system_error("pidfd_open", errno);
  // The number may be another one's by now: looked at while the descriptor holds it.
  const Result<ProcStat> process = stat_of_process(pid);
  if (!process && is_shortage(process.error().errno_value)) return process.error();
  if (!process || process.value().start_ticks != start_ticks) pidfd.reset();
  return pidfd;
}

bool has_ended(int pidfd) {
  pollfd poll{pidfd, POLLIN, 0};
  return ::poll(&poll, 1, 0) != 0;
}

// PIDFD_GET_INFO of Linux 6.15 (include/uapi/linux/pidfd.h), which Debian's headers do not have yet.
struct PidfdInfo {
  std::uint64_t mask;
  std::uint64_t cgroup_id;
  std::array<std::uint32_t, 11> ids;
  std::int32_t exit_code;
};
static_assert(sizeof(PidfdInfo) == 64);
constexpr std::uint64_t pidfd_info_exit = 1U << 3U;

// As its parent has reaped it; none: not yet, or the kernel does not say.
std::optional<ExitStatus> status_by_pidfd(int pidfd) {
  PidfdInfo info{};
  info.mask = pidfd_info_exit;
  if (ioctl(pidfd, _IOWR(0xFF, 11, PidfdInfo), &info) != 0 || (info.mask & pidfd_info_exit) == 0)
    return std::nullopt;
  ExitStatus status;
  if (WIFEXITED(info.exit_code)) {
    status.code = WEXITSTATUS(info.exit_code);
  } else {
    status.signal = WTERMSIG(info.exit_code);
    status.core = WCOREDUMP(info.exit_code);
  }
  return status;
}

ShimOrder shim_order(const ProcessOrder& order) {
  ShimOrder out;
  out.argv = order.argv;
  out.environment = order.environment;
  out.dir = order.dir;
  out.user = order.user;
  out.group = order.group;
  out.umask = order.umask;
  out.nice = order.nice;
  out.no_new_privs = order.no_new_privs;
  out.files_max = order.files_max;
  out.core_bytes_max = order.core_bytes_max;
  out.kept = order.kept;
  out.not_before = order.not_before;
  return out;
}

// The token of a muster that itself runs in somebody's tree joins the outer one's, so that the outer tree keeps all.
void add_token(std::vector<std::string>& environment, const std::string& token) {
  const std::string name = std::string(instance_variable) + "=";
  std::erase_if(environment, [&](const std::string& variable) { return variable.starts_with(name); });
  const char* outer = getenv(instance_variable);
  constexpr std::size_t outer_bytes_max = 1024;
  const std::string_view before = outer ? outer : "";
  const bool nested = !before.empty() && before.size() <= outer_bytes_max;
  environment.push_back(name + (nested ? std::string(before) + "," : "") + token);
}

}  // namespace

Child::Child(ChildWorld& world, ChildHooks hooks) : world_(world), hooks_(std::move(hooks)) {}

Result<std::unique_ptr<ProcessTree>> Child::make_tree(const ChildName& name) {
  const auto on_empty = [this] { ended(); };
  if (!world_.cgroups) return world_.tokens->make_tree(name.token, on_empty);
  return make_cgroup_tree(world_.loop, *world_.cgroups, name.group, on_empty);
}

Status Child::start(const ChildName& name, const ProcessOrder& order, int out_fd, int err_fd,
                    bool end_with_daemon) {
  group_ = name.group;
  names_ = ShimNames{order.argv.empty() ? "" : order.argv[0], order.dir, order.user, order.group};
  std::array<int, 2> ends{-1, -1};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return system_error("pipe", errno);
  report_.reset(ends[0]);
  const Fd report_end(ends[1]);
  fcntl(report_.get(), F_SETFL, O_NONBLOCK);
  auto tree = make_tree(name);
  if (!tree) return std::move(tree).error();
  tree_ = std::move(tree).value();
  limits_.keep(order.bounds, *tree_, world_.controllers, true);

  ShimOrder shim = shim_order(order);
  shim.processes_max = limits_.processes_max();
  stamp_ = CredentialCache::stamp();
  shim.credentials = world_.credentials.find(shim.user, shim.group, stamp_, std::chrono::steady_clock::now());
  add_token(shim.environment, name.token);
  shim.end_with_parent = end_with_daemon;
  shim.parent_pid = world_.own_pid;
  shim.files_soft = world_.files_soft;
  shim.report_fd = report_end.get();
  shim.out_fd = out_fd;
  shim.err_fd = err_fd;
  Result<Spawned> spawned = spawn_shim(std::move(shim), tree_->cgroup_folder());
  if (!spawned) return std::move(spawned).error();
  pid_ = spawned.value().pid;
  pidfd_ = std::move(spawned.value().pidfd);
  by_small_shim_ = spawned.value().by_small_shim;
  tree_->began(pid_);
  watch();
  return Unit{};
}

std::optional<std::string> ChildWorld::group_of(int pid) const {
  if (cgroups) {
    if (auto group = cgroups->group_of(pid)) return group;
  }
  for (const auto& base : old_cgroups) {
    if (auto group = base->group_of(pid)) return group;
  }
  return std::nullopt;
}

std::unique_ptr<ProcessTree> Child::adopt_tree(const AdoptOrder& order) {
  const auto on_empty = [this] { ended(); };
  if (order.cgroup.empty()) {
    if (!world_.tokens) world_.tokens = std::make_unique<TokenScanner>(world_.loop);
    return world_.tokens->adopt_tree(order.token, order.pid, order.start_ticks, on_empty);
  }
  const std::size_t slash = order.cgroup.rfind('/');
  const std::string parent = order.cgroup.substr(0, slash);
  group_ = order.cgroup.substr(slash + 1);
  for (const auto& base : world_.old_cgroups) {
    if (base->folder() == parent) return adopt_cgroup_tree(world_.loop, *base, group_, on_empty);
  }
  world_.old_cgroups.push_back(CgroupBase::take(parent, false));
  world_.old_cgroups.back()->use_controllers(world_.controllers.usable);
  return adopt_cgroup_tree(world_.loop, *world_.old_cgroups.back(), group_, on_empty);
}

void Child::adopt(const AdoptOrder& order) {
  started_ = true;
  tree_ = adopt_tree(order);
  find_adopted(order.pid, order.start_ticks);
}

// One that may live is not given up for a shortage of descriptors or memory: it is looked for until it can be told.
void Child::find_adopted(int pid, std::uint64_t start_ticks) {
  Result<Fd> found = open_process(pid, start_ticks);
  if (found && found.value()) {
    siginfo_t info{};
    const int fd = found.value().get();
    stranger_ =
        waitid(P_PIDFD, static_cast<id_t>(fd), &info, WEXITED | WNOHANG | WNOWAIT) != 0 && errno == ECHILD;
    if (exit_poll_.start(world_.loop, fd, UV_READABLE, [this] { reap(); }) == 0) {
      pid_ = pid;
      pidfd_ = std::move(found).value();
      return;
    }
    exit_poll_.close();
  }
  if (!found || found.value()) {
    constexpr Millis look_again{50};
    if (!find_timer_.open())
      find_timer_ = UvTimer(world_.loop, [this, pid, start_ticks] { find_adopted(pid, start_ticks); });
    find_timer_.start(look_again);
    return;
  }
  // Gone already: told outside of this call.
  status_timer_ = UvTimer(world_.loop, [this] {
    reaped_ = true;
    hooks_.exited({});
    if (tree_->main_ended()) ended();
  });
  status_timer_.start(Millis{0});
}

// The kernel tells once its parent has reaped it; one whose parent never does has ended all the same. By the clock: on a
// busy host some looks take as long as all of them should.
std::optional<ExitStatus> Child::status_of_stranger() {
  if (!has_ended(pidfd_.get())) return std::nullopt;
  if (auto status = status_by_pidfd(pidfd_.get())) return status;
  constexpr Millis patience{100};
  constexpr Millis look_again{5};
  const Instant now = std::chrono::steady_clock::now();
  if (!end_seen_) end_seen_ = now;
  if (now - *end_seen_ >= patience) return ExitStatus{};
  exit_poll_.close();
  if (!status_timer_.open()) status_timer_ = UvTimer(world_.loop, [this] { reap(); });
  status_timer_.start(look_again);
  return std::nullopt;
}

std::optional<ExitStatus> Child::ended_status() {
  return stranger_ ? status_of_stranger() : reaped_status(pidfd_.get());
}

void Child::watch() {
  int error = exit_poll_.start(world_.loop, pidfd_.get(), UV_READABLE, [this] { reap(); });
  if (error == 0) {
    error = report_poll_.start(world_.loop, report_.get(), UV_READABLE, [this] { read_report(); });
  }
  if (error == 0) return;
  // What cannot be watched must not run. SIGCHLD makes the host reap it.
  failure_sentence_ = std::string("watching the process: ") + uv_strerror(error);
  kill();
}

void Child::set_limits(const LimitOrder& order) {
  if (!over_) limits_.keep(order, *tree_, world_.controllers, false);
}

std::optional<Excess> Child::over_limit() const {
  return over_ || reaped_ ? std::nullopt : limits_.look(*tree_);
}

void Child::signal(int signal_number) {
  if (pid_ == 0 || reaped_) return;
  signal_pidfd(pidfd_.get(), signal_number);
}

void Child::kill() {
  signal(SIGKILL);  // also when it has not joined its tree yet
  if (tree_) tree_->kill();
}

void Child::read_report() {
  std::array<char, shim_report_bytes_max> piece{};
  while (report_.valid()) {
    const ssize_t got = read(report_.get(), piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) return finish_report();
    if (report_bytes_.size() < shim_report_bytes_max)
      report_bytes_.append(piece.data(), static_cast<std::size_t>(got));
  }
}

void Child::finish_report() {
  report_poll_.close();
  report_.reset();
  const ShimReport report = decode_shim_report(report_bytes_);
  if (by_small_shim_ && report.failure && report.failure->step == ShimStep::shim &&
      !is_shortage_errno(report.failure->error))
    use_small_shim("");  // not allowed to run: the next start goes without it
  if (report.failure) {
    failure_ = report.failure;
    failure_sentence_ = describe(*report.failure, names_);
  } else if (!report.reached_exec && failure_sentence_.empty()) {
    failure_sentence_ = "muster's start helper ended before it could start the process";
  }
  if (!failure_sentence_.empty()) return;  // told when it has been reaped
  started_ = true;
  if (report.credentials) {
    world_.credentials.keep(names_.user, names_.group, *report.credentials, stamp_,
                            std::chrono::steady_clock::now());
  }
  hooks_.started(pid_);
}

void Child::reap() {
  if (pid_ == 0 || reaped_) return;
  std::optional<ExitStatus> status = ended_status();
  if (!status) return;
  reaped_ = true;
  exit_poll_.close();
  pidfd_.reset();
  read_report();
  if (report_.valid()) finish_report();
  if (by_small_shim_ && !started_ && !failure_ && status->code)
    use_small_shim("");  // it ended by itself without a word: of another version
  if (started_) {
    // One that nobody reaped for us tells no signal.
    const bool may_be = status->signal == SIGKILL || (!status->signal && !status->code);
    if (const ProcessTree::Oom oom = may_be ? tree_->oom() : ProcessTree::Oom{}; oom.killed) {
      status->oom = true;
      if (oom.own_limit) status->oom_limit = limits_.order().limits.memory;
    }
    hooks_.exited(*status);
  } else {
    tree_->kill();
  }
  if (tree_->main_ended()) ended();
}

void Child::ended() {
  if (over_) return;
  over_ = true;
  if (started_) return hooks_.gone();
  const bool shortage = !failure_ || is_shortage(*failure_);
  hooks_.failed(shortage ? SpawnFailure::resources : SpawnFailure::exec, failure_sentence_);
}

}  // namespace muster::supervisor
