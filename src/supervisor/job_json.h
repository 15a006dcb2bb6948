// Jobs as people and programs see them: the "jobs" of GET /v1/status, and a job's GET /v1/why. Pure.
#pragma once

#include <boost/json.hpp>

#include "supervisor/status_json.h"

namespace muster::supervisor {

boost::json::array jobs_json(const StatusInput& input);

// None when there is no such job.
std::optional<std::string> job_why_json(const WhyInput& input);

}  // namespace muster::supervisor
