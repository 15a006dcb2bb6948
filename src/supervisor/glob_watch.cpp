#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <string_view>

#include "base/limits.h"
#include "supervisor/change_timer.h"
#include "supervisor/file_watch.h"
#include "supervisor/folder_watch.h"
#include "supervisor/glob.h"

namespace muster::supervisor {
namespace {

struct CloseFolder {
  void operator()(DIR* folder) const { closedir(folder); }
};

std::string below(const std::string& folder, std::string_view name) {
  return folder.empty() ? std::string(name) : folder + "/" + std::string(name);
}

Instant now() {
  return std::chrono::steady_clock::now();
}

enum class Kind { missing, folder, file };

// Links are not followed; what is no folder and no regular file (a socket, a pipe) is not watched.
Kind kind_of(const std::string& path) {
  struct stat info {};
  if (lstat(path.c_str(), &info) != 0) return Kind::missing;
  if (S_ISDIR(info.st_mode)) return Kind::folder;
  return S_ISREG(info.st_mode) || S_ISLNK(info.st_mode) ? Kind::file : Kind::missing;
}

}  // namespace

struct GlobWatch::Impl : std::enable_shared_from_this<GlobWatch::Impl> {
  Impl(FolderWatches& all, Millis debounce, OnFileChange hook)
      : folder_watches(all),
        on_change(std::move(hook)),
        changes(all.loop(), debounce, [this] { report(); }) {}

  [[nodiscard]] std::string absolute(const std::string& path) const {
    return path.empty() ? root : (root == "/" ? "" : root) + "/" + path;
  }
  [[nodiscard]] bool matches(const std::string& path) const {
    return std::any_of(globs.begin(), globs.end(), [&](const Glob& glob) { return glob.matches(path); });
  }
  [[nodiscard]] bool may_match_below(const std::string& path) const {
    return std::any_of(globs.begin(), globs.end(),
                       [&](const Glob& glob) { return glob.may_match_below(path); });
  }
  Status take_in(const std::string& top, bool files_are_new);
  Status watch(const std::string& folder);
  bool forget(const std::string& top);
  void on_folder_change(const std::string& folder, const FolderChange& change);
  void on_renamed(const std::string& path, Kind kind);
  void report();

  FolderWatches& folder_watches;
  OnFileChange on_change;
  ChangeTimer changes;
  std::string root;
  std::vector<Glob> globs;
  std::map<std::string, FolderWatch> watches;  // by the path below root
  bool ended = false;
};

Status GlobWatch::Impl::watch(const std::string& folder) {
  if (watches.contains(folder)) return Unit{};
  const std::string path = absolute(folder);
  if (watches.size() >= limits::watch_folders_max)
    return Error{"more than " + std::to_string(limits::watch_folders_max) +
                 " folders match `watch`: " + path + " is not watched"};
  auto watch = folder_watches.watch(
      path, [this, folder](const FolderChange& change) { on_folder_change(folder, change); });
  if (!watch) {
    const int error = watch.error().errno_value;
    if (error == ENOENT || error == ENOTDIR) return Unit{};  // gone again already
    return std::move(watch).error();
  }
  watches.emplace(folder, std::move(watch).value());
  return Unit{};
}

// Watches `top` and the folders below it that can hold a match. Watched first and read then: what is made in between
// is seen twice rather than never.
Status GlobWatch::Impl::take_in(const std::string& top, bool files_are_new) {
  Status status = Unit{};
  std::vector<std::string> open{top};
  while (!open.empty()) {
    const std::string folder = std::move(open.back());
    open.pop_back();
    Status watched = watch(folder);
    if (!watched && status) status = std::move(watched);
    if (!watches.contains(folder)) continue;
    const int fd = ::open(absolute(folder).c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    const std::unique_ptr<DIR, CloseFolder> entries(fd >= 0 ? fdopendir(fd) : nullptr);
    if (!entries) continue;
    while (const dirent* entry =
               readdir(entries.get())) {  // NOLINT(concurrency-mt-unsafe): a stream of our own
      const std::string_view name = entry->d_name;
      if (name == "." || name == "..") continue;
      const std::string path = below(folder, name);
      const Kind kind = entry->d_type == DT_DIR                              ? Kind::folder
                        : entry->d_type == DT_REG || entry->d_type == DT_LNK ? Kind::file
                        : entry->d_type == DT_UNKNOWN                        ? kind_of(absolute(path))
                                                                             : Kind::missing;
      if (kind == Kind::folder && may_match_below(path)) open.push_back(path);
      if (kind == Kind::file && files_are_new && matches(path))
        changes.mark(absolute(path), Writing::over, now());
    }
  }
  return status;
}

// Whether something at or below `top` was watched.
bool GlobWatch::Impl::forget(const std::string& top) {
  const auto gone = std::erase_if(
      watches, [&](const auto& watch) { return watch.first == top || watch.first.starts_with(top + "/"); });
  return gone > 0;
}

void GlobWatch::Impl::on_folder_change(const std::string& folder, const FolderChange& change) {
  using What = FolderChange::What;
  if (ended || change.what == What::itself) return;
  const std::string path = change.name.empty() ? folder : below(folder, change.name);
  if (change.what == What::written && !matches(path)) return;
  const Kind kind = kind_of(absolute(path));
  if (change.what == What::lost || (change.what == What::gone && path.empty() && kind == Kind::folder)) {
    changes.mark(root, Writing::over, now());
    watches.clear();  // who knows which of them are gone
    static_cast<void>(take_in("", false));
    return;
  }
  if (kind != Kind::folder && matches(path) && (kind == Kind::file || change.what != What::written)) {
    const bool is_new = change.what == What::created;
    changes.mark(absolute(path), is_new ? writing_to(absolute(path)) : Writing::over, now());
  }
  if (change.what != What::written) on_renamed(path, kind);
}

// A name came, went or stands for something else now.
void GlobWatch::Impl::on_renamed(const std::string& path, Kind kind) {
  if (!may_match_below(path)) return;
  if (forget(path)) changes.mark(absolute(path), Writing::over, now());
  if (kind == Kind::folder) static_cast<void>(take_in(path, true));
}

void GlobWatch::Impl::report() {
  const auto self = shared_from_this();  // the hook may end the watch
  while (!ended) {
    const std::string path = changes.take_due(now());
    if (path.empty()) return;
    on_change(path);
  }
}

GlobWatch::GlobWatch(FolderWatches& folders, Millis debounce, OnFileChange on_change)
    : impl_(std::make_shared<Impl>(folders, debounce, std::move(on_change))) {}

GlobWatch::~GlobWatch() {
  impl_->ended = true;
  impl_->watches.clear();
  impl_->changes.clear();
}

Status GlobWatch::set_globs(const std::string& root, const std::vector<std::string>& patterns) {
  std::vector<Glob> globs;
  for (const std::string& pattern : patterns) {
    auto glob = Glob::parse(pattern);
    if (!glob) return std::move(glob).error();
    globs.push_back(std::move(glob).value());
  }
  impl_->watches.clear();
  impl_->changes.clear();
  impl_->root = root;
  impl_->globs = std::move(globs);
  return impl_->take_in("", false);
}

}  // namespace muster::supervisor
