#include "supervisor/state_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <thread>

#include "fmt/core.h"
#include "supervisor/volume_lock.h"

namespace muster::supervisor {
namespace {

constexpr char lock_name[] = "lock";

constexpr std::chrono::milliseconds last_child_wait{2000};
constexpr std::chrono::milliseconds look_again{10};

int written_pid(int file) {
  std::array<char, 32> text{};
  const auto got = ::pread(file, text.data(), text.size() - 1, 0);
  int pid = 0;
  std::from_chars(text.data(), text.data() + std::max<ssize_t>(got, 0), pid);
  return pid;
}

// A child that a killed daemon was just starting has its descriptors until it has called execve(2).
bool is_of_a_dead_daemon(int file) {
  const int pid = written_pid(file);
  return pid > 0 && ::kill(pid, 0) != 0 && errno == ESRCH;
}

// As the kernel knows it. What the file says may be of an earlier daemon for a moment; it serves where /proc shows
// nothing of others.
std::string holder_of(int file) {
  if (const auto holder = holder_of_lock(file, lock_name)) return std::to_string(holder->pid);
  const int pid = written_pid(file);
  return pid > 0 ? std::to_string(pid) : "";
}

// No descriptor: somebody who is about to let go of it has the lock.
Result<Fd> try_to_lock(const std::string& state_dir, bool may_wait) {
  const std::string path = state_dir + "/" + lock_name;
  Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return system_error(path, errno);
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return system_error(path, errno);
    if (may_wait && is_of_a_dead_daemon(file.get())) return Fd{};
    const std::string holder = holder_of(file.get());
    return Error{.message = fmt::format("the state folder {} is in use by another muster{}", state_dir,
                                        holder.empty() ? "" : " (pid " + holder + ")"),
                 .code = ExitCode::failed,
                 .errno_value = EWOULDBLOCK};
  }
  const std::string text = fmt::format("{}\n", getpid());
  if (::ftruncate(file.get(), 0) != 0 || ::pwrite(file.get(), text.data(), text.size(), 0) < 0)
    return system_error(path, errno);
  return file;
}

}  // namespace

Result<Fd> lock_state_folder(const std::string& state_dir) {
  const auto deadline = std::chrono::steady_clock::now() + last_child_wait;
  while (true) {
    auto file = try_to_lock(state_dir, std::chrono::steady_clock::now() < deadline);
    if (!file || file.value()) return file;
    std::this_thread::sleep_for(look_again);
  }
}

}  // namespace muster::supervisor
