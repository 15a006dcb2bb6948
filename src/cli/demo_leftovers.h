// What a stack must not leave behind: processes and open ports.
#pragma once

#include <set>
#include <string>
#include <utility>

#include "cli/demo_stack.h"

namespace muster::cli {

// When the process started, in clock ticks (field 22 of /proc/PID/stat): with the pid it names a process for good.
// Empty when there is none, or when it is a zombie.
std::string process_start(int pid);

// Those of `known` that still run, and all that run in `folder`: "pid 7, pid 9"; empty when there is none.
std::string processes_left(const std::set<std::pair<int, std::string>>& known, const std::string& folder);

// Ports of the block on which somebody listens, the demo's own claim aside; empty when there is none.
std::string ports_open(const DemoPorts& ports);

}  // namespace muster::cli
