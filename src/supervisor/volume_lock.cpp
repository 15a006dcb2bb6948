#include "supervisor/volume_lock.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "fmt/core.h"
#include "supervisor/proc_scan.h"

namespace muster::supervisor {
namespace {

constexpr int tries_max = 8;  // somebody keeps replacing the file

enum class Hold { none, until_exec, over_exec };

// What fdinfo says of a descriptor: "flags:\t02100002", octal, O_CLOEXEC among them, and, where a lock was taken by it or
// by the one that it was inherited from, "lock:\t1: FLOCK  ADVISORY  WRITE 812 …".
Hold hold_by(int pid, const char* fd) {
  constexpr std::string_view flags_key = "flags:\t";
  const auto info = read_small_file(fmt::format("/proc/{}/fdinfo/{}", pid, fd));
  if (!info || info.value().find("FLOCK") == std::string::npos) return Hold::none;
  const std::size_t at = info.value().find(flags_key);
  if (at == std::string::npos) return Hold::none;
  const unsigned long flags = std::strtoul(info.value().c_str() + at + flags_key.size(), nullptr, 8);
  return (flags & static_cast<unsigned long>(O_CLOEXEC)) != 0 ? Hold::until_exec : Hold::over_exec;
}

using Folder = std::unique_ptr<DIR, int (*)(DIR*)>;

// Only links that end like the file are looked at closer: stat(2) of others may hang on a dead file system.
Hold hold_of(int pid, const struct stat& file, const std::string& name) {
  const Folder folder(::opendir(fmt::format("/proc/{}/fd", pid).c_str()), ::closedir);
  if (!folder) return Hold::none;
  Hold hold = Hold::none;
  while (const dirent* entry = hold == Hold::over_exec ? nullptr : ::readdir(folder.get())) {
    std::array<char, PATH_MAX> target{};
    const char* const number = static_cast<const char*>(entry->d_name);
    const ssize_t size = ::readlinkat(::dirfd(folder.get()), number, target.data(), target.size());
    if (size <= 0) continue;
    if (!std::string_view(target.data(), static_cast<std::size_t>(size)).ends_with("/" + name)) continue;
    struct stat info {};
    if (::fstatat(::dirfd(folder.get()), number, &info, 0) != 0) continue;
    if (info.st_dev != file.st_dev || info.st_ino != file.st_ino) continue;
    hold = std::max(hold, hold_by(pid, number));
  }
  return hold;
}

bool is_still_there(int folder, const std::string& name, int file) {
  struct stat opened {};
  struct stat found {};
  return ::fstat(file, &opened) == 0 && ::fstatat(folder, name.c_str(), &found, AT_SYMLINK_NOFOLLOW) == 0 &&
         opened.st_dev == found.st_dev && opened.st_ino == found.st_ino;
}

Result<Fd> open_lock_file(int folder, const std::string& name) {
  // To write: NFS makes record locks of flock(2), which want that. O_NONBLOCK: a FIFO that somebody put there.
  constexpr int flags = O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  Fd file(::openat(folder, name.c_str(), flags, 0600));
  if (!file) return system_error(name, errno);
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return system_error(name, errno);
  if (!S_ISREG(info.st_mode) || info.st_nlink > 1)
    return Error{.message = name + " is not the regular file that muster makes", .errno_value = EINVAL};
  return file;
}

Error in_use(int file, const std::string& name) {
  const auto holder = holder_of_lock(file, name);
  return Error{.message = holder ? fmt::format("in use by pid {} ({})", holder->pid, holder->name)
                                 : std::string("in use by another process"),
               .errno_value = EWOULDBLOCK};
}

}  // namespace

std::string volume_lock_name(const std::string& name) {
  return "." + name + ".lock";
}

Result<Fd> lock_volume(int folder, const std::string& name) {
  const std::string lock = volume_lock_name(name);
  for (int tried = 0; tried < tries_max; ++tried) {
    auto file = open_lock_file(folder, lock);
    if (!file) return file;
    int locked = 0;
    do locked = ::flock(file.value().get(), LOCK_EX | LOCK_NB);
    while (locked != 0 && errno == EINTR);
    if (locked != 0)
      return errno == EWOULDBLOCK ? in_use(file.value().get(), lock) : system_error(lock, errno);
    if (is_still_there(folder, lock, file.value().get())) return file;
  }
  return Error{.message = lock + " does not stay in its place", .errno_value = EINVAL};
}

std::optional<SocketHolder> holder_of_lock(int file, const std::string& name) {
  struct stat info {};
  if (::fstat(file, &info) != 0) return std::nullopt;
  const Folder folder(::opendir("/proc"), ::closedir);
  if (!folder) return std::nullopt;
  std::optional<int> found;
  Hold best = Hold::none;
  while (const dirent* entry = best == Hold::over_exec ? nullptr : ::readdir(folder.get())) {
    const auto pid = parse_number(static_cast<const char*>(entry->d_name));
    if (!pid) continue;
    const Hold hold = hold_of(static_cast<int>(*pid), info, name);
    if (hold <= best) continue;
    best = hold;
    found = static_cast<int>(*pid);
  }
  if (!found) return std::nullopt;
  return SocketHolder{*found, process_name(*found)};
}

}  // namespace muster::supervisor
