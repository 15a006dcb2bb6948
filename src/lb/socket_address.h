// A numeric socket address of IPv4 or IPv6.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>

namespace muster::lb {

class SocketAddress {
 public:
  // `host` is numeric and without brackets: "127.0.0.1", "::1".
  static std::optional<SocketAddress> parse(const std::string& host, std::uint16_t port);

  [[nodiscard]] const sockaddr* raw() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  [[nodiscard]] socklen_t length() const {
    return family() == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  }
  [[nodiscard]] int family() const { return storage_.sin6_family; }
  [[nodiscard]] bool is_loopback() const;

 private:
  sockaddr_in6 storage_{};  // the larger of the two
};

// TCP_NODELAY, and for a connection that does not leave this machine no pacing. On a listening socket: for those it
// accepts.
void tune_tcp(int fd, bool is_loopback);

// Who is at the other end of a connection.
struct Peer {
  Peer() = default;
  explicit Peer(const sockaddr_storage& address);
  std::string text = "unknown";          // the host part; a peer of a unix socket has none
  std::array<std::uint8_t, 16> bytes{};  // of the address; IPv4 as ::ffff:a.b.c.d
  bool known = false;
};

}  // namespace muster::lb
