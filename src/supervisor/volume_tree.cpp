#include "supervisor/volume_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "base/limits.h"
#include "fmt/core.h"

namespace muster::supervisor {
namespace {

using Folder = std::unique_ptr<DIR, int (*)(DIR*)>;

// Below `folder` and on its file system, or not at all.
Fd open_below(int folder, const std::string& path, int flags) {
  open_how how{};
  how.flags = static_cast<unsigned>(flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
  long opened = -1;
  do opened = ::syscall(SYS_openat2, folder, path.c_str(), &how, sizeof how);
  while (opened < 0 && (errno == EAGAIN || errno == EINTR));
  return Fd(static_cast<int>(opened));
}

Folder list(Fd folder) {
  Folder opened(folder ? ::fdopendir(folder.get()) : nullptr, ::closedir);
  if (opened) static_cast<void>(folder.release());  // closedir(3) closes it
  return opened;
}

Folder list_below(int folder, const std::string& path) {
  return list(open_below(folder, path, O_RDONLY | O_DIRECTORY));
}

// The next name that is not the folder itself or the one above it; null at the end.
const char* next_name(DIR* folder) {
  while (const dirent* entry = ::readdir(folder)) {
    const char* const name = static_cast<const char*>(entry->d_name);
    const std::string_view text(name);
    if (text != "." && text != "..") return name;
  }
  return nullptr;
}

bool is_gone(int error) {
  return error == ENOENT || error == ENOTDIR || error == ELOOP;
}

constexpr std::uint64_t block_bytes = 512;  // of st_blocks, see inode(7)

class Use {
 public:
  explicit Use(dev_t device) : device_(device) {}
  // False: it is of another file system.
  bool add(const struct stat& info) {
    if (info.st_dev != device_) return false;
    if (info.st_nlink > 1 && !S_ISDIR(info.st_mode)) {
      if (linked_.size() >= limits::volume_links_max) return true;
      if (!linked_.insert(info.st_ino).second) return true;
    }
    bytes_ += static_cast<std::uint64_t>(info.st_blocks) * block_bytes;
    return true;
  }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

 private:
  dev_t device_;
  std::uint64_t bytes_ = 0;
  std::set<ino_t> linked_;
};

}  // namespace

FilesUse use_of_tree(int folder, const WalkBounds& bounds) {
  struct stat top {};
  if (::fstat(folder, &top) != 0) return {.bytes = 0, .complete = false};
  Use use(top.st_dev);
  use.add(top);
  bool complete = true;
  std::vector<std::string> left{"."};
  while (!left.empty()) {
    if (bounds.enough()) return {.bytes = use.bytes(), .complete = false};
    const std::string path = std::move(left.back());
    left.pop_back();
    const Folder opened = list_below(folder, path);
    if (!opened) {
      complete = complete && (is_gone(errno) || errno == EXDEV);
      continue;
    }
    while (const char* const name = next_name(opened.get())) {
      struct stat info {};
      if (::fstatat(::dirfd(opened.get()), name, &info, AT_SYMLINK_NOFOLLOW) != 0) continue;
      if (use.add(info) && S_ISDIR(info.st_mode)) left.push_back(path + "/" + name);
    }
  }
  return {.bytes = use.bytes(), .complete = complete};
}

std::string mount_below(std::string_view mountinfo, std::string_view path) {
  // "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 …": the fifth field, with space, tab, line feed and backslash as
  // \040 and the like.
  const auto unescaped = [](std::string_view text) {
    std::string plain;
    for (std::size_t at = 0; at < text.size(); ++at) {
      const std::string_view digits = text.substr(at + 1, 3);
      const bool escape = text[at] == '\\' && digits.size() == 3 &&
                          digits.find_first_not_of("01234567") == std::string_view::npos;
      if (!escape) {
        plain += text[at];
        continue;
      }
      plain += static_cast<char>((digits[0] - '0') * 64 + (digits[1] - '0') * 8 + (digits[2] - '0'));
      at += 3;
    }
    return plain;
  };
  while (!mountinfo.empty()) {
    std::string_view line = mountinfo.substr(0, mountinfo.find('\n'));
    mountinfo.remove_prefix(std::min(line.size() + 1, mountinfo.size()));
    for (int field = 0; field < 4; ++field) {
      const std::size_t space = line.find(' ');
      line.remove_prefix(space == std::string_view::npos ? line.size() : space + 1);
    }
    std::string point = unescaped(line.substr(0, line.find(' ')));
    const bool below =
        point == path || (point.starts_with(path) && point.size() > path.size() && point[path.size()] == '/');
    if (below && !path.empty()) return point;
  }
  return "";
}

namespace {

constexpr std::size_t deep = 32;  // folders open at once; what lies deeper is moved up to the top first

class Removal {
 public:
  Removal(int top, const WalkBounds& bounds) : top_(top), bounds_(bounds) {}

  Status run() {
    // Each round takes all that is there but what somebody makes meanwhile.
    constexpr int rounds_max = 1'000'000;
    for (int round = 0; round < rounds_max; ++round) {
      moved_ = 0;
      if (Status emptied = empty(top_, 0); !emptied) return emptied;
      if (moved_ == 0) return Unit{};
    }
    return system_error("it does not become empty", ENOTEMPTY);
  }

 private:
  Status empty(int folder, std::size_t depth) {
    if (bounds_.enough()) return system_error("stopped", ECANCELED);
    const Folder opened = list_below(folder, ".");
    if (!opened) return is_gone(errno) ? Status(Unit{}) : Status(system_error("a folder in it", errno));
    while (const char* const name = next_name(opened.get())) {
      if (Status removed = remove(::dirfd(opened.get()), name, depth); !removed) return removed;
    }
    return Unit{};
  }

  Status remove(int folder, const char* name, std::size_t depth) {
    if (::unlinkat(folder, name, 0) == 0 || errno == ENOENT) return Unit{};
    if (errno != EISDIR && errno != EPERM) return system_error(name, errno);
    if (::unlinkat(folder, name, AT_REMOVEDIR) == 0 || errno == ENOENT) return Unit{};
    if (errno == ENOTDIR) return system_error(name, EPERM);  // a file that may not be removed
    if (errno != ENOTEMPTY && errno != EEXIST) return system_error(name, errno);
    if (depth >= deep) return move_up(folder, name);
    const Fd inner = open_below(folder, name, O_RDONLY | O_DIRECTORY);
    if (!inner) return is_gone(errno) ? Status(Unit{}) : Status(system_error(name, errno));
    if (Status emptied = empty(inner.get(), depth + 1); !emptied) return emptied;
    if (::unlinkat(folder, name, AT_REMOVEDIR) == 0 || errno == ENOENT) return Unit{};
    if (errno != ENOTEMPTY && errno != EEXIST) return system_error(name, errno);
    ++moved_;  // something came meanwhile, or was moved up: once more
    return Unit{};
  }

  Status move_up(int folder, const char* name) {
    for (;;) {
      const std::string to = fmt::format(".muster-deep-{}", ++names_);
      if (::renameat2(folder, name, top_, to.c_str(), RENAME_NOREPLACE) == 0) break;
      if (errno != EEXIST) return system_error(name, errno);
    }
    ++moved_;
    return Unit{};
  }

  int top_;
  const WalkBounds& bounds_;
  std::uint64_t moved_ = 0;
  std::uint64_t names_ = 0;
};

}  // namespace

Status remove_tree(int above, const std::string& name, const WalkBounds& bounds) {
  const Fd top = open_below(above, name, O_RDONLY | O_DIRECTORY);
  if (!top) return errno == ENOENT ? Status(Unit{}) : Status(system_error(name, errno));
  if (Status emptied = Removal(top.get(), bounds).run(); !emptied) return emptied;
  if (::unlinkat(above, name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) return system_error(name, errno);
  return Unit{};
}

namespace {

class Assignment {
 public:
  Assignment(int top, const WalkBounds& bounds, const std::function<Status(int, bool)>& assign)
      : top_(top), bounds_(bounds), assign_(assign) {}

  // Children before their folder: `left` is a stack, and a folder is done when it comes up the second time.
  Status run() {
    std::vector<std::pair<std::string, bool>> left{{".", false}};
    while (!left.empty()) {
      if (bounds_.enough()) return system_error("stopped", ECANCELED);
      const auto [path, entered] = left.back();
      if (entered) {
        left.pop_back();
        if (Status done = leave(path); !done) return done;
        continue;
      }
      left.back().second = true;
      std::vector<std::string> folders;
      if (Status done = files_of(path, &folders); !done) return done;
      for (std::string& folder : folders) left.emplace_back(std::move(folder), false);
    }
    return Unit{};
  }

 private:
  Status leave(const std::string& path) {
    const Fd opened = open_below(top_, path, O_RDONLY | O_DIRECTORY);
    if (!opened) return Unit{};
    if (Status done = assign_(opened.get(), true); !done) return done;
    return files_of(path, nullptr);
  }

  Status files_of(const std::string& path, std::vector<std::string>* folders) {
    const Folder opened = list_below(top_, path);
    if (!opened) return Unit{};
    while (const char* const name = next_name(opened.get())) {
      struct stat info {};
      if (::fstatat(::dirfd(opened.get()), name, &info, AT_SYMLINK_NOFOLLOW) != 0) continue;
      if (S_ISDIR(info.st_mode) && folders != nullptr) folders->push_back(path + "/" + name);
      if (!S_ISREG(info.st_mode)) continue;
      const Fd file = open_below(::dirfd(opened.get()), name, O_RDONLY);
      if (!file) continue;
      if (Status done = assign_(file.get(), false); !done) return done;
    }
    return Unit{};
  }

  int top_;
  const WalkBounds& bounds_;
  const std::function<Status(int, bool)>& assign_;
};

}  // namespace

Status assign_tree(int folder, const WalkBounds& bounds, const std::function<Status(int, bool)>& assign) {
  return Assignment(folder, bounds, assign).run();
}

}  // namespace muster::supervisor
