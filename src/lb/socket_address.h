// A numeric socket address of IPv4 or IPv6.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

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

 private:
  sockaddr_in6 storage_{};  // the larger of the two
};

// The host part in text; "unknown" for a peer without one (a unix socket).
std::string host_text(const sockaddr_storage& address);

}  // namespace muster::lb
