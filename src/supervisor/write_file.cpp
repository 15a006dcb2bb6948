#include "supervisor/write_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "base/fd.h"

namespace muster::supervisor {

Status write_file(const std::string& path, std::string_view text, Synced synced) {
  constexpr int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
  const Fd file(::open(path.c_str(), flags, 0600));
  if (!file) return system_error("open " + path, errno);
  while (!text.empty()) {
    const ssize_t written = ::write(file.get(), text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return system_error("write " + path, written == 0 ? EIO : errno);
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  if (synced == Synced::yes && ::fsync(file.get()) != 0) return system_error("fsync " + path, errno);
  return Unit{};
}

}  // namespace muster::supervisor
