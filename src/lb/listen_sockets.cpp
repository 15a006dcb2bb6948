#include "lb/listen_sockets.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "lb/socket_address.h"

namespace muster::lb {

namespace {
constexpr int backlog = 4096;  // the kernel cuts it to net.core.somaxconn
constexpr mode_t unix_socket_mode = 0660;

void set_flag(int fd, int level, int option) {
  const int on = 1;
  ::setsockopt(fd, level, option, &on, sizeof on);  // each is known to every kernel we run on
}

Error failed(const spec::BindAddress& address) {
  return system_error(address.text, errno);
}

Fd open_stream(int family) {
  return Fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

// With `shared`, another socket of ours may bind the same address.
Result<Fd> bind_inet(const spec::BindAddress& address, const SocketAddress& where, bool shared) {
  Fd fd = open_stream(where.family());
  if (!fd) return failed(address);
  set_flag(fd.get(), SOL_SOCKET, SO_REUSEADDR);  // TIME_WAIT of earlier connections does not count
  if (shared) set_flag(fd.get(), SOL_SOCKET, SO_REUSEPORT);
  if (where.family() == AF_INET6) set_flag(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY);
  tune_tcp(fd.get(), where.is_loopback());
  if (::bind(fd.get(), where.raw(), where.length()) != 0) return failed(address);
  return fd;
}

Result<std::vector<Fd>> open_inet(const spec::BindAddress& address, std::size_t threads, bool port_is_ours) {
  const auto where = SocketAddress::parse(address.host, address.port);
  if (!where) return Error{.message = address.text + ": not a numeric address"};
  if (!port_is_ours) {
    const auto probe = bind_inet(address, *where, false);
    if (!probe) return probe.error();
  }
  std::vector<Fd> sockets;
  for (std::size_t i = 0; i < threads; ++i) {
    auto fd = bind_inet(address, *where, true);
    if (!fd) return std::move(fd).error();
    sockets.push_back(std::move(fd).value());
  }
  for (const Fd& fd : sockets) {  // all are bound before the first takes connections
    if (::listen(fd.get(), backlog) != 0) return failed(address);
  }
  return sockets;
}

// One descriptor for each thread, all of one socket.
Result<std::vector<Fd>> share(const spec::BindAddress& address, Fd first, std::size_t threads) {
  std::vector<Fd> sockets;
  sockets.push_back(std::move(first));
  while (sockets.size() < threads) {
    Fd copy(::fcntl(sockets.front().get(), F_DUPFD_CLOEXEC, 0));
    if (!copy) return failed(address);
    sockets.push_back(std::move(copy));
  }
  return sockets;
}

sockaddr_un unix_address(const std::string& path) {
  sockaddr_un where{};
  where.sun_family = AF_UNIX;
  std::memcpy(where.sun_path, path.data(), path.size());
  return where;
}

// A file that nobody answers at is what a killed owner left.
Status remove_stale(const spec::BindAddress& address, const sockaddr_un& where) {
  struct stat info {};
  if (::lstat(address.path.c_str(), &info) != 0) return Unit{};  // bind says what is wrong, if anything
  if (!S_ISSOCK(info.st_mode)) return Error{.message = address.text + ": the file exists and is no socket"};
  const Fd probe = open_stream(AF_UNIX);
  if (!probe) return failed(address);
  const int connected = ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where);
  if (connected == 0 || errno != ECONNREFUSED) {
    errno = EADDRINUSE;
    return failed(address);
  }
  if (::unlink(address.path.c_str()) != 0) return failed(address);
  return Unit{};
}

Result<std::vector<Fd>> open_unix(const spec::BindAddress& address, std::size_t threads) {
  if (address.path.size() >= sizeof(sockaddr_un::sun_path))
    return Error{.message = address.text + ": a socket path has at most 107 bytes"};
  const sockaddr_un where = unix_address(address.path);
  if (Status status = remove_stale(address, where); !status) return std::move(status).error();
  Fd fd = open_stream(AF_UNIX);
  if (!fd || ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where) != 0)
    return failed(address);
  // Connecting is refused until listen(2), so nobody slips in before the mode is right.
  if (::chmod(address.path.c_str(), unix_socket_mode) != 0 || ::listen(fd.get(), backlog) != 0)
    return failed(address);
  return share(address, std::move(fd), threads);
}

Result<std::vector<Fd>> open_systemd(const spec::BindAddress& address, std::size_t threads,
                                     const std::vector<std::pair<std::string, int>>& systemd_fds) {
  for (const auto& [name, raw] : systemd_fds) {
    if (name != address.path) continue;
    Fd fd(::fcntl(raw, F_DUPFD_CLOEXEC, 0));
    if (!fd) return failed(address);
    if (const int flags = ::fcntl(fd.get(), F_GETFL);
        flags < 0 || ::fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) != 0)
      return failed(address);
    tune_tcp(fd.get(), false);
    return share(address, std::move(fd), threads);
  }
  return Error{.message = address.text +
                          ": the service manager passed no socket of this name (FileDescriptorName=)"};
}
}  // namespace

void drop(HandedListener handed) {
  constexpr std::string_view unix_prefix = "unix:";
  struct stat info {};
  if (handed.file == 0 || !handed.bind.starts_with(unix_prefix)) return;
  const std::string path = handed.bind.substr(unix_prefix.size());
  if (::lstat(path.c_str(), &info) == 0 && info.st_ino == handed.file) ::unlink(path.c_str());
}

BoundAddress::~BoundAddress() {
  if (!path_.empty() && !has_lost_file()) ::unlink(path_.c_str());
}

bool BoundAddress::has_lost_file() const {
  struct stat info {};
  return !path_.empty() && (::lstat(path_.c_str(), &info) != 0 || info.st_ino != inode_);
}

void BoundAddress::own_file(std::string path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return;
  path_ = std::move(path);
  inode_ = info.st_ino;
}

std::vector<std::size_t> BoundAddress::sockets_of(std::size_t thread) const {
  std::vector<std::size_t> of_thread;
  for (std::size_t socket = thread; socket < sockets_.size(); socket += threads_) of_thread.push_back(socket);
  return of_thread;
}

Fd BoundAddress::duplicate(std::size_t socket) const {
  return Fd(::fcntl(sockets_[socket].get(), F_DUPFD_CLOEXEC, 0));
}

HandedListener BoundAddress::give_up() {
  HandedListener handed{.bind = address_.text, .sockets = std::move(sockets_), .file = inode_};
  // Those of the threads are one socket.
  if (address_.kind != spec::BindAddress::Kind::inet) handed.sockets.resize(1);
  path_.clear();
  return handed;
}

Result<std::shared_ptr<BoundAddress>> take_address(const spec::BindAddress& address, HandedListener handed,
                                                   std::size_t threads) {
  if (handed.sockets.empty()) return Error{.message = address.text + ": no socket was handed over"};
  std::vector<Fd> sockets = std::move(handed.sockets);
  const auto where = address.kind == spec::BindAddress::Kind::inet
                         ? SocketAddress::parse(address.host, address.port)
                         : std::nullopt;
  const std::size_t before = sockets.size();
  while (sockets.size() < threads) {
    if (where) {
      auto own = bind_inet(address, *where, true);
      if (own && ::listen(own.value().get(), backlog) == 0) {
        sockets.push_back(std::move(own).value());
        continue;
      }
    }
    // Of a socket that may be only one, or where binding takes a right that is gone by now: two threads share it.
    Fd copy(::fcntl(sockets[sockets.size() % before].get(), F_DUPFD_CLOEXEC, 0));
    if (!copy) return failed(address);
    sockets.push_back(std::move(copy));
  }
  auto bound = std::make_shared<BoundAddress>(address, std::move(sockets), threads);
  if (handed.file != 0) {
    bound->path_ = address.path;
    bound->inode_ = handed.file;
  }
  return bound;
}

Result<std::shared_ptr<BoundAddress>> open_address(
    const spec::BindAddress& address, std::size_t threads, bool port_is_ours,
    const std::vector<std::pair<std::string, int>>& systemd_fds) {
  const auto open = [&]() -> Result<std::vector<Fd>> {
    switch (address.kind) {
      case spec::BindAddress::Kind::inet:
        return open_inet(address, threads, port_is_ours);
      case spec::BindAddress::Kind::unix_path:
        return open_unix(address, threads);
      case spec::BindAddress::Kind::systemd:
        return open_systemd(address, threads, systemd_fds);
    }
    return Error{.message = address.text + ": an unknown kind of address"};
  };
  auto sockets = open();
  if (!sockets) return std::move(sockets).error();
  auto bound = std::make_shared<BoundAddress>(address, std::move(sockets).value(), threads);
  if (address.kind == spec::BindAddress::Kind::unix_path) bound->own_file(address.path);
  return bound;
}

}  // namespace muster::lb
