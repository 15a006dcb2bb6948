// What a job, and the end of a process, is remembered by, as JSON and back. Pure.
#pragma once

#include <boost/json.hpp>

#include "base/result.h"
#include "supervisor/persistent.h"

namespace muster::supervisor {

boost::json::object exit_to_json(const LastExit& exit);

// The error is half a sentence: "'at_ms' is not a number in its range".
Result<LastExit> exit_from_json(const boost::json::value& value);

boost::json::object job_to_json(const PersistentJob& job);

// The error is half a sentence: "'next_ms' is not a time".
Result<PersistentJob> job_from_json(const boost::json::value& value);

}  // namespace muster::supervisor
