#include "supervisor/spec_source.h"

#include <unistd.h>

#include <algorithm>
#include <set>

#include "fmt/core.h"
#include "supervisor/file_trust.h"

namespace muster::supervisor {

namespace {
void add_needed(const spec::App& app, std::set<std::string>& wanted) {
  for (const spec::Dependency& dependency : app.after) wanted.insert(dependency.app);
  const auto add_addresses = [&wanted](const spec::Template& text) {
    for (const spec::Template::Part& part : text.parts()) {
      const auto* variable = std::get_if<spec::TemplateVariable>(&part);
      if (variable != nullptr && variable->name == "addr" && !variable->argument.empty())
        wanted.insert(variable->argument);
    }
  };
  std::ranges::for_each(app.run, add_addresses);
  for (const spec::EnvVar& variable : app.env) add_addresses(variable.value);
}
}  // namespace

Result<spec::Spec> only_apps(spec::Spec spec, const std::vector<std::string>& names) {
  if (names.empty()) return spec;
  std::set<std::string> wanted;
  for (const std::string& name : names) {
    if (spec.find_app(name) == nullptr && spec.find_job(name) == nullptr)
      return Error{.message = fmt::format("{} has no app '{}'", spec.path, name), .code = ExitCode::usage};
    wanted.insert(name);
  }
  for (std::size_t before = 0; before != wanted.size();) {
    before = wanted.size();
    for (const spec::App& app : spec.apps) {
      if (wanted.contains(app.name)) add_needed(app, wanted);
    }
    for (const spec::Job& job : spec.jobs) {
      const bool first =
          std::ranges::any_of(job.before, [&](const auto& app) { return wanted.contains(app); });
      if (first) wanted.insert(job.name());
      if (wanted.contains(job.name())) add_needed(job.task, wanted);
    }
  }
  std::erase_if(spec.apps, [&](const spec::App& app) { return !wanted.contains(app.name); });
  std::erase_if(spec.jobs, [&](const spec::Job& job) { return !wanted.contains(job.name()); });
  for (spec::Job& job : spec.jobs)
    std::erase_if(job.before, [&](const std::string& app) { return !wanted.contains(app); });
  const auto is_left_out = [&](const std::string& app) { return !app.empty() && !wanted.contains(app); };
  std::erase_if(spec.listeners, [&](spec::Listener& listener) {
    const bool leads_somewhere = !listener.apps().empty();
    if (is_left_out(listener.app)) listener.app.clear();
    std::erase_if(listener.routes, [&](const spec::Route& route) { return is_left_out(route.app); });
    return leads_somewhere && listener.apps().empty();
  });
  return spec;
}

ReadSpec SpecSource::read(bool certificates) const {
  ReadSpec read;
  spec::World world = spec::real_world(environment_);
  spec::Options options;
  options.mode = mode_ == RunMode::up ? spec::Mode::up : spec::Mode::daemon;
  options.root = geteuid() == 0;
  const bool strict = options.root && mode_ == RunMode::daemon;
  if (strict) world.read_file = without_planted_links(std::move(world.read_file));
  options.run_folder = run_dir_;
  options.certificates = certificates;
  spec::Loaded loaded = spec::load(path_, world, options);
  for (const spec::Diagnostic& diagnostic : loaded.diagnostics) {
    std::string& to = diagnostic.severity == spec::Diagnostic::Severity::error ? read.error : read.warnings;
    to += (to.empty() || to.ends_with('\n') ? "" : "\n") + spec::render(diagnostic);
    if (!diagnostic.listener.empty()) read.listener_errors.emplace(diagnostic.listener, diagnostic.message);
  }
  read.code = loaded.exit_code;
  if (!loaded.spec) return read;
  if (const auto untrusted = options.root ? untrusted_file_of(*loaded.spec) : std::nullopt) {
    if (strict) {
      read.error = fmt::format(
          "error: {}; root runs only what is root's: chown root and chmod go-w it, or run `muster up`, or "
          "muster "
          "as another user",
          *untrusted);
      read.code = ExitCode::not_permitted;
      return read;
    }
    read.warnings +=
        fmt::format("{}warning: {}, and is run as root", read.warnings.empty() ? "" : "\n", *untrusted);
  }
  auto chosen = only_apps(std::move(*loaded.spec), only_apps_);
  if (!chosen) {
    read.error = chosen.error().message;
    read.code = chosen.error().code;
    return read;
  }
  read.spec = std::make_shared<const spec::Spec>(std::move(chosen.value()));
  return read;
}

Result<std::vector<std::pair<std::string, std::string>>> SpecSource::env_files_of(
    const spec::App& app) const {
  spec::ReadFile read = spec::real_world(environment_).read_file;
  const bool strict = geteuid() == 0 && mode_ == RunMode::daemon;
  return spec::read_env_files(app, strict ? without_planted_links(std::move(read)) : std::move(read));
}

}  // namespace muster::supervisor
