// Records of the control API (log lines, events, a why) as text for people. Pure.
#pragma once

#include <string>

#include "base/result.h"

namespace muster::cli {

// One line of GET /v1/logs: "web/0 2026-01-01T00:00:00.000Z out text\n". A record of another shape is shown as it
// is, escaped.
std::string log_record_text(const std::string& json_line, bool colour);

// One line of GET /v1/events: "2026-01-01T00:00:00.000Z web/0 ready: text\n".
std::string event_record_text(const std::string& json_line, bool colour);

// The body of GET /v1/why, one cause per line.
Result<std::string> why_text(const std::string& body, bool colour);

}  // namespace muster::cli
