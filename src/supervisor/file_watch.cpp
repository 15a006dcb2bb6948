#include "supervisor/file_watch.h"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <map>
#include <set>
#include <string_view>

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

std::string_view last_name(std::string_view path) {
  return path.substr(path.rfind('/') + 1);
}

Instant now() {
  return std::chrono::steady_clock::now();
}

}  // namespace

struct FileWatch::Impl : std::enable_shared_from_this<FileWatch::Impl> {
  Impl(uv_loop_s* the_loop, Millis debounce, OnFileChange hook)
      : loop(the_loop), on_change(std::move(hook)), changes(the_loop, debounce, [this] { report(); }) {}

  Status replan();
  Status watch_plan(const std::set<std::string>& folders);
  void on_event(const std::string& folder, const char* name, int events);
  void report();

  uv_loop_s* loop;
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
    FolderWatch watch;
    const int error = watch.start(
        loop, folder, [this, folder](const char* name, int events) { on_event(folder, name, events); });
    if (error == 0) {
      watches.emplace(folder, std::move(watch));
    } else if (error != UV_ENOENT && error != UV_ENOTDIR && status) {  // these: the next round plans anew
      status = Error{watch_error(folder, error), ExitCode::failed, -error};
    }
  }
  return status;
}

void FileWatch::Impl::on_event(const std::string& folder, const char* name, int events) {
  if (ended) return;
  const std::string alive = folder;  // `folder` belongs to the watch, which may end here
  const bool is_self = !name || ((events & UV_RENAME) != 0 && last_name(alive) == name);
  bool matters = false;
  for (const auto& [path, plan] : plans) {
    const auto found = plan.find(alive);
    if (found == plan.end()) continue;
    if (!is_self && !found->second.empty() && !found->second.contains(name)) continue;
    changes.mark(path, now());
    matters = true;
  }
  if (!matters) return;
  // The folder was moved or removed, it seems: this watch goes where its inode goes.
  if (is_self) watches.erase(alive);
  if ((events & UV_RENAME) != 0 || is_self) static_cast<void>(replan());
}

void FileWatch::Impl::report() {
  const auto self = shared_from_this();  // the hook may end the watch
  while (!ended) {
    const std::string path = changes.take_due(now());
    if (path.empty()) return;
    on_change(path);
  }
}

FileWatch::FileWatch(uv_loop_s* loop, Millis debounce, OnFileChange on_change)
    : impl_(std::make_shared<Impl>(loop, debounce, std::move(on_change))) {}

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
