// A line of a timeline: "kill web/1 SIGSEGV", "probe web fails for 10s". Pure.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "simulator/deed.h"
#include "spec/literals.h"

namespace muster::sim {

// Reads another spec file by the name that a timeline gives it.
using LoadSpec = std::function<Result<std::shared_ptr<const spec::Spec>>(const std::string& name)>;

struct Doing {
  Nanos later{0};  // after the line's own time
  Deed deed;
};

struct Refusal {
  std::size_t offset = 0;  // in the line, in bytes
  spec::Complaint complaint;
};

// `stack` tells which apps there are. "for 10s" gives a second one, which takes back the first.
Result<std::vector<Doing>, Refusal> read_sentence(std::string_view line, const spec::Spec& stack,
                                                  const LoadSpec& load);

}  // namespace muster::sim
