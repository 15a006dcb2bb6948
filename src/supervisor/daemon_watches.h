// The files that a daemon follows: its spec, its socket, what it writes itself, what living replicas run on, and the
// `watch` globs of apps. For the control thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "spec/spec.h"
#include "supervisor/file_watch.h"
#include "supervisor/folder_watch.h"

struct uv_loop_s;

namespace muster::supervisor {

struct DaemonWatchHooks {
  std::function<void()> on_spec;  // or one of its env_files, or a certificate
  std::function<void()> on_socket;
  std::function<void(const std::string& path)> on_own;
  std::function<void()> on_drift;
  std::function<void(const std::string& app, const std::string& path)> on_app;
  std::function<void(std::string)> warn;  // what cannot be watched
};

class DaemonWatches {
 public:
  // The loop must run once more after the destructor.
  DaemonWatches(uv_loop_s* loop, const std::string& socket_path, DaemonWatchHooks hooks);

  // What the spec names from now on; `with_globs`: the `watch` of its apps too.
  void follow_spec(const spec::Spec& spec, bool with_globs);
  // `files` of the daemon's own, and the sockets of the spec's unix listeners.
  void follow_own(std::vector<std::string> files, const spec::Spec& spec);
  // inotify's; -1: nothing can be watched.
  [[nodiscard]] int descriptor() const { return folders_.descriptor(); }
  // Programs and volumes of living replicas. What cannot be watched is found when somebody looks: `ps`, `plan`, a start.
  void follow_drift(std::vector<std::string> files);

 private:
  void complain(const Status& status);
  void follow_globs(const spec::Spec& spec);

  struct AppWatch {
    std::vector<std::string> globs;
    std::unique_ptr<GlobWatch> watch;
  };
  DaemonWatchHooks hooks_;
  FolderWatches folders_;  // of the watches below it
  FileWatch spec_;
  FileWatch socket_;
  FileWatch own_;
  FileWatch drift_;
  std::vector<std::string> drift_files_;
  std::map<std::string, AppWatch> apps_;
};

}  // namespace muster::supervisor
