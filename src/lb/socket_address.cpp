#include "lb/socket_address.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>

#include <array>
#include <cstring>
#include <string_view>

namespace muster::lb {

std::optional<SocketAddress> SocketAddress::parse(const std::string& host, std::uint16_t port) {
  SocketAddress address;
  const auto use = [&address](const auto& made) {
    std::memcpy(&address.storage_, &made, sizeof made);
    address.length_ = sizeof made;
  };
  if (host.starts_with('/')) {
    sockaddr_un local{};
    local.sun_family = AF_UNIX;
    if (host.size() >= sizeof local.sun_path) return std::nullopt;
    std::memcpy(local.sun_path, host.data(), host.size());
    use(local);
    return address;
  }
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(port);
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  if (::inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
    use(v4);
  } else if (::inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) == 1) {
    use(v6);
  } else {
    return std::nullopt;
  }
  return address;
}

bool SocketAddress::is_loopback() const {
  if (family() == AF_INET6)
    return IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6&>(storage_).sin6_addr);
  if (family() != AF_INET) return false;
  return ntohl(reinterpret_cast<const sockaddr_in&>(storage_).sin_addr.s_addr) >> 24U == IN_LOOPBACKNET;
}

void tune_tcp(int fd, bool is_loopback) {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (!is_loopback) return;
  // There is no network to be fair to: BBR, where it is the host's default, would only measure and pace. Reno is in
  // every kernel and allowed to everyone (tcp(7)).
  constexpr std::string_view reno = "reno";
  ::setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, reno.data(), reno.size());
}

Peer::Peer(const sockaddr_storage& address) {
  std::array<char, INET6_ADDRSTRLEN> written{};
  const void* raw = nullptr;
  if (address.ss_family == AF_INET) {
    raw = &reinterpret_cast<const sockaddr_in&>(address).sin_addr;
    bytes[10] = bytes[11] = 0xff;
    std::memcpy(bytes.data() + 12, raw, 4);
  } else if (address.ss_family == AF_INET6) {
    raw = &reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
    std::memcpy(bytes.data(), raw, bytes.size());
  }
  if (raw == nullptr || ::inet_ntop(address.ss_family, raw, written.data(), written.size()) == nullptr)
    return;
  text = written.data();
  known = true;
}

}  // namespace muster::lb
