#include "supervisor/watch_plan.h"

#include <algorithm>
#include <deque>
#include <string_view>

namespace muster::supervisor {
namespace {

constexpr int links_max = 16;

std::string below(const std::string& folder, const std::string& name) {
  return folder == "/" ? folder + name : folder + "/" + name;
}

std::string above(const std::string& folder) {
  const std::size_t slash = folder.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : folder.substr(0, slash);
}

void put_in_front(std::deque<std::string>& names, std::string_view path) {
  std::deque<std::string> parts;
  while (!path.empty()) {
    const std::size_t slash = std::min(path.find('/'), path.size());
    if (slash > 0) parts.emplace_back(path.substr(0, slash));
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  names.insert(names.begin(), parts.begin(), parts.end());
}

// Walks one path as open(2) would, noting each place where what it finds could change.
class Walk {
 public:
  Walk(WatchPlan& plan, std::set<std::string>& whole, const LookAt& look_at)
      : plan_(plan), whole_(whole), look_at_(look_at) {}

  void run(std::string_view path) {
    put_in_front(names_, path);
    while (!names_.empty()) {
      const std::string name = names_.front();
      names_.pop_front();
      if (!step(name)) return;
    }
    if (!path.ends_with('/')) {  // a folder for itself: whether it is there
      if (folder_ != "/") plan_[above(folder_)].insert(folder_.substr(folder_.rfind('/') + 1));
      return;
    }
    plan_[folder_];
    whole_.insert(folder_);
  }

 private:
  // False where the walk ends.
  bool step(const std::string& name) {
    if (name == ".") return true;
    if (name == "..") {
      folder_ = above(folder_);
      return true;
    }
    const std::string path = below(folder_, name);
    const PathInfo info = look_at_(path);
    switch (info.kind) {
      case PathInfo::Kind::folder:
        folder_ = path;
        return true;
      case PathInfo::Kind::link:
        plan_[folder_].insert(name);
        if (++links_ > links_max) return false;
        if (info.target.starts_with('/')) folder_ = "/";
        put_in_front(names_, info.target);
        return true;
      case PathInfo::Kind::missing:
      case PathInfo::Kind::other:
        plan_[folder_].insert(name);
        return false;
    }
    return false;
  }

  WatchPlan& plan_;
  std::set<std::string>& whole_;
  const LookAt& look_at_;
  std::string folder_ = "/";
  std::deque<std::string> names_;
  int links_ = 0;
};

}  // namespace

WatchPlan plan_watch(const std::vector<std::string>& paths, const LookAt& look_at) {
  WatchPlan plan;
  std::set<std::string> whole;
  for (const std::string& path : paths) Walk(plan, whole, look_at).run(path);
  for (const std::string& folder : whole) plan[folder].clear();
  return plan;
}

}  // namespace muster::supervisor
