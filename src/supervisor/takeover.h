// What living processes say about the revisions that are in force, where the state file says less; and what an end that has
// begun waits for. Pure.
#pragma once

#include <map>
#include <vector>

#include "supervisor/persistent.h"
#include "supervisor/world.h"

namespace muster::supervisor {

// A state that could not be saved, or was lost, is behind the processes: what runs is in force.
PersistentState with_living(PersistentState state, const std::vector<LivingProcess>& living);

// Those whose end waits for their last request, and when it no longer does.
std::map<InstanceId, Instant> drains_of(const World& world);

}  // namespace muster::supervisor
