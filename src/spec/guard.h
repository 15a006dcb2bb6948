// What is checked in a spec's text before the TOML parser may see it: the parser has undefined behaviour for
// some characters, recurses as deep as it is told to, and searches lists of tables from the front.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "spec/statements.h"
#include "spec/tree.h"

namespace muster::spec {

// A UTF-8 byte order mark at the start is no part of the text.
std::string_view without_bom(std::string_view text);

struct Guarded {
  // The first reason why the text is no TOML that muster would read: invalid UTF-8, control bytes, characters
  // outside quotes that TOML does not know, nesting or sizes beyond limits::spec_*.
  std::optional<SyntaxError> refused;
  std::vector<Statement> statements;
};

Guarded guard_text(std::string_view text, std::uint32_t file);

}  // namespace muster::spec
