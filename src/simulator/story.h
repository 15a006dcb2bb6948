// What would happen: a stack under a timeline, as text for people. Pure.
#pragma once

#include <memory>
#include <string>

#include "simulator/timeline.h"

namespace muster::sim {

// Every event with its time and reason, and how the apps and replicas are in the end.
std::string tell_story(const std::shared_ptr<const spec::Spec>& stack, const Timeline& timeline);

}  // namespace muster::sim
