#include "supervisor/output_keeper.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstring>
#include <optional>
#include <sstream>

#include "fmt/core.h"
#include "supervisor/keeper_steps.h"
#include "supervisor/proc_scan.h"
#include "supervisor/spawner.h"
#include "supervisor/uv_handles.h"

namespace muster::supervisor {
namespace {

constexpr std::string_view stored_prefix = "muster-output-";
constexpr std::chrono::seconds quick_end{10};
constexpr int quick_ends_max = 5;   // one after the other: this host has something against it
constexpr Millis retry_first{500};  // of a start that failed; doubled each time
constexpr Millis retry_max{60'000};

std::string stored_name(InstanceId instance) {
  return fmt::format("{}{}", stored_prefix, raw(instance));
}

std::optional<InstanceId> parse_stored_name(std::string_view name) {
  if (!name.starts_with(stored_prefix)) return std::nullopt;
  name.remove_prefix(stored_prefix.size());
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (name.empty() || error != std::errc{} || end != name.data() + name.size()) return std::nullopt;
  return InstanceId{number};
}

class FdStore : public OutputKeeper {
 public:
  FdStore(SdNotify& sd, std::set<InstanceId> stored)
      : sd_(sd), stored_(stored), earlier_(std::move(stored)) {}

  // What is kept over a restart stays in the store: a second time would be a second descriptor.
  void hold(InstanceId instance, const Fd& out, const Fd& err) override {
    earlier_.erase(instance);
    if (!stored_.insert(instance).second) return;
    sd_.store(stored_name(instance), {out.get(), err.get()});
  }
  void drop(InstanceId instance) override {
    earlier_.erase(instance);
    if (stored_.erase(instance) > 0) sd_.unstore(stored_name(instance));
  }
  void end_earlier() override {
    for (const InstanceId instance : std::exchange(earlier_, {})) drop(instance);
  }
  [[nodiscard]] std::set<InstanceId> stored() const override { return stored_; }

 private:
  SdNotify& sd_;
  std::set<InstanceId> stored_;
  std::set<InstanceId> earlier_;  // not asked for yet
};

std::string& keeper_path() {
  static std::string path;
  return path;
}

std::string boot_id() {
  const auto text = read_small_file("/proc/sys/kernel/random/boot_id", 64);
  return text ? text.value().substr(0, text.value().find('\n')) : "";
}

// The keeper that the file names, if it is that very process.
std::optional<ProcStat> keeper_of(const std::string& path) {
  const auto text = read_small_file(path, 256);
  if (!text) return std::nullopt;
  std::istringstream words(text.value());
  int pid = 0;
  std::uint64_t start_ticks = 0;
  std::string boot;
  if (!(words >> pid >> start_ticks >> boot) || pid <= 1 || boot != boot_id()) return std::nullopt;
  auto process = read_process(pid);
  return process && process->start_ticks == start_ticks && !process->ended() ? process : std::nullopt;
}

class SpawnPlan {
 public:
  SpawnPlan() {
    posix_spawn_file_actions_init(&actions_);
    posix_spawnattr_init(&attributes_);
  }
  ~SpawnPlan() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;

  // A session of its own, the usual signals, nothing of ours open but its socket.
  int run(const std::string& program, int socket_fd) {
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &all);
    posix_spawnattr_setflags(&attributes_,
                             POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawn_file_actions_adddup2(&actions_, socket_fd, keeper_socket_fd);
    for (const int fd : {0, 1, 2}) posix_spawn_file_actions_addopen(&actions_, fd, "/dev/null", O_RDWR, 0);
    std::string name = "muster";
    std::string flag = output_keeper_flag;
    std::array<char*, 3> argv{name.data(), flag.data(), nullptr};
    // Whoever keeps muster itself together by an environment token keeps this too.
    const char* const token = getenv("MUSTER_INSTANCE");  // NOLINT(concurrency-mt-unsafe): nobody sets it
    std::string variable = token ? std::string("MUSTER_INSTANCE=") + token : "";
    std::array<char*, 2> environment{token ? variable.data() : nullptr, nullptr};
    int pid = 0;
    const int error =
        posix_spawn(&pid, program.c_str(), &actions_, &attributes_, argv.data(), environment.data());
    errno = error;
    return error == 0 ? pid : -1;
  }

 private:
  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
};

class KeeperProcess : public OutputKeeper {
 public:
  KeeperProcess(uv_loop_s* loop, OutputFifos& fifos, std::function<void(std::string)> warn)
      : loop_(loop), fifos_(fifos), warn_(std::move(warn)), earlier_(keeper_of(path())) {
    if (loop_ != nullptr) retry_ = UvTimer(loop_, [this] { start_again(); });
  }
  ~KeeperProcess() override {
    poll_.close();
    if (socket_ && !held_.empty()) return;  // it goes on without us
    ::unlink(path().c_str());
    if (!socket_ || !process_ || !signal_process(*process_, SIGKILL))
      return;  // it ends by itself, a moment later
    siginfo_t ended{};
    while (::waitid(P_PID, static_cast<id_t>(process_->pid), &ended, WEXITED) != 0 && errno == EINTR) {
    }
  }

  void hold(InstanceId instance, const Fd& out, const Fd& err) override {
    held_.insert(instance);
    if (!socket_ && (retry_.armed() || !start())) return;
    if (!process_) write_down();  // could not be looked at
    send(KeeperVerb::hold, instance, {out.get(), err.get()});
  }
  void drop(InstanceId instance) override {
    if (held_.erase(instance) > 0 && socket_) send(KeeperVerb::drop, instance, {-1, -1});
  }
  void end_earlier() override {
    if (!earlier_) return;
    signal_process(*earlier_, SIGKILL);
    earlier_.reset();
    if (!socket_) ::unlink(path().c_str());
  }

 private:
  [[nodiscard]] std::string path() const { return fifos_.folder() + "/keeper"; }

  bool start() {
    if (gave_up_) return false;
    std::array<int, 2> ends{-1, -1};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0)
      return fail("socketpair", errno);
    Fd ours(ends[0]);
    // Not at its place already, or it would be closed there: dup2(2) of a descriptor onto itself leaves CLOEXEC set.
    const Fd theirs(::fcntl(ends[1], F_DUPFD_CLOEXEC, 10));
    ::close(ends[1]);
    if (!theirs) return fail("socketpair", errno);
    const Fd small = keeper_path().empty() ? open_trusted_program(small_shim_path()) : Fd();
    const std::string program = small                   ? fmt::format("/proc/self/fd/{}", small.get())
                                : keeper_path().empty() ? "/proc/self/exe"
                                                        : keeper_path();
    SpawnPlan plan;
    const int pid = plan.run(program, theirs.get());
    if (pid < 0) return fail(program, errno);
    pid_ = pid;
    socket_ = std::move(ours);
    started_at_ = std::chrono::steady_clock::now();
    retry_in_ = retry_first;
    if (std::exchange(failing_, false)) warn_("the keeper of the output has been started after all");
    if (poll_.start(loop_, socket_.get(), UV_READABLE, [this] { died(); }) != 0)
      warn_("its keeper cannot be watched");
    write_down();
    return true;
  }

  bool fail(const std::string& what, int error) {
    if (!std::exchange(failing_, true))
      warn_(fmt::format(
          "the keeper of the output cannot be started ({}: {}): what replicas write last is lost when they "
          "end while no muster runs",
          what, errno_text(error)));
    if (gave_up_ || !retry_.open()) return false;
    retry_.start(retry_in_);
    retry_in_ = std::min(2 * retry_in_, retry_max);
    return false;
  }

  void write_down() {
    process_ = read_process(pid_);
    if (!process_) return;
    const std::string text = fmt::format("{} {} {}\n", pid_, process_->start_ticks, boot_id());
    const std::string fresh = path() + ".new";
    const Fd file(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    const bool written =
        file && ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
    if (written) static_cast<void>(::rename(fresh.c_str(), path().c_str()));
  }

  // Its end of the socket has closed; it says nothing itself.
  void died() {
    poll_.close();
    socket_.reset();
    const bool quick = std::chrono::steady_clock::now() - started_at_ < quick_end;
    quick_ends_ = quick ? quick_ends_ + 1 : 0;
    if (quick_ends_ > quick_ends_max) {
      gave_up_ = true;
      fail("it ends again and again", ECHILD);
      return;
    }
    start_again();
  }

  void start_again() {
    if (held_.empty() || !start()) return;
    for (const InstanceId instance : held_) {
      if (const auto ends = fifos_.reopen(instance))
        send(KeeperVerb::hold, instance, {ends.value().out.get(), ends.value().err.get()});
    }
  }

  void send(KeeperVerb verb, InstanceId instance, std::array<int, 2> fds) {
    KeeperOrder order{static_cast<std::uint32_t>(verb), 0, raw(instance)};
    iovec piece{&order, sizeof order};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof fds)> control{};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    if (fds[0] >= 0 && fds[1] >= 0) {
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      cmsghdr* header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(sizeof fds);
      std::memcpy(CMSG_DATA(header), fds.data(), sizeof fds);
    }
    if (::sendmsg(socket_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) return;
    if (errno != EPIPE && errno != ECONNRESET && !std::exchange(told_, true))
      warn_("the keeper of the output does not answer: " + errno_text(errno));
  }

  uv_loop_s* loop_;
  OutputFifos& fifos_;
  std::function<void(std::string)> warn_;
  std::optional<ProcStat> earlier_;
  std::set<InstanceId> held_;
  int pid_ = 0;
  std::optional<ProcStat> process_;  // none: it could not be looked at
  Fd socket_;
  UvPoll poll_;
  Instant started_at_{};
  int quick_ends_ = 0;
  UvTimer retry_;
  Millis retry_in_ = retry_first;
  bool failing_ = false;
  bool gave_up_ = false;
  bool told_ = false;
};

}  // namespace

std::set<InstanceId> take_stored_output(std::vector<std::pair<std::string, Fd>>& passed) {
  std::set<InstanceId> stored;
  std::erase_if(passed, [&](const auto& entry) {
    const auto instance = parse_stored_name(entry.first);
    if (instance) stored.insert(*instance);
    return instance.has_value();
  });
  return stored;
}

std::unique_ptr<OutputKeeper> keep_in_fd_store(SdNotify& sd, std::set<InstanceId> stored) {
  return std::make_unique<FdStore>(sd, std::move(stored));
}

std::unique_ptr<OutputKeeper> keep_by_process(uv_loop_s* loop, OutputFifos& fifos,
                                              std::function<void(std::string)> warn) {
  return std::make_unique<KeeperProcess>(loop, fifos, std::move(warn));
}

void set_keeper_path(std::string path) {
  keeper_path() = std::move(path);
}

}  // namespace muster::supervisor
