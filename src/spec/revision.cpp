// The text that tells whether an app needs new processes.
#include "fmt/core.h"
#include "spec/load.h"

namespace muster::spec {

namespace {

// One value per line with its length in front: no value can look like two, or like the next key.
class RevisionText {
 public:
  void add(std::string_view key, std::string_view value) {
    text_ += fmt::format("{} {}:{}\n", key, value.size(), value);
  }
  void add(std::string_view key, std::uint64_t value) { add(key, std::to_string(value)); }
  void add(std::string_view key, const Port& port) {
    add(key, fmt::format("{} {}", static_cast<int>(port.kind), port.base));
  }
  void flag(std::string_view key, bool value) { add(key, value ? "yes" : "no"); }
  void add(std::string_view key, const Template& value) { add(key, value.text()); }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

}  // namespace

std::string revision_text(const App& app) {
  RevisionText text;
  for (const Template& word : app.run) text.add("run", word);
  text.flag("shell", app.shell);
  text.add("dir", app.dir);
  for (const EnvVar& variable : app.env) {
    text.add("env", variable.name);
    text.add("value", variable.value);
  }
  for (const auto& [name, value] : app.env_file_vars) {
    text.add("env_file", name);
    text.add("value", value);
  }
  text.flag("inherit_env", app.inherit_env.all);
  for (const std::string& name : app.inherit_env.names) text.add("inherit", name);
  text.add("user", app.user);
  text.add("group", app.group);
  text.add("umask", app.umask);
  text.add("nice", std::to_string(app.nice));
  text.flag("no_new_privs", app.no_new_privs);
  text.add("port", app.port);
  for (const NamedPort& named : app.ports) {
    text.add("ports", named.name);
    text.add("port", named.port);
  }
  for (const Volume& volume : app.volumes) {
    text.add("volume", volume.key);
    text.add("name", volume.name);
    text.add("mode", volume.mode);
    text.add("path", volume.path ? *volume.path : "");
  }
  if (app.limits.files) text.add("files", *app.limits.files);
  if (app.limits.core) text.add("core", *app.limits.core);
  return text.take();
}

}  // namespace muster::spec
