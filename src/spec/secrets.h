// Values that must not be shown: what belongs to a name with PASS, SECRET, TOKEN or KEY in it. Pure.
#pragma once

#include <string>
#include <string_view>

namespace muster::spec {

// In any case of letters.
bool names_a_secret(std::string_view name);

// A line of a spec, or a command line, with such values as asterisks: NAME=value, NAME = "value", --name value. `keep_width`:
// one for each character, so that a caret below the line still points to its place; else always eight.
std::string mask_secrets(std::string_view line, bool keep_width);

}  // namespace muster::spec
