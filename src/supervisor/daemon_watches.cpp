#include "supervisor/daemon_watches.h"

namespace muster::supervisor {
namespace {

constexpr Millis spec_debounce{150};   // editors save in several steps
constexpr Millis own_debounce{50};     // nobody reaches a listener whose file is gone
constexpr Millis watch_debounce{300};  // `watch`: a build writes many files

}  // namespace

DaemonWatches::DaemonWatches(uv_loop_s* loop, const std::string& socket_path, DaemonWatchHooks hooks)
    : hooks_(std::move(hooks)),
      folders_(loop),
      spec_(folders_, spec_debounce, [this](const std::string&) { hooks_.on_spec(); }),
      socket_(folders_, spec_debounce, [this](const std::string&) { hooks_.on_socket(); }),
      own_(folders_, own_debounce, [this](const std::string& path) { hooks_.on_own(path); }),
      drift_(folders_, spec_debounce, [this](const std::string&) { hooks_.on_drift(); }) {
  static_cast<void>(socket_.set_files({socket_path}));
}

void DaemonWatches::complain(const Status& status) {
  if (!status) hooks_.warn(status.error().message);
}

void DaemonWatches::follow_spec(const spec::Spec& spec, bool with_globs) {
  std::vector<std::string> files;
  if (spec.daemon.watch_spec) {
    files = spec.files;
    files.insert(files.end(), spec.env_files.begin(), spec.env_files.end());
    files.insert(files.end(), spec.tls_files.begin(), spec.tls_files.end());
  }
  complain(spec_.set_files(std::move(files)));
  if (with_globs) follow_globs(spec);
}

void DaemonWatches::follow_globs(const spec::Spec& spec) {
  std::erase_if(apps_, [&](const auto& entry) {
    const spec::App* app = spec.find_app(entry.first);
    return app == nullptr || app->watch != entry.second.globs;
  });
  for (const spec::App& app : spec.apps) {
    if (app.watch.empty() || apps_.contains(app.name)) continue;
    auto watch = std::make_unique<GlobWatch>(
        folders_, watch_debounce,
        [this, name = app.name](const std::string& path) { hooks_.on_app(name, path); });
    complain(watch->set_globs(spec.folder, app.watch));
    apps_.emplace(app.name, AppWatch{.globs = app.watch, .watch = std::move(watch)});
  }
}

void DaemonWatches::follow_own(std::vector<std::string> files, const spec::Spec& spec) {
  for (const spec::Listener& listener : spec.listeners) {
    for (const spec::BindAddress& bind : listener.bind) {
      if (bind.kind == spec::BindAddress::Kind::unix_path) files.push_back(bind.path);
    }
  }
  static_cast<void>(own_.set_files(std::move(files)));
}

void DaemonWatches::follow_drift(std::vector<std::string> files) {
  if (files == drift_files_) return;
  drift_files_ = std::move(files);
  static_cast<void>(drift_.set_files(drift_files_));
}

}  // namespace muster::supervisor
