#include "supervisor/state_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "fmt/core.h"

namespace muster::supervisor {

Result<Fd> lock_state_folder(const std::string& state_dir) {
  const std::string path = state_dir + "/lock";
  Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return system_error(path, errno);
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return system_error(path, errno);
    std::array<char, 32> pid{};
    const auto got = ::pread(file.get(), pid.data(), pid.size() - 1, 0);
    std::string holder(pid.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
    while (!holder.empty() && (holder.back() == '\n' || holder.back() < '0' || holder.back() > '9'))
      holder.pop_back();
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
