// What a job is remembered by, as JSON and back. Pure.
#pragma once

#include <boost/json.hpp>

#include "base/result.h"
#include "supervisor/persistent.h"

namespace muster::supervisor {

boost::json::object job_to_json(const PersistentJob& job);

// The error is half a sentence: "'next_ms' is not a time".
Result<PersistentJob> job_from_json(const boost::json::value& value);

}  // namespace muster::supervisor
