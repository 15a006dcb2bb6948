// A numeric socket address of IPv4 or IPv6, or that of a unix socket.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>

namespace muster::lb {

class SocketAddress {
 public:
  // `host` is numeric and without brackets: "127.0.0.1", "::1"; or it is the path of a unix socket.
  static std::optional<SocketAddress> parse(const std::string& host, std::uint16_t port);

  [[nodiscard]] const sockaddr* raw() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  [[nodiscard]] socklen_t length() const { return length_; }
  [[nodiscard]] int family() const { return storage_.ss_family; }
  [[nodiscard]] bool is_local() const { return family() == AF_UNIX; }  // a unix socket
  [[nodiscard]] bool is_loopback() const;

 private:
  sockaddr_storage storage_{};
  socklen_t length_ = 0;
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
