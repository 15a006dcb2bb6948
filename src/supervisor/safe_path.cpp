#include "supervisor/safe_path.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <deque>
#include <memory>
#include <optional>
#include <string_view>

#include "fmt/core.h"

namespace muster::supervisor {
namespace {

constexpr int links_max = 40;  // path_resolution(7)

// Others cannot have made this link, nor moved one of ours to this name.
bool is_trusted(const struct stat& link, const struct stat& folder) {
  if (::geteuid() != 0) return true;
  const bool writable = (folder.st_mode & (S_IWGRP | S_IWOTH)) != 0;
  const bool fixed = !writable || (folder.st_mode & S_ISVTX) != 0;
  return link.st_uid == 0 && folder.st_uid == 0 && fixed;
}

class Walk {
 public:
  explicit Walk(std::optional<mode_t> mode) : mode_(mode) {}

  Result<Fd> to(std::string_view path) {
    at_ = root();
    push(path);
    while (at_ && !names_.empty()) {
      const std::string name = std::move(names_.front());
      names_.pop_front();
      if (const Status stepped = step(name); !stepped) return stepped.error();
    }
    if (!at_) return system_error("/", errno);
    return std::move(at_);
  }

 private:
  static Fd root() { return Fd(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC)); }

  // Before what is still to be walked.
  void push(std::string_view path) {
    std::deque<std::string> names;
    while (!path.empty()) {
      const std::size_t end = std::min(path.find('/'), path.size());
      if (end > 0 && path.substr(0, end) != ".") names.emplace_back(path.substr(0, end));
      path.remove_prefix(std::min(end + 1, path.size()));
    }
    names_.insert(names_.begin(), names.begin(), names.end());
  }

  [[nodiscard]] Error problem(const std::string& name, int error) const {
    return system_error((mode_ ? "make the folder " : "") + shown_ + "/" + name, error);
  }

  Status step(const std::string& name) {
    if (mode_ && ::mkdirat(at_.get(), name.c_str(), *mode_) != 0) {
      const int error = errno;  // a folder on a read-only disk answers EROFS before EEXIST
      struct stat there {};
      if (::fstatat(at_.get(), name.c_str(), &there, AT_SYMLINK_NOFOLLOW) != 0) return problem(name, error);
    }
    Fd next(::openat(at_.get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    struct stat info {};
    if (!next || ::fstat(next.get(), &info) != 0) return problem(name, errno);
    if (S_ISLNK(info.st_mode)) return follow(name, next, info);
    const bool may_be_file = !mode_ && names_.empty();
    if (!S_ISDIR(info.st_mode) && !may_be_file) return problem(name, ENOTDIR);
    at_ = std::move(next);
    shown_ += "/" + name;
    return Unit{};
  }

  Status follow(const std::string& name, const Fd& link, const struct stat& info) {
    struct stat folder {};
    if (::fstat(at_.get(), &folder) != 0) return problem(name, errno);
    if (!is_trusted(info, folder)) {
      return Error{
          .message = fmt::format("{}/{} is a symbolic link that another user may have made", shown_, name),
          .errno_value = ELOOP};
    }
    if (++links_ > links_max) return problem(name, ELOOP);
    std::array<char, PATH_MAX> target{};
    const ssize_t size = ::readlinkat(link.get(), "", target.data(), target.size());
    if (size <= 0) return problem(name, size < 0 ? errno : ENOENT);
    const std::string_view to(target.data(), static_cast<std::size_t>(size));
    if (to.starts_with('/')) {
      at_ = root();
      shown_.clear();
    }
    push(to);
    return Unit{};
  }

  std::optional<mode_t> mode_;  // none: nothing is made, and the last may be any file
  Fd at_;
  std::string shown_;  // the way to it
  std::deque<std::string> names_;
  int links_ = 0;
};

}  // namespace

Result<Fd> open_or_make_folder(const std::string& path, mode_t mode) {
  return Walk(mode).to(path);
}

Result<Fd> find_file(const std::string& path) {
  return Walk(std::nullopt).to(path);
}

bool is_untouched_folder(int folder) {
  struct stat info {};
  if (::fstat(folder, &info) != 0 || info.st_uid != ::geteuid()) return false;
  Fd copy(::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!copy) return false;
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(::fdopendir(copy.get()), ::closedir);
  if (!entries) return false;
  static_cast<void>(copy.release());  // closedir(3) closes it
  while (const dirent* entry = ::readdir(entries.get())) {
    const std::string_view name = static_cast<const char*>(entry->d_name);
    if (name != "." && name != "..") return false;
  }
  return true;
}

}  // namespace muster::supervisor
