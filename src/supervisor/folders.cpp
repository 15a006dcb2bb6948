#include "supervisor/folders.h"

#include "supervisor/safe_path.h"

namespace muster::supervisor {

Status make_folders(const std::string& path, mode_t mode) {
  if (const auto made = open_or_make_folder(path, mode); !made) return made.error();
  return Unit{};
}

}  // namespace muster::supervisor
