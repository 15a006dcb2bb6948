#include "supervisor/spawner.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>

#include "fmt/core.h"
#include "supervisor/exec_shim.h"

// The child shares our memory and, until exec, our thread-local storage: nothing of a sanitizer may run in it.
#define MUSTER_BARE                                                                                 \
  __attribute__((noinline, no_sanitize("address"), no_sanitize("undefined"), no_sanitize("thread"), \
                 no_stack_protector))

namespace muster::supervisor {
namespace {

std::atomic<bool> no_clone3{false};  // remembered: the kernel or a seccomp filter refused it

// Resolved in the child, which still is this very program, even when its file was replaced meanwhile.
std::string& shim_path() {
  static std::string path = "/proc/self/exe";
  return path;
}

Fd& small_shim() {
  static Fd program;
  return program;
}

constexpr std::size_t stack_bytes = 64U << 10U;

// What the child works with; all of it was made ready before.
struct Errand {
  const char* path = nullptr;
  std::array<char*, 4> argv{};
  std::array<int, 5> inherited{-1, -1, -1, -1, -1};
  const int* kept = nullptr;
  std::size_t kept_count = 0;
  int report_fd = -1;
};

// Runs in the child, on its own stack, in the parent's memory. Raw calls only; the parent waits until exec or exit.
MUSTER_BARE int run_errand(void* raw) {
  const Errand& errand = *static_cast<const Errand*>(raw);
  for (const int fd : errand.inherited) {
    // Our descriptor table is a copy: the parent's flags stay as they are.
    if (fd >= 0) syscall(SYS_fcntl, fd, F_SETFD, 0);
  }
  for (std::size_t i = 0; i < errand.kept_count; ++i) syscall(SYS_fcntl, errand.kept[i], F_SETFD, 0);
  char* environment = nullptr;
  syscall(SYS_execve, errand.path, errand.argv.data(), &environment);
  const int error = errno;
  const std::array<unsigned char, shim_failure_bytes> report{'F',
                                                             static_cast<unsigned char>(ShimStep::shim),
                                                             static_cast<unsigned char>(error),
                                                             static_cast<unsigned char>(error >> 8),
                                                             0,
                                                             0};
  syscall(SYS_write, errand.report_fd, report.data(), report.size());
  syscall(SYS_exit, 127);
  return 127;
}

#if defined(__x86_64__) && defined(SYS_clone3)
#define MUSTER_HAS_CLONE3 1
// libc has no clone3(), and its syscall() would return on the new, empty stack.
MUSTER_BARE long raw_clone3(const clone_args* args, int (*enter)(void*), void* argument) {
  long result = SYS_clone3;
  asm volatile(
      "syscall\n\t"
      "testq %%rax, %%rax\n\t"
      "jnz 1f\n\t"
      "movq %[argument], %%rdi\n\t"
      "callq *%[enter]\n\t"
      "ud2\n"
      "1:"
      : "+a"(result)
      : "D"(args), "S"(sizeof(*args)), [enter] "r"(enter), [argument] "r"(argument)
      : "rcx", "r11", "memory");
  return result;
}
#endif

class Stack {
 public:
  Stack() = default;
  ~Stack() {
    if (valid()) munmap(base_, stack_bytes);
  }
  Stack(const Stack&) = delete;
  Stack& operator=(const Stack&) = delete;
  [[nodiscard]] bool valid() const { return base_ != MAP_FAILED; }
  [[nodiscard]] bool make() {
    if (valid()) return true;
    base_ =
        mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (!valid()) return false;
    mprotect(base_, 4096, PROT_NONE);  // its lowest page is the guard
    return true;
  }
  [[nodiscard]] void* base() const { return base_; }
  [[nodiscard]] void* top() const { return static_cast<char*>(base_) + stack_bytes; }

 private:
  void* base_ = MAP_FAILED;
};

// One for all children: each is done with it when the call that made it returns. Of the control thread alone.
Stack& shared_stack() {
  static Stack stack;
  return stack;
}

// A signal handler of ours must not run in a child that shares our memory. The shim empties its mask.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

struct Born {
  int pid = -1;
  int pidfd = -1;
  int error = 0;
};

Born born_by_clone3([[maybe_unused]] Errand& errand, [[maybe_unused]] int cgroup_fd) {
#ifdef MUSTER_HAS_CLONE3
  Stack& stack = shared_stack();
  if (!stack.make()) return {.error = errno};
  Born born;
  clone_args args{};
  args.flags = std::uint64_t{CLONE_VM} | std::uint64_t{CLONE_VFORK} | std::uint64_t{CLONE_PIDFD};
  args.pidfd = reinterpret_cast<std::uint64_t>(&born.pidfd);
  args.exit_signal = SIGCHLD;
  args.stack = reinterpret_cast<std::uint64_t>(stack.base());
  args.stack_size = stack_bytes;
  if (cgroup_fd >= 0) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = static_cast<__u64>(cgroup_fd);
  }
  const SignalsBlocked blocked;
  const long result = raw_clone3(&args, run_errand, &errand);
  if (result < 0) return {.error = static_cast<int>(-result)};
  born.pid = static_cast<int>(result);
  return born;
#else
  return {.error = ENOSYS};
#endif
}

// ThreadSanitizer takes every clone() for a fork and loses count when the memory is shared.
#if defined(__SANITIZE_THREAD__)
constexpr int memory_shared = 0;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
constexpr int memory_shared = 0;
#else
constexpr int memory_shared = CLONE_VM;
#endif
#else
constexpr int memory_shared = CLONE_VM;
#endif

Born born_by_clone(Errand& errand) {
  Stack& stack = shared_stack();
  if (!stack.make()) return {.error = errno};
  Born born;
  const SignalsBlocked blocked;
  born.pid = clone(run_errand, stack.top(), memory_shared | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &errand,
                   &born.pidfd);
  if (born.pid < 0) born.error = errno;
  return born;
}

// Whether this errno means "not with this kernel or filter" and not "not now".
bool clone3_refused(int error) {
  return error == ENOSYS || error == EPERM || error == EINVAL || error == E2BIG;
}

Result<Fd> written_order(const ShimOrder& order) {
  Fd memfd(memfd_create("muster-order", MFD_CLOEXEC));
  if (!memfd) return system_error("memfd_create", errno);
  const std::string bytes = encode(order);
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t wrote = write(memfd.get(), bytes.data() + done, bytes.size() - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return system_error("writing the order of a start", errno);
    done += static_cast<std::size_t>(wrote);
  }
  return memfd;
}

Result<Spawned> spawn_once(const ShimOrder& order, int cgroup_fd, bool with_clone3) {
  Result<Fd> memfd = written_order(order);
  if (!memfd) return std::move(memfd).error();
  std::string name = "muster";
  std::string flag = exec_shim_flag;
  std::string fd_number = std::to_string(memfd.value().get());
  const bool by_small_shim = small_shim().valid() && !needs_look_up(order);
  const std::string path = by_small_shim ? fmt::format("/proc/self/fd/{}", small_shim().get()) : shim_path();
  Errand errand;
  errand.path = path.c_str();
  errand.argv = {name.data(), flag.data(), fd_number.data(), nullptr};
  errand.inherited = {memfd.value().get(), order.report_fd, order.out_fd, order.err_fd,
                      order.cgroup_procs_fd};
  errand.kept = order.kept.data();
  errand.kept_count = order.kept.size();
  errand.report_fd = order.report_fd;
  const Born born = with_clone3 ? born_by_clone3(errand, cgroup_fd) : born_by_clone(errand);
  if (born.pid < 0) return system_error("fork", born.error);
  // We often wake up on the child's processor, in the middle of its exec. It is in more of a hurry than we are.
  sched_yield();
  return Spawned{born.pid, Fd(born.pidfd), by_small_shim};
}

}  // namespace

Result<Spawned> spawn_shim(ShimOrder order, const std::string& cgroup_folder) {
  const bool in_cgroup = !cgroup_folder.empty();
  if (!no_clone3.load(std::memory_order_relaxed)) {
    Fd folder;
    if (in_cgroup) {
      folder.reset(open(cgroup_folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
      if (!folder) return system_error(cgroup_folder, errno);
    }
    Result<Spawned> spawned = spawn_once(order, folder.get(), true);
    if (spawned || !clone3_refused(spawned.error().errno_value)) return spawned;
    no_clone3.store(true, std::memory_order_relaxed);
  }
  Fd procs;
  if (in_cgroup) {
    procs.reset(open((cgroup_folder + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
    if (!procs) return system_error(cgroup_folder + "/cgroup.procs", errno);
  }
  order.cgroup_procs_fd = procs.get();
  return spawn_once(order, -1, false);
}

Fd open_trusted_program(const std::string& path) {
  if (path.empty()) return {};
  Fd program(open(path.c_str(), O_PATH | O_CLOEXEC));
  struct stat file {};
  if (!program || fstat(program.get(), &file) != 0) return {};
  const bool ours = file.st_uid == 0 || file.st_uid == geteuid();
  const bool writable = (file.st_mode & (S_IWGRP | S_IWOTH)) != 0;
  return S_ISREG(file.st_mode) && ours && !writable ? std::move(program) : Fd();
}

void use_small_shim(const std::string& path) {
  small_shim() = open_trusted_program(path);
}

std::string small_shim_path() {
  std::array<char, PATH_MAX> own{};
  const ssize_t size = readlink("/proc/self/exe", own.data(), own.size());
  if (size <= 0) return {};
  const std::string_view path(own.data(), static_cast<std::size_t>(size));
  const std::string folder(path.substr(0, path.rfind('/')));
  for (const char* place : {"/muster-shim", "/../libexec/muster/muster-shim"}) {
    std::string candidate = folder + place;
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return {};
}

void set_shim_path(std::string path) {
  shim_path() = std::move(path);
}

void forbid_clone3(bool forbidden) {
  no_clone3.store(forbidden, std::memory_order_relaxed);
}

}  // namespace muster::supervisor
