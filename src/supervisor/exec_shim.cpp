#include "supervisor/exec_shim.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "base/fd.h"
#include "supervisor/proc_files.h"
#include "supervisor/shim_order.h"

namespace muster::supervisor {
namespace {

constexpr int exit_of_failed_shim = 127;

using Failed = std::optional<ShimFailure>;

ShimFailure failed(ShimStep step) {
  return ShimFailure{step, errno};
}

void say(int fd, std::string_view bytes) {
  while (write(fd, bytes.data(), bytes.size()) < 0 && errno == EINTR) {
  }
}

// Standard input from /dev/null, the two outputs, and nothing else in the way of exec. Descriptors that came in as
// 0, 1 or 2 are moved first, or one dup2 would close the source of the next.
Failed set_streams(ShimOrder& order) {
  for (std::int32_t* fd : {&order.report_fd, &order.out_fd, &order.err_fd, &order.cgroup_procs_fd}) {
    if (*fd < 0) continue;
    *fd = fcntl(*fd, F_DUPFD_CLOEXEC, 3);
    if (*fd < 0) return failed(ShimStep::streams);
  }
  const Fd null(open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!null) return failed(ShimStep::streams);
  const Fd high(fcntl(null.get(), F_DUPFD_CLOEXEC, 3));
  if (!high || dup2(high.get(), 0) < 0 || dup2(order.out_fd, 1) < 0 || dup2(order.err_fd, 2) < 0) {
    return failed(ShimStep::streams);
  }
  return std::nullopt;
}

Failed set_session(const ShimOrder& order) {
  if (setsid() < 0) return failed(ShimStep::session);
  if (order.cgroup_procs_fd >= 0 && write(order.cgroup_procs_fd, "0", 1) != 1)
    return failed(ShimStep::cgroup);
  return std::nullopt;
}

Failed set_limits(const ShimOrder& order) {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return failed(ShimStep::files_max);
  if (order.files_max) {
    files.rlim_cur = files.rlim_max = *order.files_max;
  } else {
    files.rlim_cur = std::min<rlim_t>(order.files_soft, files.rlim_max);
  }
  if (setrlimit(RLIMIT_NOFILE, &files) != 0) return failed(ShimStep::files_max);
  if (order.core_bytes_max) {
    const rlimit core{*order.core_bytes_max, *order.core_bytes_max};
    if (setrlimit(RLIMIT_CORE, &core) != 0) return failed(ShimStep::core_max);
  }
  return std::nullopt;
}

Failed set_priorities(const ShimOrder& order) {
  umask(order.umask);
  // Wanted, not promised: raising protection needs CAP_SYS_RESOURCE.
  if (const Fd oom{open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC)}; oom) {
    [[maybe_unused]] const ssize_t wrote = write(oom.get(), "0", 1);
  }
  // Nice 0 is the default: a muster that was itself started with nice(1) may not be allowed to go back to it.
  if (setpriority(PRIO_PROCESS, 0, order.nice) != 0 && order.nice != 0) return failed(ShimStep::nice);
  return std::nullopt;
}

bool ids_are(const Credentials& ids) {
  uid_t real_uid = 0;
  uid_t effective_uid = 0;
  uid_t saved_uid = 0;
  gid_t real_gid = 0;
  gid_t effective_gid = 0;
  gid_t saved_gid = 0;
  if (getresuid(&real_uid, &effective_uid, &saved_uid) != 0) return false;
  if (getresgid(&real_gid, &effective_gid, &saved_gid) != 0) return false;
  const bool uid_ok =
      !ids.uid || (real_uid == *ids.uid && effective_uid == *ids.uid && saved_uid == *ids.uid);
  return uid_ok && (!ids.gid || (real_gid == *ids.gid && effective_gid == *ids.gid && saved_gid == *ids.gid));
}

Failed find_credentials(ShimOrder& order, CredentialLookUp look_up) {
  if (!needs_look_up(order)) return std::nullopt;
  if (look_up == nullptr) return ShimFailure{ShimStep::order, ENOTSUP};
  Credentials found;
  if (const Failed no = look_up(order, found)) return no;
  if (found.groups.size() <= reported_groups_max) say(order.report_fd, encode(found));
  order.credentials = std::move(found);
  return std::nullopt;
}

Failed set_credentials(const Credentials& ids) {
  // Whoever is that user already needs no privilege to stay it.
  if (ids_are(ids) && geteuid() != 0) return std::nullopt;
  if (ids.uid && setgroups(ids.groups.size(), ids.groups.data()) != 0) return failed(ShimStep::groups);
  if (ids.gid && setresgid(*ids.gid, *ids.gid, *ids.gid) != 0) return failed(ShimStep::gid);
  if (ids.uid && setresuid(*ids.uid, *ids.uid, *ids.uid) != 0) return failed(ShimStep::uid);
  if (!ids_are(ids)) return ShimFailure{ShimStep::ids_kept, 0};
  if (ids.uid.value_or(0) != 0 && setresuid(0, 0, 0) == 0) return ShimFailure{ShimStep::ids_kept, 0};
  return std::nullopt;
}

Failed set_privileges(const ShimOrder& order) {
  // EINVAL: a kernel without ambient capabilities has none to drop.
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0 && errno != EINVAL) {
    return failed(ShimStep::capabilities);
  }
  if (order.no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    return failed(ShimStep::no_new_privs);
  if (!order.end_with_parent) return std::nullopt;
  // After the change of user, which clears it. A daemon that died before this line sends nothing any more.
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return failed(ShimStep::end_with_parent);
  if (getppid() != order.parent_pid) _exit(exit_of_failed_shim);
  return std::nullopt;
}

Failed enter_dir(const ShimOrder& order) {
  if (!order.dir.empty() && chdir(order.dir.c_str()) != 0) return failed(ShimStep::dir);
  return std::nullopt;
}

// Kernels before 5.11 cannot mark a range.
Failed mark_each_descriptor() {
  DIR* folder = opendir("/proc/self/fd");
  if (!folder) return failed(ShimStep::descriptors);
  while (const dirent* entry = readdir(folder)) {
    const auto fd = parse_number(entry->d_name);
    if (fd && *fd >= 3) fcntl(static_cast<int>(*fd), F_SETFD, FD_CLOEXEC);
  }
  closedir(folder);
  return std::nullopt;
}

// Last: whatever is still open ends at exec, the report pipe with the rest. That is what tells the daemon.
Failed mark_descriptors() {
  if (syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC) == 0) return std::nullopt;
  return mark_each_descriptor();
}

void reset_signals() {
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  for (int number = 1; number < NSIG; ++number)
    sigaction(number, &standard, nullptr);  // KILL and STOP refuse
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  out.reserve(texts.size() + 1);
  for (std::string& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

std::string_view search_path(const std::vector<std::string>& environment) {
  for (const std::string_view variable : environment) {
    if (variable.starts_with("PATH=")) return variable.substr(5);
  }
  return "/usr/local/bin:/usr/bin:/bin";
}

ShimFailure failed_exec(const std::string& path) {
  const int error = errno;
  if (error == ENOENT && access(path.c_str(), F_OK) == 0) return {ShimStep::interpreter, error};
  return {ShimStep::exec, error};
}

// Like execvp(3), but in the PATH of the order, and without its guess that what is no program is a shell script.
ShimFailure exec_program(ShimOrder& order) {
  const std::vector<char*> argv = pointers(order.argv);
  const std::vector<char*> environment = pointers(order.environment);
  const std::string& program = order.argv[0];
  if (program.find('/') != std::string::npos) {
    execve(program.c_str(), argv.data(), environment.data());
    return failed_exec(program);
  }
  ShimFailure worst{ShimStep::exec, ENOENT};
  std::string_view rest = search_path(order.environment);
  for (bool more = !program.empty(); more;) {
    const std::size_t colon = rest.find(':');
    const std::string_view folder = rest.substr(0, colon);
    more = colon != std::string_view::npos;
    if (more) rest.remove_prefix(colon + 1);
    const std::string path = (folder.empty() ? "." : std::string(folder)) + "/" + program;
    execve(path.c_str(), argv.data(), environment.data());
    const ShimFailure now = failed_exec(path);
    const bool absent =
        now.error == ENOENT || now.error == ENOTDIR || now.error == ELOOP || now.error == ENAMETOOLONG;
    if (now.step == ShimStep::interpreter || (!absent && now.error != EACCES)) return now;
    if (now.error == EACCES) worst = now;
  }
  return worst;
}

std::optional<ShimOrder> read_order(int fd) {
  std::string bytes;
  std::array<char, 16384> piece{};
  for (;;) {
    const ssize_t got = pread(fd, piece.data(), piece.size(), static_cast<off_t>(bytes.size()));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::nullopt;
    if (got == 0) return decode_shim_order(bytes);
    bytes.append(piece.data(), static_cast<std::size_t>(got));
  }
}

Failed prepare(ShimOrder& order, CredentialLookUp look_up) {
  if (const Failed no = set_streams(order)) return no;
  if (const Failed no = set_session(order)) return no;
  if (const Failed no = set_limits(order)) return no;
  if (const Failed no = set_priorities(order)) return no;
  if (const Failed no = find_credentials(order, look_up)) return no;
  if (const Failed no = set_credentials(order.credentials.value_or(Credentials{}))) return no;
  if (const Failed no = set_privileges(order)) return no;
  if (const Failed no = enter_dir(order)) return no;
  return mark_descriptors();
}

}  // namespace

int exec_shim_main(int argc, char** argv, CredentialLookUp look_up) {
  // "exe", the name of /proc/self/exe, would puzzle whoever sees a start that hangs.
  prctl(PR_SET_NAME, "muster-shim");
  const auto fd = argc >= 3 ? parse_number(argv[2]) : std::nullopt;
  if (!fd || std::strcmp(argv[1], exec_shim_flag) != 0) return exit_of_failed_shim;
  std::optional<ShimOrder> order = read_order(static_cast<int>(*fd));
  // Without an order there is no pipe to say so; the daemon sees a helper that ended without a word.
  if (!order) return exit_of_failed_shim;
  Failed failure = prepare(*order, look_up);
  if (!failure) {
    // Said while all signals are still blocked: one that waits already ends the app, not its start.
    say(order->report_fd, std::string_view(&shim_ready, 1));
    reset_signals();
    failure = exec_program(*order);
  }
  say(order->report_fd, encode(*failure));
  // Its standard error is the app's log: no exit handler may write there.
  _exit(exit_of_failed_shim);
}

}  // namespace muster::supervisor
