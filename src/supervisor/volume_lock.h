// Who has a volume: an flock(2) on a file beside its directory. The descriptor goes on to the replica's processes, so
// the lock lasts as long as any of them, whatever becomes of the daemon, and another daemon finds it too.
#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "supervisor/socket_owner.h"

namespace muster::supervisor {

// The file beside the directory NAME.
std::string volume_lock_name(const std::string& name);

// Locks NAME below the opened folder. EWOULDBLOCK: somebody has it; the message is "in use by pid 812
// (redis-server)".
Result<Fd> lock_volume(int folder, const std::string& name);

// Who holds the flock(2) of this very file, NAME; one that keeps it over exec before one that does not. None when /proc
// does not show it.
std::optional<SocketHolder> holder_of_lock(int file, const std::string& name);

}  // namespace muster::supervisor
