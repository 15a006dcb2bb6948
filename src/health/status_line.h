// The first line of an HTTP/1.x answer (RFC 9112 section 4). Pure.
#pragma once

#include <optional>
#include <string_view>

namespace muster::health {

// The status; none while the line is incomplete, 0 when it is something else.
std::optional<int> parse_status_line(std::string_view bytes);

}  // namespace muster::health
