// A spec of any bytes: load() returns, with a spec or with errors that have a place and can be shown.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "spec/load.h"

namespace {

using namespace muster;

void demand(bool condition) {
  if (!condition) std::abort();
}

spec::World world_of(const std::string& text) {
  spec::World world;
  world.read_file = [text](const std::string& path) -> Result<std::string> {
    if (path == "/spec/muster.toml" || path == "/spec/more.toml") return text;
    if (path == "/spec/app.env") return std::string("A=1\nB='two'\n") + text.substr(0, 200);
    return Error{"no such file", ExitCode::no_spec};
  };
  world.glob = [](const std::string& pattern) -> Result<std::vector<std::string>> {
    if (pattern.find('*') == std::string::npos) return std::vector<std::string>{pattern};
    return std::vector<std::string>{"/spec/more.toml", "/spec/muster.toml"};
  };
  world.env = [](const std::string& name) -> std::optional<std::string> {
    if (name == "HOME") return "/home/{port} x";
    return std::nullopt;
  };
  world.user_exists = [](const std::string& name) { return name == "root"; };
  world.group_exists = [](const std::string& name) { return name == "root"; };
  world.world_readable = [](const std::string&) { return true; };
  world.now = [] { return WallTime{}; };
  return world;
}

void shown_on_one_terminal(const std::string& text) {
  for (const char byte : text)
    demand(static_cast<unsigned char>(byte) >= 0x20 || byte == '\n' || byte == '\t');
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const spec::World world = world_of(text);
  for (const spec::Mode mode : {spec::Mode::up, spec::Mode::daemon}) {
    const spec::Loaded loaded = spec::load("/spec/muster.toml", world, {.mode = mode, .root = size % 2 == 0});
    demand(loaded.spec.has_value() == (loaded.exit_code == ExitCode::ok));
    bool error = false;
    for (const spec::Diagnostic& diagnostic : loaded.diagnostics) {
      error = error || diagnostic.severity == spec::Diagnostic::Severity::error;
      demand(!diagnostic.message.empty() && !diagnostic.at.file.empty());
      shown_on_one_terminal(spec::render(diagnostic));
    }
    demand(error != loaded.spec.has_value());
    if (!loaded.spec) continue;
    for (const spec::App& app : loaded.spec->apps) {
      demand(!app.run.empty() && !spec::revision_text(app).empty());
      demand(loaded.spec->find_app(app.name) == &app && app == app);
    }
    for (const spec::Listener& listener : loaded.spec->listeners)
      demand(!listener.bind.empty() && loaded.spec->find_app(listener.app) != nullptr);
  }
  return 0;
}
