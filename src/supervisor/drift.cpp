#include "supervisor/drift.h"

#include <algorithm>
#include <set>

#include "fmt/core.h"
#include "supervisor/proc_files.h"

namespace muster::supervisor {

namespace {

constexpr std::string_view deleted = " (deleted)";

class Findings {
 public:
  explicit Findings(const ReplicaId& replica) : replica_(replica) {}
  void add(std::string kind, const std::string& what) {
    found_.push_back(Drift{
        .app = replica_.app,
        .ordinal = replica_.ordinal,
        .kind = std::move(kind),
        .text = fmt::format("{}; `muster restart {}` starts it as declared", what, to_string(replica_))});
  }
  std::vector<Drift> take() { return std::move(found_); }

 private:
  const ReplicaId& replica_;
  std::vector<Drift> found_;
};

void look_at_program(Findings& findings, const ProcessFacts& facts) {
  if (!facts.exe || !facts.exe->ends_with(deleted)) return;
  const std::string path = facts.exe->substr(0, facts.exe->size() - deleted.size());
  findings.add("program", fmt::format("its program {} was {} on disk, it runs the old one", path,
                                      facts.exe_exists ? "replaced" : "removed"));
}

void look_at_limit(Findings& findings, const ProcessFacts& facts, std::string_view line, std::string_view key,
                   std::optional<std::uint64_t> declared) {
  if (!declared || !facts.limits) return;
  const auto has = hard_limit(*facts.limits, line);
  if (has == declared) return;
  findings.add("limits", fmt::format("limits.{} is {} now, declared is {}", key,
                                     has ? std::to_string(*has) : "unlimited", *declared));
}

std::set<std::string_view> variables_of(std::string_view environ) {
  std::set<std::string_view> all;
  while (!environ.empty()) {
    const std::size_t end = std::min(environ.find('\0'), environ.size());
    all.insert(environ.substr(0, end));
    environ.remove_prefix(std::min(end + 1, environ.size()));
  }
  return all;
}

// Never the values: they may be secrets.
void look_at_environment(Findings& findings, const std::vector<std::string>& environment,
                         const ProcessFacts& facts) {
  if (!facts.environ) return;
  const auto has = variables_of(*facts.environ);
  // Programs that write their title over their environment have lost all of it.
  const bool whole =
      std::ranges::any_of(has, [](std::string_view variable) { return variable.starts_with("MUSTER_APP="); });
  if (!whole) return;
  std::string names;
  for (const std::string& variable : environment) {
    if (has.contains(variable)) continue;
    names += (names.empty() ? "" : ", ") + variable.substr(0, variable.find('='));
  }
  if (!names.empty())
    findings.add("environment", fmt::format("it runs with another value of {} than declared", names));
}

void look_at_volumes(Findings& findings, const ProcessFacts& facts) {
  for (const auto& [path, there] : facts.volumes) {
    if (!there)
      findings.add("volume",
                   fmt::format("its volume {} is gone: what it still writes is lost with it", path));
  }
}

}  // namespace

std::optional<std::uint64_t> hard_limit(std::string_view limits, std::string_view name) {
  const std::size_t at = limits.find(name);
  if (at == std::string_view::npos) return std::nullopt;
  std::string_view line = limits.substr(at + name.size());
  line = line.substr(0, line.find('\n'));
  const auto next_word = [&line] {
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    const std::string_view word = line.substr(0, line.find(' '));
    line.remove_prefix(word.size());
    return word;
  };
  next_word();  // the soft one
  return parse_number(next_word());
}

std::vector<Drift> drift_of(const ReplicaId& replica, const spec::App& app,
                            const std::vector<std::string>& environment, const ProcessFacts& facts) {
  Findings findings(replica);
  look_at_program(findings, facts);
  look_at_limit(findings, facts, "Max open files", "files", app.limits.files);
  look_at_limit(findings, facts, "Max core file size", "core", app.limits.core);
  look_at_environment(findings, environment, facts);
  if (!facts.in_its_tree)
    findings.add("cgroup", "it was moved out of its cgroup: what it starts cannot be ended with it");
  look_at_volumes(findings, facts);
  return findings.take();
}

}  // namespace muster::supervisor
