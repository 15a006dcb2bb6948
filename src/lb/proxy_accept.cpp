#include "lb/proxy_accept.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "base/limits.h"
#include "lb/proxy_header.h"

namespace muster::lb {

namespace {
ProxyAddresses addresses_of(int fd) {
  ProxyAddresses addresses;
  socklen_t length = sizeof addresses.source;
  ::getpeername(fd, reinterpret_cast<sockaddr*>(&addresses.source), &length);
  length = sizeof addresses.destination;
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&addresses.destination), &length);
  return addresses;
}

ssize_t peek(int fd, std::span<char> into) {
  for (;;) {
    const ssize_t got = ::recv(fd, into.data(), into.size(), MSG_PEEK | MSG_DONTWAIT);
    if (got >= 0 || errno != EINTR) return got;
  }
}

// What was peeked at hides an end behind it.
bool has_ended(int fd) {
  pollfd about{.fd = fd, .events = POLLRDHUP, .revents = 0};
  return ::poll(&about, 1, 0) > 0;
}

enum class Taken : std::uint8_t {
  header,
  nothing_yet,
  nobody,  // the client went away without a byte
  none,    // something else, or half of one
};

// `seen`: bytes that were there the last time.
Taken take_header(Worker& worker, const Socket& socket, std::size_t& seen, ProxyAddresses& addresses) {
  const std::span<char> scratch = worker.scratch().first(limits::proxy_header_bytes_max);
  const ssize_t got = peek(socket.fd(), scratch);
  const bool is_over = got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK);
  if (is_over) return seen == 0 ? Taken::nobody : Taken::none;
  const std::size_t there = got < 0 ? 0 : static_cast<std::size_t>(got);
  const ProxyVerdict verdict = parse_proxy_header({scratch.data(), there});
  if (verdict.state == ProxyState::bad) return Taken::none;
  if (verdict.state == ProxyState::need_more) {
    if (there > 0 && has_ended(socket.fd())) {
      // All that came with the end is there now: its edge has been seen, and there will be no other.
      if (peek(socket.fd(), scratch) == got) return Taken::none;
      return take_header(worker, socket, seen, addresses);
    }
    seen = there;
    socket.blocked(Direction::read);
    return Taken::nothing_yet;
  }
  // What lies behind it stays where it is: a TLS handshake may follow.
  if (::recv(socket.fd(), scratch.data(), verdict.bytes, MSG_DONTWAIT) != static_cast<ssize_t>(verdict.bytes))
    return Taken::none;
  socket.more_to_read();
  if (verdict.addresses) addresses = *verdict.addresses;
  return Taken::header;
}

Task<bool> await_header(Client& client, const Frontend& frontend, ProxyAddresses& addresses) {
  const Loop& loop = client.worker.loop();
  const Instant deadline = loop.now() + frontend.listener.timeout.head;
  std::size_t seen = 0;
  for (;;) {
    const Taken taken = take_header(client.worker, client.socket, seen, addresses);
    if (taken == Taken::header) co_return true;
    if (taken == Taken::nobody) co_return false;
    Waited waited = Waited::timed_out;
    if (taken == Taken::nothing_yet) {
      client.idle = seen == 0;
      const auto left = std::chrono::ceil<Millis>(deadline - loop.now());
      waited = co_await client.socket.readable(std::max(Millis::zero(), left));
      client.idle = false;
    }
    if (waited == Waited::ready) continue;
    client.carries_on = client.worker.giving_up();
    if (waited == Waited::timed_out) frontend.counters->refused.add();
    co_return false;
  }
}
}  // namespace

Task<bool> begin_proxied(Client& client, Ref<Frontend> frontend) {
  const spec::ProxyProtocol protocol = frontend->listener.proxy_protocol;
  ProxyAddresses addresses = addresses_of(client.socket.fd());
  if (protocol.in) {
    const bool taken = co_await await_header(client, *frontend, addresses);
    if (!taken) co_return false;
    client.address = Peer(addresses.source);
  }
  client.introduced = true;
  if (protocol.out != spec::ProxyProtocol::Version::none)
    client.proxy_header = std::make_unique<const std::string>(write_proxy_header(protocol.out, addresses));
  co_return true;
}

}  // namespace muster::lb
