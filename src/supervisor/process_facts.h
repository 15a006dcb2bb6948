// Reads what drift.h looks at.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "supervisor/drift.h"

namespace muster::supervisor {

// Of a process that may end at any time. `volumes`: key -> path. Whether it is in its tree is the caller's to say.
ProcessFacts process_facts(int pid, const std::vector<std::pair<std::string, std::string>>& volumes);

// The file that it was started from; none where it is gone or cannot be told.
std::optional<std::string> program_of(int pid);

}  // namespace muster::supervisor
