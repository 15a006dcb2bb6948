// Sockets of 127.0.0.1 and ::1 for tests.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>

#include "base/check.h"
#include "base/fd.h"

namespace muster::testing_support {

struct Listening {
  Fd fd;
  std::uint16_t port = 0;
};

// Listens on 127.0.0.1 (or ::1) at a port that the kernel picks, or at the one that is asked for.
inline Listening listen_on(bool v6 = false, std::uint16_t port = 0) {
  Listening made;
  made.fd.reset(::socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_storage storage{};
  socklen_t length = 0;
  if (v6) {
    auto* address = reinterpret_cast<sockaddr_in6*>(&storage);
    address->sin6_family = AF_INET6;
    address->sin6_addr = in6addr_loopback;
    address->sin6_port = htons(port);
    length = sizeof *address;
  } else {
    auto* address = reinterpret_cast<sockaddr_in*>(&storage);
    address->sin_family = AF_INET;
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address->sin_port = htons(port);
    length = sizeof *address;
  }
  auto* generic = reinterpret_cast<sockaddr*>(&storage);
  MUSTER_CHECK(::bind(made.fd.get(), generic, length) == 0);
  MUSTER_CHECK(::listen(made.fd.get(), 64) == 0);
  MUSTER_CHECK(::getsockname(made.fd.get(), generic, &length) == 0);
  made.port = ntohs(v6 ? reinterpret_cast<sockaddr_in6*>(&storage)->sin6_port
                       : reinterpret_cast<sockaddr_in*>(&storage)->sin_port);
  return made;
}

}  // namespace muster::testing_support
