// Strings of a spec: ${VAR} from the daemon's environment, {port} and the like, and words by sh quoting.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "spec/literals.h"
#include "spec/template.h"

namespace muster::spec {

using Environment = std::function<std::optional<std::string>(const std::string&)>;

// ${VAR}, ${VAR:-default}, ${VAR:?message} and $$ replaced; any other $ is itself. A default may hold further
// ${…}.
Parsed<std::string> expand_environment(std::string_view raw, const Environment& environment);

// The same, and `{` + a lower-case word is a variable; `{{` and `}}` are braces. What came out of the
// environment is literal text, whatever it looks like. Names are not judged here.
Parsed<Template> parse_template(std::string_view raw, const Environment& environment);

// Words by the quoting of sh, nothing expanded: the words are raw text for the two above. ${…} never splits.
Parsed<std::vector<std::string>> split_words(std::string_view raw);

}  // namespace muster::spec
