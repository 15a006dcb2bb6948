// JSON as text with numbers as people write them: Boost.JSON 1.81 prints 12.5 as 1.25E1. Pure.
#pragma once

#include <string>

#include "boost/json/value.hpp"

namespace muster::supervisor {

// Strings must be valid UTF-8. Doubles have at most 3 decimals.
std::string json_text(const boost::json::value& value);

}  // namespace muster::supervisor
