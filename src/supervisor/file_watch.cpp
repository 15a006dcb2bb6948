#include "supervisor/file_watch.h"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <map>
#include <optional>
#include <set>

#include "supervisor/change_timer.h"
#include "supervisor/folder_watch.h"
#include "supervisor/watch_plan.h"

namespace muster::supervisor {
namespace {

constexpr int plans_max = 8;  // until what was planned is still so once it is watched

PathInfo look_at(const std::string& path) {
  struct stat info {};
  if (lstat(path.c_str(), &info) != 0) return {};
  if (S_ISDIR(info.st_mode)) return {PathInfo::Kind::folder, ""};
  if (!S_ISLNK(info.st_mode)) return {PathInfo::Kind::other, ""};
  std::array<char, PATH_MAX> target{};
  const ssize_t size = readlink(path.c_str(), target.data(), target.size());
  if (size < 0) return {};
  return {PathInfo::Kind::link, std::string(target.data(), static_cast<std::size_t>(size))};
}

Instant now() {
  return std::chrono::steady_clock::now();
}

}  // namespace

struct FileWatch::Impl : std::enable_shared_from_this<FileWatch::Impl> {
  Impl(FolderWatches& all, Millis debounce, OnFileChange hook)
      : folder_watches(all),
        on_change(std::move(hook)),
        changes(all.loop(), debounce, [this] { report(); }) {}

  Status replan();
  Status watch_plan(const std::set<std::string>& folders);
  void on_folder_change(const std::string& folder, const FolderChange& change);
  void report();

  FolderWatches& folder_watches;
  OnFileChange on_change;
  ChangeTimer changes;
  std::vector<std::string> paths;
  std::map<std::string, WatchPlan> plans;  // of each path
  std::map<std::string, FolderWatch> watches;
  bool ended = false;
};

Status FileWatch::Impl::replan() {
  Status status = Unit{};
  for (int round = 0; round < plans_max; ++round) {
    std::map<std::string, WatchPlan> planned;
    std::set<std::string> folders;
    for (const std::string& path : paths) {
      WatchPlan& plan = planned[path] = plan_watch({path}, look_at);
      for (const auto& [folder, names] : plan) folders.insert(folder);
    }
    // A link may have been swapped between the look and the watch: only a second look says that nothing was missed.
    if (round > 0 && planned == plans) break;
    plans = std::move(planned);
    status = watch_plan(folders);
  }
  return status;
}

Status FileWatch::Impl::watch_plan(const std::set<std::string>& folders) {
  std::erase_if(watches, [&](const auto& watch) { return !folders.contains(watch.first); });
  Status status = Unit{};
  for (const std::string& folder : folders) {
    if (watches.contains(folder)) continue;
    auto watch = folder_watches.watch(
        folder, [this, folder](const FolderChange& change) { on_folder_change(folder, change); });
    if (watch) {
      watches.emplace(folder, std::move(watch).value());
    } else if (const int error = watch.error().errno_value; error != ENOENT && error != ENOTDIR && status) {
      status = std::move(watch).error();  // the two others: the next round plans anew
    }
  }
  return status;
}

void FileWatch::Impl::on_folder_change(const std::string& folder, const FolderChange& change) {
  using What = FolderChange::What;
  if (ended) return;
  const std::string name(change.name);
  std::optional<Writing> writing;
  for (const auto& [path, plan] : plans) {
    const auto names = plan.find(folder);
    const bool concerned =
        names != plan.end() && (name.empty() || names->second.empty() || names->second.contains(name));
    if (!concerned && change.what != What::lost) continue;
    if (!writing)
      writing = change.what == What::created ? writing_to(std::string(folder).append("/").append(name))
                                             : Writing::over;
    changes.mark(path, *writing, now());
  }
  if (!writing || change.what == What::written) return;
  if (change.what == What::gone) watches.erase(folder);
  if (change.what == What::lost) watches.clear();  // who knows which of them are gone
  static_cast<void>(replan());
}

void FileWatch::Impl::report() {
  const auto self = shared_from_this();  // the hook may end the watch
  while (!ended) {
    const std::string path = changes.take_due(now());
    if (path.empty()) return;
    on_change(path);
  }
}

FileWatch::FileWatch(FolderWatches& folders, Millis debounce, OnFileChange on_change)
    : impl_(std::make_shared<Impl>(folders, debounce, std::move(on_change))) {}

FileWatch::~FileWatch() {
  impl_->ended = true;
  impl_->watches.clear();
  impl_->changes.clear();
}

Status FileWatch::set_files(std::vector<std::string> paths) {
  impl_->paths = std::move(paths);
  return impl_->replan();
}

}  // namespace muster::supervisor
