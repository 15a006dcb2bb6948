// Runs a program on a host that fails: chosen system calls of that one process (not of its children) return an error
// instead of being made. By seccomp user notification, so nothing in the program knows of it and nothing escapes it:
// raw system calls, those inside of the C library, those of every thread.
//
//   fault_host [--after PATH] [--report FILE] [--rule RULE]… -- PROGRAM [ARGUMENT…]
//     --after    counting and failing begin with the first open of PATH (what comes before is the dynamic loader's)
//     --report   a line for each thing that people want to know, as it happens: "pid N", "failed N CALL ERROR WHERE",
//                "counted N", "exit N" or "signal N", "left" (a process outlives the program), "over"
//   RULE: CALLS ERROR [skip=N] [count=N] [for=MS] [path=PREFIX] [not=PREFIX]
//     CALLS      names with commas, or `any`: all that can fail
//     ERROR      a name (ENOSPC), or `fit` / `fit2`: what this call fails with in real life, in two choices
//     skip=N     so many calls that match are let through
//     count=N    then so many fail (all)
//     for=MS     … those that come within this time after the first one that failed, and of its kind if CALLS is `any`
//     path=P     only calls about files whose path begins with P; not=P: but for these
//   Standard input, if it is a pipe: a RULE adds one, "clear" ends all; "taken …" in the report answers. Signals are passed
//   on, and the exit status is the program's, once it and all that it started has ended.
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

// What a call is about: where its path or its descriptor is among the arguments.
enum class About { nothing, fd, path, path_at };

struct Call {
  long number;
  std::string_view name;
  About about;
  int fit;
  int fit2;
};

constexpr std::array calls{
    Call{SYS_open, "open", About::path, EMFILE, EIO},
    Call{SYS_openat, "openat", About::path_at, EMFILE, EIO},
    Call{SYS_stat, "stat", About::path, EIO, EACCES},
    Call{SYS_lstat, "lstat", About::path, EIO, EACCES},
    Call{SYS_fstat, "fstat", About::fd, EIO, EIO},
    Call{SYS_newfstatat, "newfstatat", About::path_at, EIO, EACCES},
    Call{SYS_statx, "statx", About::path_at, EIO, EACCES},
    Call{SYS_access, "access", About::path, EIO, EACCES},
    Call{SYS_faccessat, "faccessat", About::path_at, EIO, EACCES},
    Call{SYS_readlink, "readlink", About::path, EIO, ENOMEM},
    Call{SYS_readlinkat, "readlinkat", About::path_at, EIO, ENOMEM},
    Call{SYS_getdents64, "getdents64", About::fd, EIO, EIO},
    Call{SYS_statfs, "statfs", About::path, EIO, EIO},
    Call{SYS_read, "read", About::fd, EIO, EIO},
    Call{SYS_pread64, "pread64", About::fd, EIO, EIO},
    Call{SYS_readv, "readv", About::fd, EIO, EIO},
    Call{SYS_write, "write", About::fd, ENOSPC, EIO},
    Call{SYS_pwrite64, "pwrite64", About::fd, ENOSPC, EIO},
    Call{SYS_writev, "writev", About::fd, ENOSPC, EIO},
    Call{SYS_fsync, "fsync", About::fd, EIO, ENOSPC},
    Call{SYS_fdatasync, "fdatasync", About::fd, EIO, ENOSPC},
    Call{SYS_ftruncate, "ftruncate", About::fd, EIO, ENOSPC},
    Call{SYS_flock, "flock", About::fd, ENOLCK, ENOLCK},
    Call{SYS_mkdir, "mkdir", About::path, ENOSPC, EROFS},
    Call{SYS_mkdirat, "mkdirat", About::path_at, ENOSPC, EROFS},
    Call{SYS_rmdir, "rmdir", About::path, EIO, EROFS},
    Call{SYS_rename, "rename", About::path, ENOSPC, EROFS},
    Call{SYS_renameat, "renameat", About::path_at, ENOSPC, EROFS},
    Call{SYS_renameat2, "renameat2", About::path_at, ENOSPC, EROFS},
    Call{SYS_link, "link", About::path, ENOSPC, EROFS},
    Call{SYS_symlink, "symlink", About::path, ENOSPC, EROFS},
    Call{SYS_unlink, "unlink", About::path, EIO, EROFS},
    Call{SYS_unlinkat, "unlinkat", About::path_at, EIO, EROFS},
    Call{SYS_chmod, "chmod", About::path, EIO, EPERM},
    Call{SYS_fchmod, "fchmod", About::fd, EIO, EPERM},
    Call{SYS_fchmodat, "fchmodat", About::path_at, EIO, EPERM},
    Call{SYS_chown, "chown", About::path, EIO, EPERM},
    Call{SYS_fchown, "fchown", About::fd, EIO, EPERM},
    Call{SYS_fchownat, "fchownat", About::path_at, EIO, EPERM},
    Call{SYS_mknod, "mknod", About::path, ENOSPC, EROFS},
    Call{SYS_mknodat, "mknodat", About::path_at, ENOSPC, EROFS},
    Call{SYS_inotify_init1, "inotify_init1", About::nothing, EMFILE, ENFILE},
    Call{SYS_inotify_add_watch, "inotify_add_watch", About::nothing, ENOSPC, ENOMEM},
    Call{SYS_pipe2, "pipe2", About::nothing, EMFILE, ENFILE},
    Call{SYS_socket, "socket", About::nothing, EMFILE, ENFILE},
    Call{SYS_socketpair, "socketpair", About::nothing, EMFILE, ENFILE},
    Call{SYS_bind, "bind", About::nothing, EADDRINUSE, ENOMEM},
    Call{SYS_listen, "listen", About::nothing, EADDRINUSE, ENOMEM},
    Call{SYS_accept, "accept", About::nothing, EMFILE, ENFILE},
    Call{SYS_accept4, "accept4", About::nothing, EMFILE, ENFILE},
    Call{SYS_connect, "connect", About::nothing, EADDRNOTAVAIL, ENOMEM},
    Call{SYS_getsockname, "getsockname", About::nothing, ENOBUFS, ENOBUFS},
    Call{SYS_setsockopt, "setsockopt", About::nothing, ENOMEM, ENOBUFS},
    Call{SYS_sendto, "sendto", About::nothing, ENOBUFS, ECONNRESET},
    Call{SYS_sendmsg, "sendmsg", About::nothing, ENOBUFS, ECONNRESET},
    Call{SYS_recvfrom, "recvfrom", About::nothing, ECONNRESET, ENOMEM},
    Call{SYS_recvmsg, "recvmsg", About::nothing, ECONNRESET, ENOMEM},
    Call{SYS_epoll_create1, "epoll_create1", About::nothing, EMFILE, ENFILE},
    Call{SYS_epoll_ctl, "epoll_ctl", About::nothing, ENOSPC, ENOMEM},
    Call{SYS_eventfd2, "eventfd2", About::nothing, EMFILE, ENFILE},
    Call{SYS_timerfd_create, "timerfd_create", About::nothing, EMFILE, ENFILE},
    Call{SYS_memfd_create, "memfd_create", About::nothing, EMFILE, ENOMEM},
    Call{SYS_pidfd_open, "pidfd_open", About::nothing, EMFILE, ENOMEM},
    Call{SYS_pidfd_send_signal, "pidfd_send_signal", About::nothing, EPERM, EPERM},
    Call{SYS_kill, "kill", About::nothing, EPERM, EPERM},
    Call{SYS_getrandom, "getrandom", About::nothing, ENOSYS, EINTR},
    Call{SYS_clone, "clone", About::nothing, EAGAIN, ENOMEM},
    Call{SYS_clone3, "clone3", About::nothing, EAGAIN, ENOMEM},
    Call{SYS_fork, "fork", About::nothing, EAGAIN, ENOMEM},
    Call{SYS_vfork, "vfork", About::nothing, EAGAIN, ENOMEM},
    Call{SYS_waitid, "waitid", About::nothing, EINTR, EINTR},
    Call{SYS_prlimit64, "prlimit64", About::nothing, EPERM, EPERM},
    Call{SYS_mmap, "mmap", About::nothing, ENOMEM, ENOMEM},
    Call{SYS_mprotect, "mprotect", About::nothing, ENOMEM, ENOMEM},
    Call{SYS_brk, "brk", About::nothing, ENOMEM, ENOMEM},
};

constexpr std::array<std::pair<std::string_view, int>, 18> errors{{
    {"EMFILE", EMFILE},
    {"ENFILE", ENFILE},
    {"ENOMEM", ENOMEM},
    {"EAGAIN", EAGAIN},
    {"ENOSPC", ENOSPC},
    {"EIO", EIO},
    {"EROFS", EROFS},
    {"EACCES", EACCES},
    {"EPERM", EPERM},
    {"ENOENT", ENOENT},
    {"EINTR", EINTR},
    {"ENOSYS", ENOSYS},
    {"EPIPE", EPIPE},
    {"ENOBUFS", ENOBUFS},
    {"ECONNRESET", ECONNRESET},
    {"ENODEV", ENODEV},
    {"ENOLCK", ENOLCK},
    {"EBUSY", EBUSY},
}};

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "fault_host: %s\n", what.c_str());
  std::exit(125);
}

const Call* find_call(long number) {
  for (const Call& call : calls)
    if (call.number == number) return &call;
  return nullptr;
}

std::string error_name(int error) {
  const char* name = strerrorname_np(error);
  return name != nullptr ? name : std::to_string(error);
}

struct Rule {
  std::set<std::string, std::less<>> names;  // empty: any
  int error = 0;                             // 0: fit
  bool second_choice = false;
  std::uint64_t skip = 0;
  std::uint64_t count = UINT64_MAX;
  std::optional<std::chrono::milliseconds> lasts;
  std::string path;
  std::string but;

  std::uint64_t seen = 0;
  std::uint64_t failed = 0;
  Clock::time_point since{};
  std::string_view kind;  // of the first that failed
};

int error_by_name(const std::string& name) {
  for (const auto& [known, number] : errors)
    if (known == name) return number;
  die("no error is called " + name);
}

void set_field(Rule& rule, const std::string& word) {
  const std::size_t equals = word.find('=');
  const std::string key = word.substr(0, equals);
  const std::string value = equals == std::string::npos ? "" : word.substr(equals + 1);
  if (key == "skip") {
    rule.skip = std::stoull(value);
  } else if (key == "count") {
    rule.count = std::stoull(value);
  } else if (key == "for") {
    rule.lasts = std::chrono::milliseconds(std::stoll(value));
  } else if (key == "path") {
    rule.path = value;
  } else if (key == "not") {
    rule.but = value;
  } else {
    die("what is " + word + " in a rule?");
  }
}

Rule parse_rule(const std::string& text) {
  Rule rule;
  std::istringstream words(text);
  std::string names;
  std::string error;
  if (!(words >> names >> error)) die("a rule is CALLS ERROR …: " + text);
  std::istringstream list(names);
  for (std::string name; std::getline(list, name, ',');) {
    if (name == "any") continue;
    bool known = false;
    for (const Call& call : calls) known = known || call.name == name;
    if (!known) die("no call is called " + name);
    rule.names.insert(name);
  }
  if (error == "fit2") {
    rule.second_choice = true;
  } else if (error != "fit") {
    rule.error = error_by_name(error);
  }
  for (std::string word; words >> word;) set_field(rule, word);
  return rule;
}

struct Program {
  std::vector<std::string> arguments;
  std::string after;
  std::string report;
  std::vector<Rule> rules;
};

// The host: it answers every call that the filter hands to it.
class Host {
 public:
  Host(Program program, int listener, int pid)
      : program_(std::move(program)), listener_(listener), pid_(pid) {
    counting_ = program_.after.empty();
    if (!program_.report.empty()) report_ = std::fopen(program_.report.c_str(), "we");
    tell("pid " + std::to_string(pid));
  }
  int run();

 private:
  void answer();
  int verdict(const seccomp_notif& notice);
  [[nodiscard]] bool is_of_program(int task);
  [[nodiscard]] std::string path_at(int task, std::uint64_t address) const;
  [[nodiscard]] std::string path_of_fd(int fd) const;
  [[nodiscard]] std::string about(const Call& call, const seccomp_notif& notice) const;
  bool strikes(Rule& rule, const Call& call, const std::string& where);
  void read_input();
  void see_exit();
  void tell(const std::string& line) {
    if (report_ == nullptr) return;
    std::fprintf(report_, "%s\n", line.c_str());
    std::fflush(report_);
  }

  Program program_;
  int listener_;
  int pid_;
  std::FILE* report_ = nullptr;
  std::map<int, bool> tasks_;
  bool counting_;
  bool input_open_ = true;
  std::string input_;
  std::uint64_t counted_ = 0;
  std::optional<int> status_;
};

bool Host::is_of_program(int task) {
  const auto known = tasks_.find(task);
  if (known != tasks_.end()) return known->second;
  const std::string folder = "/proc/" + std::to_string(pid_) + "/task/" + std::to_string(task);
  return tasks_[task] = ::access(folder.c_str(), F_OK) == 0;
}

std::string Host::path_at(int task, std::uint64_t address) const {
  const int memory = ::open(("/proc/" + std::to_string(task) + "/mem").c_str(), O_RDONLY | O_CLOEXEC);
  if (memory < 0) return {};
  std::array<char, 512> bytes{};
  // A page that is not there ends the read early.
  ssize_t got = ::pread(memory, bytes.data(), bytes.size() - 1, static_cast<off_t>(address));
  if (got < 0) {
    const std::size_t on_page = 4096 - address % 4096;
    got = ::pread(memory, bytes.data(), std::min(bytes.size() - 1, on_page), static_cast<off_t>(address));
  }
  ::close(memory);
  return got > 0 ? std::string(bytes.data()) : std::string();
}

std::string Host::path_of_fd(int fd) const {
  std::array<char, 512> target{};
  const std::string link = "/proc/" + std::to_string(pid_) + "/fd/" + std::to_string(fd);
  const ssize_t got = ::readlink(link.c_str(), target.data(), target.size() - 1);
  return got > 0 ? std::string(target.data(), static_cast<std::size_t>(got)) : std::string();
}

std::string Host::about(const Call& call, const seccomp_notif& notice) const {
  const auto task = static_cast<int>(notice.pid);
  switch (call.about) {
    case About::fd:
      return path_of_fd(static_cast<int>(notice.data.args[0]));
    case About::path:
      return path_at(task, notice.data.args[0]);
    case About::path_at: {
      std::string path = path_at(task, notice.data.args[1]);
      const auto folder = static_cast<int>(notice.data.args[0]);
      if (path.starts_with('/') || folder == AT_FDCWD) return path;
      return path_of_fd(folder) + (path.empty() ? "" : "/" + path);
    }
    case About::nothing:
      return {};
  }
  return {};
}

// Reads and writes fail in the way of what they are made on; 0: such a one never fails.
int fit_of_descriptor(const Call& call, const std::string& where, int usual) {
  const bool reads = call.name.find("read") != std::string_view::npos;
  const bool writes = call.name.find("write") != std::string_view::npos;
  if (!reads && !writes) return usual;
  if (where.starts_with("socket:")) return reads ? ECONNRESET : EPIPE;
  if (where.starts_with("pipe:")) return 0;  // with both ends in our hands
  if (where.starts_with("anon_inode:") || where.empty() || where == "/dev/null") return 0;
  return usual;
}

bool Host::strikes(Rule& rule, const Call& call, const std::string& where) {
  if (!rule.names.empty() && !rule.names.contains(call.name)) return false;
  if (!rule.path.empty() && !where.starts_with(rule.path)) return false;
  if (!rule.but.empty() && where.starts_with(rule.but)) return false;
  if (!rule.kind.empty() && rule.lasts && rule.names.empty() && call.name != rule.kind) return false;
  if (++rule.seen <= rule.skip || rule.failed >= rule.count) return false;
  if (rule.failed == 0) {
    rule.since = Clock::now();
    rule.kind = call.name;
  } else if (rule.lasts && Clock::now() > rule.since + *rule.lasts) {
    rule.count = 0;
    return false;
  }
  ++rule.failed;
  return true;
}

// The errno that this call gets; 0: it is made.
int Host::verdict(const seccomp_notif& notice) {
  if (!is_of_program(static_cast<int>(notice.pid))) return 0;
  const Call* call = find_call(notice.data.nr);
  if (call == nullptr) return 0;
  const std::string where = about(*call, notice);
  if (!counting_) {
    if (where != program_.after) return 0;
    counting_ = true;
  }
  const int usual = fit_of_descriptor(*call, where, call->fit);
  if (usual == 0) return 0;
  ++counted_;
  for (Rule& rule : program_.rules) {
    if (!strikes(rule, *call, where)) continue;
    const int fit = rule.second_choice ? fit_of_descriptor(*call, where, call->fit2) : usual;
    const int error = rule.error != 0 ? rule.error : fit;
    // A rule that fails a thousand calls is told by its first twenty.
    if (rule.failed <= 20)
      tell("failed " + std::to_string(counted_) + " " + std::string(call->name) + " " + error_name(error) +
           " " + where);
    return error;
  }
  return 0;
}

void Host::answer() {
  seccomp_notif notice{};
  if (::ioctl(listener_, SECCOMP_IOCTL_NOTIF_RECV, &notice) != 0) return;  // it was killed meanwhile
  seccomp_notif_resp answer{};
  answer.id = notice.id;
  const int error = verdict(notice);
  if (error == 0) {
    answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
  } else {
    // brk(2) itself has no error but another end than the one that was asked for.
    if (notice.data.nr != SYS_brk) answer.error = -error;
  }
  ::ioctl(listener_, SECCOMP_IOCTL_NOTIF_SEND, &answer);
}

void Host::read_input() {
  std::array<char, 4096> piece{};
  const ssize_t got = ::read(STDIN_FILENO, piece.data(), piece.size());
  if (got <= 0) input_open_ = false;
  if (got > 0) input_.append(piece.data(), static_cast<std::size_t>(got));
  for (std::size_t end = 0; (end = input_.find('\n')) != std::string::npos; input_.erase(0, end + 1)) {
    const std::string line = input_.substr(0, end);
    if (line == "clear") {
      program_.rules.clear();
    } else if (!line.empty()) {
      program_.rules.push_back(parse_rule(line));
    }
    tell("taken " + line);
  }
}

void Host::see_exit() {
  int status = 0;
  if (status_ || ::waitpid(pid_, &status, WNOHANG) != pid_) return;
  tell("counted " + std::to_string(counted_));
  if (WIFSIGNALED(status)) {
    tell("signal " + std::to_string(WTERMSIG(status)));
    status_ = 128 + WTERMSIG(status);
  } else {
    tell("exit " + std::to_string(WEXITSTATUS(status)));
    status_ = WEXITSTATUS(status);
  }
}

int Host::run() {
  constexpr int look_ms = 20;  // an exit is seen within this time
  bool told_left = false;
  int rounds_after = 0;
  for (;;) {
    std::array<pollfd, 2> wait{{{listener_, POLLIN, 0}, {input_open_ ? STDIN_FILENO : -1, POLLIN, 0}}};
    const int ready = ::poll(wait.data(), wait.size(), look_ms);
    if (ready < 0 && errno != EINTR) die("poll");
    if ((wait[1].revents & (POLLIN | POLLHUP)) != 0) read_input();
    if ((wait[0].revents & POLLIN) != 0) {
      answer();
      continue;
    }
    see_exit();
    // The filter is gone with the last process that has it.
    if ((wait[0].revents & POLLHUP) != 0) break;
    if (status_ && ++rounds_after == 50 && !told_left) {
      tell("left");
      told_left = true;
    }
  }
  while (!status_) see_exit();
  tell("over");
  return *status_;
}

// --- the start

volatile sig_atomic_t program_pid = 0;  // signals are for the program

std::vector<sock_filter> filter() {
  std::vector<sock_filter> out;
  out.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)));
  for (const Call& call : calls) {
    out.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(call.number), 0, 1));
    out.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF));
  }
  out.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  return out;
}

struct Start {
  sock_fprog filter{};
  char** argv = nullptr;
  volatile int listener = -1;
  volatile int error = 0;
};

// In our memory and with our descriptors until exec, so the listener is ours as well; no call between the two may be
// one that the filter hands over.
int begin(void* raw) {
  auto& start = *static_cast<Start*>(raw);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (geteuid() != 0) ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  constexpr unsigned long killable = 1UL << 5;  // SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, since Linux 5.19
  long made = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER | killable,
                        &start.filter);
  if (made < 0)
    made = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &start.filter);
  if (made >= 0) {
    start.listener = static_cast<int>(made);
    ::execv(start.argv[0], start.argv);
  }
  start.error = errno;
  ::_exit(125);
}

Program read_arguments(int argc, char** argv) {
  Program program;
  int at = 1;
  for (; at + 1 < argc && std::strcmp(argv[at], "--") != 0; at += 2) {
    const std::string flag = argv[at];
    const std::string value = argv[at + 1];
    if (flag == "--after") {
      program.after = value;
    } else if (flag == "--report") {
      program.report = value;
    } else if (flag == "--rule") {
      program.rules.push_back(parse_rule(value));
    } else {
      die("what is " + flag + "?");
    }
  }
  for (++at; at < argc; ++at) program.arguments.emplace_back(argv[at]);
  if (program.arguments.empty()) die("which program?");
  return program;
}

}  // namespace

int main(int argc, char** argv) {
  Program program = read_arguments(argc, argv);
  std::vector<char*> arguments;
  for (std::string& argument : program.arguments) arguments.push_back(argument.data());
  arguments.push_back(nullptr);
  std::vector<sock_filter> code = filter();
  Start start;
  start.filter = {static_cast<unsigned short>(code.size()), code.data()};
  start.argv = arguments.data();
  static std::array<char, 256 << 10> stack;
  const int pid =
      ::clone(begin, stack.data() + stack.size(), CLONE_VM | CLONE_VFORK | CLONE_FILES | SIGCHLD, &start);
  if (pid < 0) die("clone");
  if (start.listener < 0 || start.error != 0)
    die(std::string("this host cannot fail system calls: ") + std::strerror(start.error));
  std::signal(SIGPIPE, SIG_IGN);
  program_pid = pid;
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2})
    std::signal(number, [](int caught) { ::kill(program_pid, caught); });
  return Host(std::move(program), start.listener, pid).run();
}
