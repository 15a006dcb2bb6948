// What living processes say about the revisions that are in force, where the state file says less. Pure.
#pragma once

#include <vector>

#include "supervisor/persistent.h"

namespace muster::supervisor {

// A state that could not be saved, or was lost, is behind the processes: what runs is in force.
PersistentState with_living(PersistentState state, const std::vector<LivingProcess>& living);

}  // namespace muster::supervisor
