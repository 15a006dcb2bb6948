// One code point at a time, strictly: overlong forms, surrogates and what lies above U+10FFFF are invalid.
#pragma once

#include <cstddef>
#include <string_view>

namespace muster::spec {

struct CodePoint {
  char32_t value = 0;
  std::size_t bytes = 0;  // 0 = invalid
};

// The code point that starts at `text[at]`.
CodePoint decode_utf8(std::string_view text, std::size_t at);

// A code point that a terminal shows as something else than itself: C0, DEL, C1, or one that turns the
// direction of the text.
bool is_control(char32_t value);

}  // namespace muster::spec
