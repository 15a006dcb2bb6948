// One daemon per state folder: an flock(2) on STATE/lock for as long as the daemon lives.
#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace muster::supervisor {

// Held by the descriptor. An error names the pid of the daemon that has it. Waits, two seconds at most, for the children
// of one that was killed while it started them.
Result<Fd> lock_state_folder(const std::string& state_dir);

}  // namespace muster::supervisor
