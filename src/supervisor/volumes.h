// Volumes as directories, one per ordinal and name: made once, never removed. STATE/volumes/APP/ORDINAL/NAME, or
// PATH/ORDINAL where the spec gives a path. Each has a lock file beside it, see volume_lock.h.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/ids.h"
#include "base/result.h"
#include "spec/spec.h"

namespace muster::supervisor {

std::string volume_path(const std::string& state_dir, const ReplicaId& replica, const spec::Volume& volume);

struct PreparedVolumes {
  std::vector<std::pair<std::string, std::string>> paths;  // key -> path
  std::vector<Fd> locks;                                   // to be handed on to the replica's processes
};

// Locks each and makes what is missing: the folder itself with the volume's mode and the app's user and group, those
// above it 0711 (the app's user must be able to pass). One that exists stays as it is; a link or a file in its place
// is an error. EWOULDBLOCK: "volume data of db/1 is in use by pid 812 (redis-server)".
Result<PreparedVolumes> prepare_volumes(const std::string& state_dir, const ReplicaId& replica,
                                        const spec::App& app);

}  // namespace muster::supervisor
