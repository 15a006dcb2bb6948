// Changes to all stacks that a scenario ever loads.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "sim/scenario.h"

namespace muster::sim {

void for_each_spec(const Scenario& scenario, const std::function<void(const spec::Spec&)>& look);
void change_specs(Scenario& scenario, const std::function<void(spec::Spec&)>& change);
// With all that names it.
void remove_app(spec::Spec& stack, const std::string& name);
void remove_job(spec::Spec& stack, const std::string& name);

// Each makes an app or a job plainer, or leaves it as it is.
const std::vector<std::function<void(spec::App&)>>& simplifications();
const std::vector<std::function<void(spec::Job&)>>& job_simplifications();

}  // namespace muster::sim
