#include "lb/io.h"

#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "lb/tls_session.h"

#if defined(__SANITIZE_THREAD__)
#define MUSTER_TSAN
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define MUSTER_TSAN
#endif
#endif

namespace muster::lb {

namespace {
// recvfrom(2) and sendto(2) without an address. Not recv(3) and send(3): those are cancellation points, with two atomic
// operations around each call. Nobody cancels a traffic thread.
inline ssize_t move_now(long number, int fd, const void* bytes, std::size_t size, int flags) {
#if defined(__x86_64__) && !defined(MUSTER_TSAN)
  // What syscall(3) does, in place.
  long result = number;
  // Not const: the compiler would take the constants for the variables and put them into any registers.
  register long flags_given __asm__("r10") = flags;
  register long no_address __asm__("r8") = 0;
  register long no_length __asm__("r9") = 0;
  __asm__ volatile("syscall"
                   : "+a"(result)
                   : "D"(static_cast<long>(fd)), "S"(bytes), "d"(size), "r"(flags_given), "r"(no_address),
                     "r"(no_length)
                   : "rcx", "r11", "memory");
  if (result >= 0) return result;
  errno = static_cast<int>(-result);
  return -1;
#else
  return ::syscall(number, fd, bytes, size, flags, nullptr, nullptr);
#endif
}
ssize_t recv_now(int fd, std::span<char> into) {
  return move_now(SYS_recvfrom, fd, into.data(), into.size(), 0);
}
ssize_t send_now(int fd, std::string_view bytes, int flags) {
  return move_now(SYS_sendto, fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | flags);
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

namespace {
// What is rare has a function of its own: what is usual then saves no registers for it.
[[gnu::noinline]] std::ptrdiff_t receive_again(const Socket& socket, std::span<char> into) {
  if (errno == EINTR) return receive_plain(socket, into);
  const std::ptrdiff_t failed = outcome(-1);
  if (failed == io_blocked) socket.blocked(Direction::read);
  return failed;
}
[[gnu::noinline]] std::ptrdiff_t send_again(const Socket& socket, std::string_view bytes, int flags) {
  return errno == EINTR ? send_plain(socket, bytes, flags) : sent_outcome(socket, -1);
}
}  // namespace

std::ptrdiff_t receive_plain(const Socket& socket, std::span<char> into) {
  const ssize_t got = recv_now(socket.fd(), into);
  if (got < 0) return receive_again(socket, into);
  if (got > 0 && static_cast<std::size_t>(got) < into.size()) socket.read_short();
  return got;
}

std::ptrdiff_t send_plain(const Socket& socket, std::string_view bytes, int flags) {
  const ssize_t sent = send_now(socket.fd(), bytes, flags);
  return sent >= 0 ? sent : send_again(socket, bytes, flags);
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

namespace {
[[gnu::noinline]] bool send_parts_or_keep(const Socket& socket, std::string_view first,
                                          std::string_view second, Buffer& blocked, Then then) {
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
}  // namespace

bool send_or_keep(const Socket& socket, std::string_view first, std::string_view second, Buffer& blocked,
                  Then then) {
  const bool usual =
      blocked.empty() && second.empty() && !first.empty() && then == Then::more && socket.tls() == nullptr;
  if (!usual) return send_parts_or_keep(socket, first, second, blocked, then);
  const std::ptrdiff_t sent = send_plain(socket, first);
  if (sent == static_cast<std::ptrdiff_t>(first.size())) return true;
  if (sent == io_failed) return false;
  blocked.append(first.substr(static_cast<std::size_t>(std::max<std::ptrdiff_t>(sent, 0))));
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
