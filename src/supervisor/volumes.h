// Volumes as directories, one per ordinal and name: made once, never removed. STATE/volumes/APP/ORDINAL/NAME, or
// PATH/ORDINAL where the spec gives a path.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "spec/spec.h"

namespace muster::supervisor {

std::string volume_path(const std::string& state_dir, const ReplicaId& replica, const spec::Volume& volume);

// Makes what is missing: the folder itself with the volume's mode and the app's user and group, those above it 0711
// (the app's user must be able to pass). One that exists stays as it is; a link or a file in its place is an error.
// key -> path.
Result<std::vector<std::pair<std::string, std::string>>> prepare_volumes(const std::string& state_dir,
                                                                         const ReplicaId& replica,
                                                                         const spec::App& app);

}  // namespace muster::supervisor
