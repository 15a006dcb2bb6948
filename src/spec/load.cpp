#include "spec/load.h"

#include <algorithm>
#include <deque>
#include <set>
#include <utility>

#include "base/limits.h"
#include "fmt/core.h"
#include "spec/draft.h"
#include "spec/merge.h"

namespace muster::spec {

namespace {

std::string folder_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos || slash == 0 ? "/" : path.substr(0, slash);
}

// Values in it, at any depth.
std::size_t count_of(const Node& node) {
  std::size_t count = 1;
  for (const Member& member : node.members) count += count_of(member.value);
  for (const Node& item : node.items) count += count_of(item);
  return count;
}

class Loader {
 public:
  Loader(const std::string& path, const World& world, const Options& options)
      : path_(path), world_(world), reader_(report_, world, options, folder_of(path)) {}

  Loaded load() {
    if (read_files()) read_sections();
    Loaded loaded;
    if (!report_.failed()) loaded.spec = finished();
    if (report_.failed()) loaded.exit_code = exit_code_;
    loaded.diagnostics = report_.finish();
    return loaded;
  }

 private:
  struct Pending {
    std::string path;
    Mark at;  // of the include; line 0: the main file
  };

  // The main file and what it includes, merged into root_. False: there is nothing to read.
  bool read_files() {
    std::deque<Pending> pending{{path_, {}}};
    std::set<std::string> queued{path_};
    while (!pending.empty()) {
      const Pending next = std::move(pending.front());
      pending.pop_front();
      auto node = read_one(next);
      if (!node) continue;
      const Member* include = node->find("include");
      if (include != nullptr && !add_included(included(*include, folder_of(next.path)), pending, queued))
        return false;
      merge_file(root_, std::move(*node), report_);
    }
    return main_read_;
  }

  // Those that were not read yet. False: too many.
  bool add_included(std::vector<Pending> found, std::deque<Pending>& pending, std::set<std::string>& queued) {
    for (Pending& more : found) {
      if (!queued.insert(more.path).second) continue;
      if (queued.size() > limits::spec_files_max) {
        reader_.error(more.at, fmt::format("more than {} files", limits::spec_files_max));
        return false;
      }
      pending.push_back(std::move(more));
    }
    return true;
  }

  std::optional<Node> read_one(const Pending& next) {
    const bool main = next.at.line == 0;
    auto text = world_.read_file(next.path);
    if (text && text.value().size() > limits::spec_file_bytes_max)
      text = Error{fmt::format("{} is larger than {} MiB", next.path, limits::spec_file_bytes_max >> 20U),
                   ExitCode::bad_spec};
    if (!text) {
      if (main) report_.add_file(next.path, "");
      if (main || exit_code_ == ExitCode::bad_spec) exit_code_ = text.error().code;
      reader_.error(next.at, text.error().message);
      return std::nullopt;
    }
    const std::uint32_t file = report_.add_file(next.path, text.value());
    files_.push_back(next.path);
    ParsedTree parsed = parse_tree(text.value(), file);
    for (SyntaxError& error : parsed.errors) {
      if (error.first.line > 0) error.message += " at " + report_.place(error.first);
      reader_.error(error.at, std::move(error.message), std::move(error.hint));
      reader_.partial = true;
    }
    main_read_ = main_read_ || main;
    return std::move(parsed.root);
  }

  std::vector<Pending> included(const Member& include, const std::string& folder) {
    std::vector<Pending> found;
    for (const Node* item : Reader::listed(include.value)) {
      auto pattern = reader_.text_not_empty(*item);
      if (!pattern) continue;
      if (!pattern->starts_with('/')) *pattern = folder + (folder == "/" ? "" : "/") + *pattern;
      auto paths = world_.glob(*pattern);
      if (!paths) {
        reader_.error(item->at, paths.error().message);
        continue;
      }
      // A pattern may find nothing; a name may not.
      if (paths.value().empty() && pattern->find_first_of("*?[") == std::string::npos)
        reader_.error(item->at, fmt::format("there is no file {}", *pattern));
      for (std::string& path : paths.value()) found.push_back({std::move(path), item->at});
    }
    return found;
  }

  void read_sections() {
    const Node* defaults = nullptr;
    const Node* daemon = nullptr;
    const Node* apps = nullptr;
    const Node* listeners = nullptr;
    const Node* jobs = nullptr;
    reader_.each_key(Section::top, root_, [&](std::string_view key, const Node& value) {
      if (key == "defaults" && reader_.table(value, "a table")) defaults = &value;
      if (key == "daemon") daemon = &value;
      if (key == "app") apps = &value;
      if (key == "listen") listeners = &value;
      if (key == "job") jobs = &value;
    });
    draft_.daemon = read_daemon(reader_, daemon);
    if (apps != nullptr) read_apps(*apps, defaults);
    if (draft_.apps.empty() && defaults != nullptr) read_unused_defaults(*defaults);
    if (listeners != nullptr) read_listeners(*listeners);
    if (jobs != nullptr) read_jobs(*jobs, defaults);
    if (!reader_.partial) apply_rules(reader_, draft_);
  }

  void read_apps(const Node& apps, const Node* defaults) {
    const std::size_t defaults_count = defaults == nullptr ? 0 : count_of(*defaults);
    reader_.each_name(apps, "tables [app.NAME]", [&](const Member& member) {
      if (!reader_.valid_name(member.key, member.at, "an app")) return;
      if (!reader_.table(member.value, "a table [app." + member.key + "]")) return;
      if (draft_.apps.size() >= limits::spec_apps_max)
        return reader_.error(member.at, fmt::format("more than {} apps", limits::spec_apps_max));
      // Each app gets a copy of them.
      merged_ += defaults_count;
      if (merged_ > limits::spec_values_max)
        return reader_.error(member.at, "[defaults] is too large for so many apps");
      Member merged = member;
      if (defaults != nullptr) merged.value = with_defaults(member.value, *defaults);
      draft_.apps.push_back(read_app(reader_, merged));
      if (const Member* listen = merged.value.find("listen")) {
        for (ListenerDraft& listener : read_short_listeners(reader_, member.key, listen->value))
          draft_.listeners.push_back(std::move(listener));
      }
    });
  }

  // Without an app nobody would read [defaults]; its errors are errors all the same.
  void read_unused_defaults(const Node& defaults) {
    const bool partial = std::exchange(reader_.partial, true);
    Member nobody{"defaults", defaults.at, defaults};
    static_cast<void>(read_app(reader_, nobody));
    reader_.partial = partial;
  }

  void read_listeners(const Node& listeners) {
    reader_.each_name(listeners, "tables [listen.NAME]", [&](const Member& member) {
      if (!reader_.valid_name(member.key, member.at, "a listener")) return;
      if (!reader_.table(member.value, "a table [listen." + member.key + "]")) return;
      draft_.listeners.push_back(read_listener(reader_, member));
    });
  }

  // A job takes from [defaults] what it has in common with an app.
  void read_jobs(const Node& jobs, const Node* defaults) {
    Node shared;
    if (defaults != nullptr) {
      shared = *defaults;
      std::erase_if(shared.members, [](const Member& member) {
        return find_key(Section::job, member.key) == nullptr || find_key(Section::app, member.key) == nullptr;
      });
    }
    const std::size_t shared_count = count_of(shared);
    reader_.each_name(jobs, "tables [job.NAME]", [&](const Member& member) {
      if (!reader_.valid_name(member.key, member.at, "a job")) return;
      if (!reader_.table(member.value, "a table [job." + member.key + "]")) return;
      if (draft_.jobs.size() >= limits::spec_jobs_max)
        return reader_.error(member.at, fmt::format("more than {} jobs", limits::spec_jobs_max));
      merged_ += shared_count;
      if (merged_ > limits::spec_values_max)
        return reader_.error(member.at, "[defaults] is too large for so many jobs");
      Member merged = member;
      if (defaults != nullptr) merged.value = with_defaults(member.value, shared);
      draft_.jobs.push_back(read_job(reader_, merged));
      no_drain(member);
    });
  }

  Spec finished() {
    Spec spec;
    spec.path = path_;
    spec.folder = folder_of(path_);
    for (AppDraft& draft : draft_.apps) spec.apps.push_back(std::move(draft.app));
    for (ListenerDraft& draft : draft_.listeners) spec.listeners.push_back(std::move(draft.listener));
    for (JobDraft& draft : draft_.jobs) {
      draft.job.task = std::move(draft.task.app);
      spec.jobs.push_back(std::move(draft.job));
    }
    std::ranges::sort(spec.jobs, {}, &Job::name);
    std::ranges::sort(spec.apps, {}, &App::name);
    std::ranges::sort(spec.listeners, {}, &Listener::name);
    spec.daemon = draft_.daemon.daemon;
    spec.files = files_;
    for (const App& app : spec.apps) add_env_files(app, spec.env_files);
    for (const Job& job : spec.jobs) add_env_files(job.task, spec.env_files);
    for (const Listener& listener : spec.listeners) {
      if (listener.tls == nullptr) continue;
      spec.tls_files.insert(spec.tls_files.end(), listener.tls->files.begin(), listener.tls->files.end());
    }
    return spec;
  }

  // [defaults] may have it for the apps.
  void no_drain(const Member& job) {
    const Member* stop = job.value.find("stop");
    const Member* drain =
        stop != nullptr && stop->value.is(Node::Kind::table) ? stop->value.find("drain") : nullptr;
    if (drain != nullptr) reader_.error(drain->at, "a job has no requests that could be drained");
  }

  static void add_env_files(const App& app, std::vector<std::string>& files) {
    for (const std::string& file : app.env_files)
      if (std::ranges::find(files, file) == files.end()) files.push_back(file);
  }

  const std::string& path_;
  const World& world_;
  Report report_;
  Reader reader_;
  Node root_;
  Draft draft_;
  std::vector<std::string> files_;
  std::size_t merged_ = 0;  // values of [defaults] given to apps so far
  ExitCode exit_code_ = ExitCode::bad_spec;
  bool main_read_ = false;
};

}  // namespace

Loaded load(const std::string& path, const World& world, const Options& options) {
  return Loader(path, world, options).load();
}

}  // namespace muster::spec
