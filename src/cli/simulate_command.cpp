// `simulate SPEC TIMELINE`: what would happen to a stack, on a host that does not exist. Not in the help yet.
#include <cstdlib>
#include <filesystem>

#include "cli/commands_run.h"
#include "cli/output.h"
#include "simulator/story.h"
#include "spec/load.h"

namespace muster::cli {

namespace {

std::string absolute(const std::string& path) {
  std::error_code error;
  const auto full = std::filesystem::absolute(path, error);
  return error ? path : full.lexically_normal().string();
}

// Nothing is started: a user that an app needs may be missing here.
spec::Loaded load_spec(const std::string& path, const spec::World& world) {
  return spec::load(absolute(path), world, {.mode = spec::Mode::daemon, .root = false});
}

// A timeline names files beside itself.
std::string beside(const std::string& timeline, const std::string& name) {
  return (std::filesystem::path(absolute(timeline)).parent_path() / name).lexically_normal().string();
}

void print_all(const std::vector<spec::Diagnostic>& diagnostics) {
  for (const spec::Diagnostic& found : diagnostics) print(spec::render(found));
}

}  // namespace

int run_simulate(const std::vector<std::string>& words, std::vector<std::string> environment) {
  if (words.size() != 2)
    return fail({.message = "simulate needs a spec and a timeline: muster simulate SPEC TIMELINE",
                 .code = ExitCode::usage});
  const spec::World world = spec::real_world(std::move(environment));
  spec::Loaded loaded = load_spec(words[0], world);
  if (!loaded.spec) {
    print_all(loaded.diagnostics);
    return code_of(loaded.exit_code);
  }
  const auto text = world.read_file(absolute(words[1]));
  if (!text) return fail(text.error());
  const sim::LoadSpec load_other = [&](const std::string& name) -> Result<std::shared_ptr<const spec::Spec>> {
    spec::Loaded other = load_spec(beside(words[1], name), world);
    if (other.spec) return std::make_shared<const spec::Spec>(std::move(*other.spec));
    const std::string first =
        other.diagnostics.empty() ? "cannot be read" : other.diagnostics.front().message;
    return Error{.message = name + ": " + first, .code = other.exit_code};
  };
  const sim::LoadedTimeline timeline = sim::read_timeline(words[1], text.value(), *loaded.spec, load_other);
  if (!timeline.timeline) {
    print_all(timeline.diagnostics);
    return code_of(ExitCode::bad_spec);
  }
  print(sim::tell_story(std::make_shared<const spec::Spec>(std::move(*loaded.spec)), *timeline.timeline));
  return 0;
}

}  // namespace muster::cli
