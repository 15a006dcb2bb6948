// Files of muster's own, written as a whole: 0600, never through a link, never waiting for a FIFO's reader. A file that
// others read meanwhile is written beside its name and renamed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace muster::supervisor {

enum class Synced : std::uint8_t {
  no,
  yes,  // on disk, by fsync(2), when it returns
};
// In the place of what `path` held. The error names the step and the path.
Status write_file(const std::string& path, std::string_view text, Synced synced);

}  // namespace muster::supervisor
