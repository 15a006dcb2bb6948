// What a living process has become, against what it was started with. The daemon mends what is its own (processes,
// listeners, logs, its socket); what would cost a replica its life is only told: in `ps`, `plan` and as an event. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "spec/spec.h"

namespace muster::supervisor {

struct Drift {
  std::string app;             // empty: about the daemon
  std::optional<int> ordinal;  // none: about the app
  std::string kind;            // a stable word: "program", "environment", "limits", "cgroup", "volume"
  std::string text;            // "its program /usr/bin/app was replaced on disk; …"
  bool operator==(const Drift&) const = default;
};

// proc(5), read at one moment. What could not be read is none and says nothing.
struct ProcessFacts {
  std::optional<std::string> exe;      // the link of /proc/PID/exe, with " (deleted)" where it says so
  bool exe_exists = false;             // there is a file at that path now
  std::optional<std::string> limits;   // /proc/PID/limits
  std::optional<std::string> environ;  // /proc/PID/environ, whole
  bool in_its_tree = true;             // in the cgroup, or whatever keeps its tree together
  // Its volumes' directories, and whether each is one now.
  std::vector<std::pair<std::string, bool>> volumes;
};

// The hard limit in a line of /proc/PID/limits ("Max open files"); none: unlimited, or no such line.
std::optional<std::uint64_t> hard_limit(std::string_view limits, std::string_view name);

// `environment` is what it was started with, "NAME=value".
std::vector<Drift> drift_of(const ReplicaId& replica, const spec::App& app,
                            const std::vector<std::string>& environment, const ProcessFacts& facts);

}  // namespace muster::supervisor
