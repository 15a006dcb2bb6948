// What the fields of a head mean together (RFC 9110, RFC 9112). Private to http_head.cpp and its tests.
#pragma once

#include <string_view>

#include "lb/http_head.h"

namespace muster::lb {

FieldKind kind_of_field(std::string_view name);

// Fills in target, authority, framing and expectations, and marks the fields that Connection names.
HeadVerdict judge_request(RequestHead& head);
HeadVerdict judge_response(ResponseHead& head);

}  // namespace muster::lb
