// Folders of muster's own: state, logs, runtime.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/result.h"

namespace muster::supervisor {

// mkdir -p of an absolute path, see safe_path.h: `mode` (before the umask) for the folders that are made, those that
// exist are left as they are. The error names the folder that could not be made.
Status make_folders(const std::string& path, mode_t mode);

}  // namespace muster::supervisor
