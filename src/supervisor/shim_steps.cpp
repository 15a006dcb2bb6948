#include "supervisor/shim_steps.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/prctl.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <cerrno>
#include <csignal>
#include <ctime>
#include <initializer_list>

#include "supervisor/raw_syscall.h"
#include "supervisor/version.h"

namespace muster::supervisor {
namespace {

constexpr std::uint32_t expected_magic = shim_magic(version_text);
constexpr std::uint32_t path_bytes_max = 4096;  // PATH_MAX
constexpr char default_search_path[] = "/usr/local/bin:/usr/bin:/bin";

char* at(ShimImage& image, std::uint64_t offset) {
  return reinterpret_cast<char*>(&image) + offset;
}
const char* string_at(const ShimImage& image, std::uint32_t offset) {
  return reinterpret_cast<const char*>(&image) + offset;
}

// An array of offsets becomes one of pointers, in place.
char** pointers_at(ShimImage& image, std::uint32_t offset, std::uint32_t count) {
  auto* const slots = reinterpret_cast<std::uint64_t*>(at(image, offset));
  for (std::uint32_t i = 0; i < count; ++i) slots[i] = reinterpret_cast<std::uint64_t>(at(image, slots[i]));
  return reinterpret_cast<char**>(slots);
}

void say(int fd, const char* bytes, std::size_t count) {
  while (raw_call(SYS_write, fd, raw_address(bytes), static_cast<long>(count)) == -EINTR) {
  }
}

class Shim {
 public:
  explicit Shim(ShimImage& image) : image_(image) {}

  // Standard input from /dev/null, the two outputs, and nothing else in the way of exec. Descriptors that came in as
  // 0, 1 or 2 are moved first, or one dup2 would close the source of the next.
  void set_streams() {
    for (std::int32_t* fd : {&image_.report_fd, &image_.out_fd, &image_.err_fd, &image_.cgroup_procs_fd})
      if (*fd >= 0) *fd = moved_up(*fd);
    for (std::uint32_t i = 0; i < image_.kept_count; ++i) kept()[i] = moved_up(kept()[i]);
    const int null = opened("/dev/null", O_RDONLY);
    if (null < 0) fail(ShimStep::streams, null);
    const int high = moved_up(null);
    put(high, 0);
    put(image_.out_fd, 1);
    put(image_.err_fd, 2);
    if (null >= 3) raw_call(SYS_close, null);
    raw_call(SYS_close, high);
  }

  void set_session() {
    must(ShimStep::session, raw_call(SYS_setsid));
    if (image_.cgroup_procs_fd < 0) return;
    must(ShimStep::cgroup, raw_call(SYS_write, image_.cgroup_procs_fd, raw_address("0"), 1));
  }

  void set_limits() {
    rlimit64 files{};
    must(ShimStep::files_max, raw_call(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, raw_address(&files)));
    if (image_.has_files_max != 0) {
      files.rlim_cur = files.rlim_max = image_.files_max;
    } else {
      files.rlim_cur = image_.files_soft < files.rlim_max ? image_.files_soft : files.rlim_max;
    }
    must(ShimStep::files_max, raw_call(SYS_prlimit64, 0, RLIMIT_NOFILE, raw_address(&files), 0));
    if (image_.has_core_bytes_max != 0) bound(ShimStep::core_max, RLIMIT_CORE, image_.core_bytes_max);
    if (image_.has_processes_max != 0) bound(ShimStep::processes_max, RLIMIT_NPROC, image_.processes_max);
  }

  void set_priorities() {
    raw_call(SYS_umask, image_.umask);
    // Wanted, not promised: raising protection needs CAP_SYS_RESOURCE.
    if (const int oom = opened("/proc/self/oom_score_adj", O_WRONLY); oom >= 0) {
      raw_call(SYS_write, oom, raw_address("0"), 1);
      raw_call(SYS_close, oom);
    }
    // Nice 0 is the default: a muster that was itself started with nice(1) may not be allowed to go back to it.
    const long result = raw_call(SYS_setpriority, PRIO_PROCESS, 0, image_.nice);
    if (image_.nice != 0) must(ShimStep::nice, result);
  }

  void set_credentials(const std::uint32_t* groups, std::uint32_t group_count) {
    const long uid = image_.uid;
    const long gid = image_.gid;
    // Whoever is that user already needs no privilege to stay it.
    if (ids_are_set() && raw_call(SYS_geteuid) != 0) return;
    if (image_.has_uid != 0) {
      const long set = raw_call(SYS_setgroups, group_count, raw_address(groups));
      // user_namespaces(7): where setgroups is denied, nobody may change them, and who stays itself need not.
      if (!(set == -EPERM && ids_are_set())) must(ShimStep::groups, set);
    }
    if (image_.has_gid != 0) must(ShimStep::gid, raw_call(SYS_setresgid, gid, gid, gid));
    if (image_.has_uid != 0) must(ShimStep::uid, raw_call(SYS_setresuid, uid, uid, uid));
    if (!ids_are_set()) fail(ShimStep::ids_kept, 0);
    const bool other_user = image_.has_uid != 0 && image_.uid != 0;
    if (other_user && raw_call(SYS_setresuid, 0, 0, 0) == 0) fail(ShimStep::ids_kept, 0);
  }

  void set_privileges() {
    // EINVAL: a kernel without ambient capabilities has none to drop.
    const long dropped = raw_call(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (dropped != -EINVAL) must(ShimStep::capabilities, dropped);
    if (image_.no_new_privs != 0)
      must(ShimStep::no_new_privs, raw_call(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    if (image_.end_with_parent == 0) return;
    // After the change of user, which clears it. A daemon that died before this line sends nothing any more.
    must(ShimStep::end_with_parent, raw_call(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL));
    if (raw_call(SYS_getppid) != image_.parent_pid) end();
  }

  void enter_dir() {
    if (image_.dir == 0) return;
    must(ShimStep::dir, raw_call(SYS_chdir, raw_address(string_at(image_, image_.dir))));
  }

  // Last: whatever is still open ends at exec, the report pipe with the rest. That is what tells the daemon.
  void mark_descriptors() {
    if (raw_call(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC) == 0) return;
    mark_each_descriptor();
  }

  // What the app keeps open without having asked for it goes where it disturbs least.
  void keep_descriptors() {
    const std::uint32_t count = image_.kept_count;
    if (count == 0) return;
    rlimit64 files{};
    must(ShimStep::descriptors, raw_call(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, raw_address(&files)));
    const std::uint64_t end = files.rlim_cur < kept_fds_below ? files.rlim_cur : kept_fds_below;
    const long first = end > count + 3U ? static_cast<long>(end - count) : 3;
    bool all_below = image_.report_fd < first;
    for (std::uint32_t i = 0; i < count; ++i) all_below = all_below && kept()[i] < first;
    // Leftovers of the daemon's table, which end at exec: out of the way now.
    if (all_below) raw_call(SYS_close_range, first, ~0U, 0);
    for (std::uint32_t i = 0; i < count; ++i) {
      const long put = raw_call(SYS_fcntl, kept()[i], F_DUPFD, first);
      // No number left below a tiny limit: then where it is.
      if (put < 0) must(ShimStep::descriptors, raw_call(SYS_fcntl, kept()[i], F_SETFD, 0));
    }
  }

  void reset_signals() {
    // struct sigaction of the kernel, all zero: SIG_DFL. KILL and STOP refuse.
    constexpr int signals = 64;
    const std::uint64_t standard[4]{};  // NOLINT(modernize-avoid-c-arrays)
    const std::uint64_t none = 0;
    for (int number = 1; number <= signals; ++number)
      raw_call(SYS_rt_sigaction, number, raw_address(standard), 0, sizeof none);
    raw_call(SYS_rt_sigprocmask, SIG_SETMASK, raw_address(&none), 0, sizeof none);
  }

  // Like execvp(3), but in the PATH of the order, and without its guess that what is no program is a shell script.
  void exec() {
    argv_ = pointers_at(image_, image_.argv, image_.argc);
    envp_ = pointers_at(image_, image_.envp, image_.envc);
    const char* const program = argv_[0];
    const char* slash = program;
    while (*slash != 0 && *slash != '/') ++slash;
    if (*slash == '/') {
      try_path(program, ShimStep::exec);
      fail(failed_step_, failed_error_);
    }
    if (*program != 0) search(program);
    fail(worst_step_, worst_);
  }

  // Signals are blocked, and SIGKILL ends the wait.
  void await_time() {
    constexpr std::int64_t second = 1'000'000'000;
    const std::int64_t at_ns = image_.not_before_ns;
    if (at_ns <= 0) return;
    const std::int64_t at[2]{at_ns / second,
                             at_ns % second};  // NOLINT(modernize-avoid-c-arrays): 64 bits on each machine
#ifdef SYS_clock_nanosleep_time64
    constexpr long sleep_until = SYS_clock_nanosleep_time64;
#else
    constexpr long sleep_until = SYS_clock_nanosleep;
#endif
    raw_call(sleep_until, CLOCK_MONOTONIC, TIMER_ABSTIME, raw_address(at), 0);
  }

  void say_ready() {
    say(image_.report_fd, &shim_ready, 1);
  }

 private:
  [[nodiscard]] std::int32_t* kept() const {
    return reinterpret_cast<std::int32_t*>(at(image_, image_.kept));
  }
  [[noreturn]] static void end() {
    for (;;) raw_call(SYS_exit_group, exit_of_failed_shim);
  }
  [[noreturn]] void fail(ShimStep step, long error) const {
    fail_shim(image_, step, static_cast<int>(error < 0 ? -error : error));
  }
  void must(ShimStep step, long result) const {
    if (result < 0) fail(step, result);
  }
  void bound(ShimStep step, int resource, std::uint64_t most) const {
    const rlimit64 limit{most, most};
    must(step, raw_call(SYS_prlimit64, 0, resource, raw_address(&limit), 0));
  }
  static int opened(const char* path, int flags) {
    return static_cast<int>(raw_call(SYS_openat, AT_FDCWD, raw_address(path), flags | O_CLOEXEC));
  }
  [[nodiscard]] int moved_up(int fd) const {
    const long moved = raw_call(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 3);
    must(ShimStep::streams, moved);
    return static_cast<int>(moved);
  }
  void put(int from, int as) const {
    must(ShimStep::streams, raw_call(SYS_dup3, from, as, 0));
  }

  [[nodiscard]] bool ids_are_set() const {
    std::uint32_t real = 0;
    std::uint32_t effective = 0;
    std::uint32_t saved = 0;
    const auto all_are = [&](std::uint32_t id) { return real == id && effective == id && saved == id; };
    const auto ask = [&](long which) {
      return raw_call(which, raw_address(&real), raw_address(&effective), raw_address(&saved)) == 0;
    };
    if (image_.has_uid != 0 && !(ask(SYS_getresuid) && all_are(image_.uid))) return false;
    return image_.has_gid == 0 || (ask(SYS_getresgid) && all_are(image_.gid));
  }

  // Kernels before 5.11 cannot mark a range. getdents64(2) says which there are.
  void mark_each_descriptor() {
    const int folder = opened("/proc/self/fd", O_RDONLY | O_DIRECTORY);
    if (folder < 0) fail(ShimStep::descriptors, folder);
    alignas(8) char entries[2048];  // NOLINT(modernize-avoid-c-arrays)
    constexpr long length_at = 16;  // struct linux_dirent64
    constexpr long name_at = 19;
    for (;;) {
      const long got = raw_call(SYS_getdents64, folder, raw_address(entries), sizeof entries);
      must(ShimStep::descriptors, got);
      if (got == 0) break;
      for (long i = 0; i < got; i += *reinterpret_cast<const std::uint16_t*>(entries + i + length_at)) {
        int fd = 0;
        const char* digit = entries + i + name_at;
        // NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): the kernel has written it
        for (; *digit >= '0' && *digit <= '9'; ++digit) fd = fd * 10 + (*digit - '0');
        if (*digit == 0 && fd >= 3) raw_call(SYS_fcntl, fd, F_SETFD, FD_CLOEXEC);
      }
    }
  }

  void try_path(const char* path, ShimStep step) {
    failed_step_ = step;
    failed_error_ =
        static_cast<int>(-raw_call(SYS_execve, raw_address(path), raw_address(argv_), raw_address(envp_)));
    const bool there = raw_call(SYS_faccessat, AT_FDCWD, raw_address(path), 0) == 0;
    if (failed_error_ == ENOENT && there) failed_step_ = ShimStep::interpreter;
  }

  void search(const char* program) {
    const char* folder =
        image_.search_path != 0 ? string_at(image_, image_.search_path) : default_search_path;
    for (bool more = true; more;) {
      char path[path_bytes_max];  // NOLINT(modernize-avoid-c-arrays)
      std::uint32_t size = 0;
      bool fits = true;
      const auto add = [&](char byte) {
        fits = fits && size < path_bytes_max;
        if (fits) path[size++] = byte;
      };
      if (*folder == ':' || *folder == 0) add('.');
      for (; *folder != ':' && *folder != 0; ++folder) add(*folder);
      more = *folder != 0;
      if (more) ++folder;
      add('/');
      for (const char* byte = program; *byte != 0; ++byte) add(*byte);
      add(0);
      if (!fits) continue;
      try_path(path, ShimStep::exec);
      const int error = failed_error_;
      const bool absent = error == ENOENT || error == ENOTDIR || error == ELOOP || error == ENAMETOOLONG;
      if (!absent && error != EACCES) fail(failed_step_, error);
      if (error != EACCES && failed_step_ != ShimStep::interpreter) continue;
      worst_ = error;
      worst_step_ = failed_step_;
    }
  }

  ShimImage& image_;
  char** argv_ = nullptr;
  char** envp_ = nullptr;
  ShimStep failed_step_ = ShimStep::exec;
  int failed_error_ = 0;
  int worst_ = ENOENT;
  ShimStep worst_step_ = ShimStep::exec;
};

// The image is our parent's work; this guards against a foreign descriptor.
bool is_sound(const ShimImage& image, std::uint64_t size) {
  if (image.magic != expected_magic || image.bytes != size || image.argc == 0) return false;
  if (string_at(image, image.bytes - 1)[0] != 0) return false;  // so every string ends
  for (const std::uint32_t offset : {image.argv, image.envp, image.search_path, image.dir, image.user,
                                     image.group, image.groups, image.kept})
    if (offset >= size) return false;
  return image.kept_count <= (size - image.kept) / sizeof(std::int32_t);
}

}  // namespace

ShimImage* map_shim_image(int memfd) {
  const long size = raw_call(SYS_lseek, memfd, 0, SEEK_END);
  if (size <= static_cast<long>(sizeof(ShimImage))) return nullptr;
#ifdef SYS_mmap2
  constexpr long map = SYS_mmap2;
#else
  constexpr long map = SYS_mmap;
#endif
  const long mapped = raw_call(map, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, memfd, 0);
  if (mapped < 0 && mapped > -4096) return nullptr;
  auto* const image = reinterpret_cast<ShimImage*>(mapped);
  return is_sound(*image, static_cast<std::uint64_t>(size)) ? image : nullptr;
}

void fail_shim(const ShimImage& image, ShimStep step, int error) {
  char report[shim_failure_bytes];  // NOLINT(modernize-avoid-c-arrays)
  report[0] = shim_failed;
  report[1] = static_cast<char>(step);
  for (unsigned i = 0; i < 4; ++i) report[2 + i] = static_cast<char>(static_cast<unsigned>(error) >> (8 * i));
  say(image.report_fd, report, sizeof report);
  // Its standard error is the app's log: no exit handler may write there.
  for (;;) raw_call(SYS_exit_group, exit_of_failed_shim);
}

void carry_out(ShimImage& image, const std::uint32_t* groups, std::uint32_t group_count) {
  Shim shim(image);
  shim.set_streams();
  shim.set_session();
  shim.set_limits();
  shim.set_priorities();
  shim.set_credentials(groups, group_count);
  shim.set_privileges();
  shim.enter_dir();
  shim.mark_descriptors();
  shim.keep_descriptors();
  shim.await_time();
  // Said while all signals are still blocked: one that waits already ends the app, not its start.
  shim.say_ready();
  shim.reset_signals();
  shim.exec();
  fail_shim(image, ShimStep::exec, ENOENT);  // not reached
}

}  // namespace muster::supervisor
