// Events and actions as one line each, for the trace of a run.
#pragma once

#include <string>

#include "supervisor/action.h"
#include "supervisor/event.h"

namespace muster::sim {

std::string describe_event(const supervisor::Event& event);
std::string describe_action(const supervisor::Action& action);

}  // namespace muster::sim
