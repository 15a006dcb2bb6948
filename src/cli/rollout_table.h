// The body of GET /v1/rollout as text for people. Pure.
#pragma once

#include <string>

#include "cli/json_view.h"

namespace muster::cli {

// What is in force, how many processes of each revision are ready, and what it waits for.
std::string rollout_table(JsonView rollout, bool colour);

// The revisions that are kept, the newest last.
std::string history_table(JsonView rollout, bool colour);

}  // namespace muster::cli
