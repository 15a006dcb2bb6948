// Jobs as people and programs see them: the "jobs" of GET /v1/status, and a job's GET /v1/why. Pure.
#pragma once

#include <boost/json.hpp>

#include "supervisor/status_json.h"

namespace muster::supervisor {

boost::json::array jobs_json(const StatusInput& input);

// Of a row of a replica or a run: each limit that it has, and who enforces it.
boost::json::object limits_json(const std::map<InstanceId, LimitStates>& limits, InstanceId id);

// The body of GET /v1/why, the same for apps (why_json.cpp) and jobs; `chain` is fit to be shown.
std::string why_body(const WhyInput& input, std::string_view state, const std::string& reason,
                     boost::json::array chain);

// None when there is no such job.
std::optional<std::string> job_why_json(const WhyInput& input);

}  // namespace muster::supervisor
