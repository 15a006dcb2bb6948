#include "lb/io.h"

#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "lb/tls_session.h"

namespace muster::lb {

namespace {
// Not recv(3) and send(3): those are cancellation points, with two atomic operations around each call. Nobody cancels a
// traffic thread.
ssize_t recv_now(int fd, std::span<char> into) {
  return ::syscall(SYS_recvfrom, fd, into.data(), into.size(), 0, nullptr, nullptr);
}
ssize_t send_now(int fd, std::string_view bytes, int flags) {
  return ::syscall(SYS_sendto, fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | flags, nullptr, 0);
}

std::ptrdiff_t outcome(ssize_t moved) {
  if (moved >= 0) return moved;
  return errno == EAGAIN || errno == EWOULDBLOCK ? io_blocked : io_failed;
}

std::ptrdiff_t sent_outcome(const Socket& socket, ssize_t sent) {
  const std::ptrdiff_t moved = outcome(sent);
  if (moved == io_blocked) socket.blocked(Direction::write);
  return moved;
}

iovec part(std::string_view bytes) {
  return {.iov_base = const_cast<char*>(bytes.data()),
          .iov_len = bytes.size()};  // sendmsg(2) does not write to it
}
}  // namespace

std::ptrdiff_t receive(const Socket& socket, std::span<char> into) {
  if (TlsSession* const tls = socket.tls()) return tls->receive(socket, into);
  return receive_plain(socket, into);
}

std::ptrdiff_t send_some(const Socket& socket, std::string_view bytes, int flags) {
  if (TlsSession* const tls = socket.tls()) return tls->send(socket, bytes, {});
  return send_plain(socket, bytes, flags);
}

std::ptrdiff_t receive_plain(const Socket& socket, std::span<char> into) {
  for (;;) {
    const ssize_t got = recv_now(socket.fd(), into);
    if (got < 0 && errno == EINTR) continue;
    const std::ptrdiff_t moved = outcome(got);
    if (moved == io_blocked) socket.blocked(Direction::read);
    if (moved > 0 && static_cast<std::size_t>(moved) < into.size()) socket.read_short();
    return moved;
  }
}

std::ptrdiff_t send_plain(const Socket& socket, std::string_view bytes, int flags) {
  for (;;) {
    const ssize_t sent = send_now(socket.fd(), bytes, flags);
    if (sent >= 0 || errno != EINTR) return sent_outcome(socket, sent);
  }
}

std::ptrdiff_t send_some(const Socket& socket, std::string_view first, std::string_view second, int flags) {
  if (second.empty()) return send_some(socket, first, flags);
  if (first.empty()) return send_some(socket, second, flags);
  if (TlsSession* const tls = socket.tls()) return tls->send(socket, first, second);
  std::array<iovec, 2> parts{part(first), part(second)};
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  for (;;) {
    const ssize_t sent = ::sendmsg(socket.fd(), &message, MSG_NOSIGNAL | flags);
    if (sent >= 0 || errno != EINTR) return sent_outcome(socket, sent);
  }
}

bool send_or_keep(const Socket& socket, std::string_view first, std::string_view second, Buffer& blocked,
                  Then then) {
  if (!blocked.empty()) {  // order is kept
    blocked.append(first);
    blocked.append(second);
    return true;
  }
  if (first.empty() && second.empty()) return true;
  const std::ptrdiff_t outcome = send_some(socket, first, second, then == Then::end ? MSG_MORE : 0);
  if (outcome == io_failed) return false;
  const auto sent = static_cast<std::size_t>(outcome == io_blocked ? 0 : outcome);
  if (sent < first.size()) {
    blocked.append(first.substr(sent));
    blocked.append(second);
  } else if (sent < first.size() + second.size()) {
    blocked.append(second.substr(sent - first.size()));
  } else if (then == Then::end && socket.tls() == nullptr) {
    ::shutdown(socket.fd(), SHUT_WR);
  }
  return true;
}

Task<bool> flush(Socket& socket, Buffer& bytes, Millis limit) {
  std::size_t sent = 0;
  while (sent < bytes.size()) {
    const std::ptrdiff_t moved = send_some(socket, bytes.view().substr(sent));
    if (moved == io_failed) break;
    if (moved == io_blocked) {
      const Waited waited = co_await socket.writable(limit);
      if (waited != Waited::ready) break;
    } else {
      sent += static_cast<std::size_t>(moved);
    }
  }
  const bool all = sent == bytes.size();
  bytes.consume(sent);
  if (all) bytes.release();
  co_return all;
}

Task<> end_output(Socket& socket, Millis limit) {
  if (TlsSession* const tls = socket.tls()) {
    for (;;) {
      const TlsSession::Step step = tls->end(socket);
      if (step == TlsSession::Step::done) break;
      if (step != TlsSession::Step::wants_write) co_return;
      const Waited waited = co_await socket.writable(limit);
      if (waited != Waited::ready) co_return;
    }
  }
  ::shutdown(socket.fd(), SHUT_WR);
}

Task<> linger(Socket& socket, std::span<char> scratch) {
  constexpr Millis pause{500};
  constexpr int rounds_max = 64;  // 4 MiB at most, 500 ms without a byte at most
  co_await end_output(socket, pause);
  for (int round = 0; round < rounds_max; ++round) {
    const std::ptrdiff_t got = receive_plain(socket, scratch);
    if (got == 0 || got == io_failed) co_return;
    if (got != io_blocked) continue;
    const Waited waited = co_await socket.readable(pause);
    if (waited != Waited::ready) co_return;
  }
}

}  // namespace muster::lb
