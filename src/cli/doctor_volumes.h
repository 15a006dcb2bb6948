// `doctor`: where the volumes of this project are, and whether their `size` can be enforced there.
#pragma once

#include <string>
#include <vector>

#include "cli/commands_run.h"

namespace muster::cli {

struct VolumeFolder {
  std::string path;
  bool enforced = false;
  std::string found;  // "ext4 with project quota"
};

// The state folder's and each `path` of the spec's volumes; none where there is no spec.
std::vector<VolumeFolder> volume_folders(const Context& context);

}  // namespace muster::cli
