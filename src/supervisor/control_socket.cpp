#include "supervisor/control_socket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace muster::supervisor {
namespace {

Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path || path.find('\0') != std::string::npos)
    return Error{"the path of the control socket has to be 1 to " +
                     std::to_string(sizeof address.sun_path - 1) + " bytes long: " + path,
                 ExitCode::failed, ENAMETOOLONG};
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

const sockaddr* as_sockaddr(const sockaddr_un& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

Fd unix_socket() {
  return Fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

// Removes what an earlier daemon left. A full backlog (EAGAIN) is an answer too.
Status clear_way(const std::string& path, const sockaddr_un& address) {
  struct stat info {};
  if (lstat(path.c_str(), &info) != 0)
    return errno == ENOENT ? Status{Unit{}} : system_error("look at " + path, errno);
  if (!S_ISSOCK(info.st_mode))
    return Error{path + " is in the way: it is not a socket", ExitCode::failed, EEXIST};
  const Fd probe = unix_socket();
  if (!probe) return system_error("make a socket", errno);
  if (connect(probe.get(), as_sockaddr(address), sizeof address) == 0) {
    const auto peer = peer_of(probe.get());
    return Error{path + " is in use" + (peer ? " by pid " + std::to_string(peer.value().pid) : ""),
                 ExitCode::failed, EADDRINUSE};
  }
  if (errno == EAGAIN) return Error{path + " is in use", ExitCode::failed, EADDRINUSE};
  if (errno != ECONNREFUSED && errno != ENOENT) return system_error("connect to " + path, errno);
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return system_error("remove the stale " + path, errno);
  return Unit{};
}

Status give_to_group(const std::string& path, gid_t group) {
  if (lchown(path.c_str(), static_cast<uid_t>(-1), group) != 0)
    return system_error("give " + path + " to group " + std::to_string(group), errno);
  if (chmod(path.c_str(), 0660) != 0) return system_error("set the mode of " + path, errno);
  return Unit{};
}

std::vector<gid_t> groups_of(int fd) {
  std::vector<gid_t> groups(32);
  for (;;) {
    auto size = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size) == 0) {
      groups.resize(size / sizeof(gid_t));
      return groups;
    }
    if (errno != ERANGE || size <= groups.size() * sizeof(gid_t)) return {};
    groups.resize(size / sizeof(gid_t));
  }
}

}  // namespace

Result<BoundSocket> bind_control_socket(const std::string& path, std::optional<gid_t> group) {
  const auto address = address_of(path);
  if (!address) return address.error();
  if (Status cleared = clear_way(path, address.value()); !cleared) return std::move(cleared).error();
  BoundSocket bound{unix_socket()};
  if (!bound.fd) return system_error("make a socket", errno);
  // Linux gives the file the mode of the socket (less the umask): it is never open to others, not for a moment. A
  // umask(2) around bind(2) would be seen by other threads.
  if (fchmod(bound.fd.get(), 0600) != 0) return system_error("set the mode of a socket", errno);
  if (bind(bound.fd.get(), as_sockaddr(address.value()), sizeof(sockaddr_un)) != 0)
    return system_error("bind " + path, errno);
  struct stat info {};
  const Status given = group ? give_to_group(path, *group) : Status{Unit{}};
  if (!given || lstat(path.c_str(), &info) != 0) {
    const Error error = given ? system_error("look at " + path, errno) : given.error();
    unlink(path.c_str());
    return error;
  }
  bound.device = info.st_dev;
  bound.inode = info.st_ino;
  return bound;
}

bool is_same_file(const std::string& path, const BoundSocket& socket) {
  struct stat info {};
  return lstat(path.c_str(), &info) == 0 && info.st_dev == socket.device && info.st_ino == socket.inode;
}

void remove_control_socket(const std::string& path, const BoundSocket& socket) {
  constexpr int tries = 3;  // EIO may pass
  for (int i = 0; i < tries; ++i) {
    struct stat info {};
    const bool seen = lstat(path.c_str(), &info) == 0;
    if (seen ? info.st_dev != socket.device || info.st_ino != socket.inode : errno == ENOENT) return;
    if (seen && unlink(path.c_str()) == 0) return;
  }
}

Result<Peer> peer_of(int fd) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0)
    return system_error("ask who is at a socket's other end", errno);
  return Peer{credentials.pid, credentials.uid, credentials.gid, groups_of(fd)};
}

bool is_allowed(const Peer& peer, uid_t own_uid, std::optional<gid_t> group) {
  if (peer.uid == 0 || peer.uid == own_uid) return true;
  if (!group) return false;
  return peer.gid == *group || std::find(peer.groups.begin(), peer.groups.end(), *group) != peer.groups.end();
}

}  // namespace muster::supervisor
