#include "supervisor/state_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "fmt/core.h"
#include "supervisor/volume_lock.h"

namespace muster::supervisor {
namespace {

constexpr char lock_name[] = "lock";

// As the kernel knows it. What the file says may be of an earlier daemon for a moment; it serves where /proc shows
// nothing of others.
std::string holder_of(int file) {
  if (const auto holder = holder_of_lock(file, lock_name)) return std::to_string(holder->pid);
  std::array<char, 32> text{};
  const auto got = ::pread(file, text.data(), text.size() - 1, 0);
  std::string pid(text.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
  while (!pid.empty() && (pid.back() < '0' || pid.back() > '9')) pid.pop_back();
  return pid;
}

}  // namespace

Result<Fd> lock_state_folder(const std::string& state_dir) {
  const std::string path = state_dir + "/" + lock_name;
  Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return system_error(path, errno);
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return system_error(path, errno);
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

}  // namespace muster::supervisor
