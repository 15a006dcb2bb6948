// A timeline: what happens to a stack and when, as a small TOML file.
//   for = "10m"                      # how long; without it until everything has come to rest
//   [[step]]
//   at = "5s"
//   do = "kill web/1 SIGSEGV"        # or a list; sentence.h knows what can happen
//   [behaviour.web]                  # how its processes behave
//   healthy_after = "2s"
// Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "simulator/sentence.h"
#include "spec/load.h"

namespace muster::sim {

struct TimedDeed {
  Nanos at{0};
  Deed deed;
};

struct Timeline {
  std::optional<Nanos> length;
  std::vector<TimedDeed> steps;  // in the order of time
  std::map<std::string, Conduct> behaviour;
};

struct LoadedTimeline {
  std::optional<Timeline> timeline;  // none when there is any error
  std::vector<spec::Diagnostic> diagnostics;
};

LoadedTimeline read_timeline(const std::string& path, const std::string& text, const spec::Spec& stack,
                             const LoadSpec& load);

}  // namespace muster::sim
