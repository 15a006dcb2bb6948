// `check`: the spec without a daemon, every mistake at once.
#include <unistd.h>

#include "boost/json.hpp"
#include "cli/commands_run.h"
#include "cli/output.h"
#include "fmt/core.h"
#include "spec/load.h"

namespace muster::cli {

namespace json = boost::json;

namespace {

bool is_error(const spec::Diagnostic& found) {
  return found.severity == spec::Diagnostic::Severity::error;
}

std::string summary(const spec::Loaded& loaded, const std::string& path) {
  std::size_t errors = 0;
  for (const spec::Diagnostic& found : loaded.diagnostics) errors += is_error(found) ? 1U : 0U;
  const std::size_t warnings = loaded.diagnostics.size() - errors;
  if (!loaded.spec) return fmt::format("{}: {} error{}\n", path, errors, errors == 1 ? "" : "s");
  int replicas = 0;
  for (const spec::App& app : loaded.spec->apps) replicas += app.replicas;
  std::string text =
      fmt::format("{}: ok, {} app{} with {} replica{}, {} listener{}", path, loaded.spec->apps.size(),
                  loaded.spec->apps.size() == 1 ? "" : "s", replicas, replicas == 1 ? "" : "s",
                  loaded.spec->listeners.size(), loaded.spec->listeners.size() == 1 ? "" : "s");
  const std::size_t jobs = loaded.spec->jobs.size();
  if (jobs > 0) text += fmt::format(", {} job{}", jobs, jobs == 1 ? "" : "s");
  if (warnings > 0) text += fmt::format(", {} warning{}", warnings, warnings == 1 ? "" : "s");
  return text + "\n";
}

std::string as_json(const spec::Loaded& loaded, const std::string& path) {
  json::array rows;
  for (const spec::Diagnostic& found : loaded.diagnostics) {
    rows.push_back(json::object{{"severity", is_error(found) ? "error" : "warning"},
                                {"file", found.at.file},
                                {"line", found.at.line},
                                {"column", found.at.column},
                                {"message", found.message},
                                {"hint", found.hint}});
  }
  return json::serialize(json::object{{"schema", 1},
                                      {"spec", path},
                                      {"ok", loaded.spec.has_value()},
                                      {"diagnostics", std::move(rows)}}) +
         "\n";
}

}  // namespace

// What `daemon` would say of the system's spec, and `up` of any other.
spec::Loaded load_as_its_daemon(const Context& context, const DaemonPaths& paths) {
  const bool system = paths.spec == system_spec;
  return spec::load(
      paths.spec, spec::real_world(context.environment),
      {.mode = system ? spec::Mode::daemon : spec::Mode::up,
       .root = ::geteuid() == 0,
       .run_folder = system ? run_folder(std::string(system_socket), context.around) : paths.run_dir});
}

int run_check(const Context& context) {
  const auto paths = daemon_paths(context.arguments, context.around);
  if (!paths) return fail(paths.error());
  const std::string& path = paths.value().spec;
  const spec::Loaded loaded = load_as_its_daemon(context, paths.value());
  if (context.arguments.json()) {
    print(as_json(loaded, path));
  } else {
    for (const spec::Diagnostic& found : loaded.diagnostics) print(spec::render(found));
    print(summary(loaded, path));
  }
  return code_of(loaded.exit_code);
}

}  // namespace muster::cli
