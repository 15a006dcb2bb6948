// The header that proxies put in front of a stream to say who the client is: version 1, a line of text, and version 2,
// binary, of haproxy's proxy-protocol.txt. Pure.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "spec/spec.h"

namespace muster::lb {

// Both ends of a client's connection. Families other than AF_INET, AF_INET6 and AF_UNIX: not known.
struct ProxyAddresses {
  sockaddr_storage source{};
  sockaddr_storage destination{};
};

enum class ProxyState : std::uint8_t { complete, need_more, bad };

struct ProxyVerdict {
  ProxyState state = ProxyState::bad;
  std::size_t bytes = 0;  // complete: its length
  // None: it does not say (UNKNOWN, LOCAL, UNSPEC), and the connection's own addresses hold.
  std::optional<ProxyAddresses> addresses = std::nullopt;
};

// Of the beginning of a stream. A header has at most limits::proxy_header_bytes_max bytes, one of version 1 at most
// 107. What version 2 says beside the addresses is skipped.
ProxyVerdict parse_proxy_header(std::string_view bytes);

// `version` is not none. Version 1 knows no unix sockets: UNKNOWN. Where the two ends are not of one known family,
// neither version names them.
std::string write_proxy_header(spec::ProxyProtocol::Version version, const ProxyAddresses& addresses);

// That of a connection of our own, for nobody else: a health check. UNKNOWN in version 1, LOCAL in version 2.
std::string own_proxy_header(spec::ProxyProtocol::Version version);

}  // namespace muster::lb
