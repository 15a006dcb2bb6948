// Files of NAME=VALUE lines, as docker compose reads them.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "spec/load.h"

namespace muster::spec {

using EnvVars = std::vector<std::pair<std::string, std::string>>;

// Empty lines and lines that begin with # are skipped; `export` before a name is; a value in '…' is literal, one
// in "…" knows \n \r \t \" \\ and may go over several lines; behind an unquoted value " #" begins a comment. No
// variable is expanded in a value. An error says "NAME:LINE: …".
Result<EnvVars> parse_env_file(std::string_view text, const std::string& name);

// `bytes` is set to the size of the file.
Result<EnvVars> read_env_file(const std::string& path, const ReadFile& read_file, std::size_t& bytes);

// By name: a later line of a name wins, as it does in the process. So lines that change places change nothing.
EnvVars the_last_of_each(const EnvVars& variables);

}  // namespace muster::spec
