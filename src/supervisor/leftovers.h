// Ends what a daemon has left running and could not end itself: after a stop that timed out, by ExecStopPost= of the unit.
#pragma once

#include <cstddef>
#include <string>

#include "base/result.h"
#include "base/time.h"

namespace muster::supervisor {

// SIGKILL to all that is written down in the state folder; how many replicas that were. Blocks, `limit` at most, until
// nothing of them is left; what is left then is an error. While a daemon of that folder lives nothing is touched, and the
// error names it.
Result<std::size_t> end_leftovers(const std::string& state_dir, Millis limit);

}  // namespace muster::supervisor
