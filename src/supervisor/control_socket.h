// The unix socket of the control API: bound without a moment in which others could connect, and who is at its other end.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace muster::supervisor {

struct BoundSocket {
  Fd fd;  // bound, not listening yet; non-blocking
  dev_t device = 0;
  ino_t inode = 0;  // of the socket's file
};

// The file is 0600, or with `group` 0660 and of that group. One on which nobody answers is replaced; one that answers
// ("… is in use by pid N") and one that is no socket are Errors. The folder must exist.
Result<BoundSocket> bind_control_socket(const std::string& path, std::optional<gid_t> group);

[[nodiscard]] bool is_same_file(const std::string& path, const BoundSocket& socket);
// Unless the file is another's by now, or nobody can say.
void remove_control_socket(const std::string& path, const BoundSocket& socket);

struct Peer {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;  // supplementary
};
// As they were when it connected.
Result<Peer> peer_of(int fd);

// Root, the daemon's own user, or a member of `group`.
[[nodiscard]] bool is_allowed(const Peer& peer, uid_t own_uid, std::optional<gid_t> group);

}  // namespace muster::supervisor
