// Completion scripts, made from the one table of commands. Pure.
#pragma once

#include <optional>
#include <string>

namespace muster::cli {

// None when it is another shell than bash, zsh and fish.
std::optional<std::string> completion_script(const std::string& shell);

}  // namespace muster::cli
