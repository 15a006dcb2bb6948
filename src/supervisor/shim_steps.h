// What the exec shim does, step by step. No C library, no memory but the image and the stack.
#pragma once

#include <cstdint>

#include "supervisor/shim_image.h"

namespace muster::supervisor {

// The image in the memfd, private and writable. Null: none, cut short, or of another build.
ShimImage* map_shim_image(int memfd);

inline const std::uint32_t* groups_of(const ShimImage& image) {
  return reinterpret_cast<const std::uint32_t*>(reinterpret_cast<const char*>(&image) + image.groups);
}

[[noreturn]] void fail_shim(const ShimImage& image, ShimStep step, int error);

// Becomes the app, or reports why not and ends. The names in it must have been looked up.
[[noreturn]] void carry_out(ShimImage& image, const std::uint32_t* groups, std::uint32_t group_count);

}  // namespace muster::supervisor
