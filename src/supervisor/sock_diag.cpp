#include "supervisor/sock_diag.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include "base/fd.h"

namespace muster::supervisor {

namespace {

constexpr std::size_t reply_bytes = 32U << 10U;  // what the kernel fills at most per message
constexpr suseconds_t wait_usec_max = 200'000;   // the kernel answers within the call that asks

bool ask(int fd, unsigned char family) {
  struct {
    nlmsghdr header{};
    inet_diag_req_v2 request{};
  } message;
  message.header.nlmsg_len = sizeof message;
  message.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  message.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  message.request.sdiag_family = family;
  message.request.sdiag_protocol = IPPROTO_TCP;
  message.request.idiag_states = 1U << TCP_LISTEN;
  return ::send(fd, &message, sizeof message, MSG_NOSIGNAL) == sizeof message;
}

std::optional<ListeningSocket> socket_of(const inet_diag_msg& told) {
  std::array<char, INET6_ADDRSTRLEN> printed{};
  const int family = told.idiag_family;
  if (inet_ntop(family, &told.id.idiag_src, printed.data(), printed.size()) == nullptr) return std::nullopt;
  return ListeningSocket{
      .address = printed.data(), .port = ntohs(told.id.idiag_sport), .inode = told.idiag_inode};
}

enum class Read { more, done, failed };

// Netlink messages are aligned to 4 bytes; they are copied out, so that nothing depends on the buffer's alignment.
Read take(std::string_view bytes, std::vector<ListeningSocket>& to) {
  while (bytes.size() >= sizeof(nlmsghdr)) {
    nlmsghdr header{};
    std::memcpy(&header, bytes.data(), sizeof header);
    if (header.nlmsg_len < sizeof header || header.nlmsg_len > bytes.size()) return Read::failed;
    if (header.nlmsg_type == NLMSG_DONE) return Read::done;
    if (header.nlmsg_type == NLMSG_ERROR) return Read::failed;
    if (header.nlmsg_type == SOCK_DIAG_BY_FAMILY) {
      inet_diag_msg told{};
      if (header.nlmsg_len < NLMSG_HDRLEN + sizeof told) return Read::failed;
      std::memcpy(&told, bytes.data() + NLMSG_HDRLEN, sizeof told);
      if (auto socket = socket_of(told)) to.push_back(std::move(*socket));
    }
    bytes.remove_prefix(std::min<std::size_t>(NLMSG_ALIGN(header.nlmsg_len), bytes.size()));
  }
  return Read::more;
}

bool dump(int fd, unsigned char family, std::vector<ListeningSocket>& to) {
  if (!ask(fd, family)) return false;
  std::vector<char> buffer(reply_bytes);
  for (;;) {
    const auto got = ::recv(fd, buffer.data(), buffer.size(), 0);
    if (got <= 0) return false;
    switch (take(std::string_view(buffer.data(), static_cast<std::size_t>(got)), to)) {
      case Read::done:
        return true;
      case Read::failed:
        return false;
      case Read::more:
        break;
    }
  }
}

}  // namespace

std::optional<std::vector<ListeningSocket>> listening_by_sock_diag() {
  const Fd fd(::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!fd) return std::nullopt;
  const timeval limit{.tv_sec = 0, .tv_usec = wait_usec_max};
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0) return std::nullopt;
  std::vector<ListeningSocket> sockets;
  if (!dump(fd.get(), AF_INET, sockets) || !dump(fd.get(), AF_INET6, sockets)) return std::nullopt;
  return sockets;
}

}  // namespace muster::supervisor
