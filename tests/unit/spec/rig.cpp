#include "rig.h"

#include <fnmatch.h>
#include <gtest/gtest.h>

#include "fmt/core.h"

namespace muster::spec {

World FakeWorld::world() const {
  World made;
  made.read_file = [files = files](const std::string& path) -> Result<std::string> {
    const auto found = files.find(path);
    if (found == files.end())
      return Error{"cannot read " + path + ": No such file or directory", ExitCode::no_spec};
    return found->second;
  };
  made.glob = [files = files](const std::string& pattern) -> Result<std::vector<std::string>> {
    std::vector<std::string> paths;
    for (const auto& [path, text] : files)
      if (fnmatch(pattern.c_str(), path.c_str(), FNM_PATHNAME) == 0) paths.push_back(path);
    return paths;
  };
  made.env = [environment = environment](const std::string& name) -> std::optional<std::string> {
    const auto found = environment.find(name);
    return found == environment.end() ? std::nullopt : std::optional(found->second);
  };
  made.user_exists = [users = users](const std::string& name) { return users.contains(name); };
  made.group_exists = made.user_exists;
  made.world_readable = [open = open_files](const std::string& path) { return open.contains(path); };
  made.now = std::chrono::system_clock::now;
  return made;
}

Loaded FakeWorld::load(const std::string& text, Options options) const {
  FakeWorld with = *this;
  with.files["/spec/muster.toml"] = text;
  return spec::load("/spec/muster.toml", with.world(), options);
}

Spec good(const std::string& text, Options options, const FakeWorld& world) {
  const Loaded loaded = world.load(text, options);
  std::string shown;
  for (const Diagnostic& diagnostic : loaded.diagnostics) shown += render(diagnostic);
  EXPECT_TRUE(loaded.spec) << shown << text;
  EXPECT_EQ(loaded.exit_code, loaded.spec ? ExitCode::ok : ExitCode::bad_spec);
  return loaded.spec.value_or(Spec{});
}

App app_with(const std::string& keys, Options options, const FakeWorld& world) {
  Spec spec = good("[app.a]\nrun = \"x\"\n" + keys, options, world);
  return spec.apps.empty() ? App{} : std::move(spec.apps.front());
}

std::vector<std::string> complaints(const Loaded& loaded) {
  std::vector<std::string> all;
  for (const Diagnostic& diagnostic : loaded.diagnostics) {
    const bool warning = diagnostic.severity == Diagnostic::Severity::warning;
    all.push_back(fmt::format("{}{}:{} {}{}{}", warning ? "warning " : "", diagnostic.at.line,
                              diagnostic.at.column, diagnostic.message, diagnostic.hint.empty() ? "" : " | ",
                              diagnostic.hint));
  }
  return all;
}

std::vector<std::string> complaints(const std::string& text, Options options, const FakeWorld& world) {
  return complaints(world.load(text, options));
}

std::vector<std::string> app_complaints(const std::string& keys, Options options) {
  return complaints("[app.a]\nrun = \"x\"\n" + keys, options);
}

}  // namespace muster::spec
