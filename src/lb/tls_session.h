// TLS of one connection over its socket. What moves bytes (lb/io.h) asks the socket for it and is otherwise the same;
// readiness stays the socket's: whatever lies decrypted or undecrypted in here counts as readable.
//
// How a stream ends: close_notify (RFC 8446 6.1) is its end, as FIN is that of a plain one. A connection that ends
// without it was cut, perhaps by somebody in between, and is reported as failed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "lb/socket.h"
#include "lb/tls_context.h"

namespace muster::lb {

class TlsSession {
 public:
  enum class Step : std::uint8_t { done, wants_read, wants_write, failed, plain_http };

  // Null: no memory.
  static std::unique_ptr<TlsSession> begin(std::shared_ptr<const TlsContext> context);
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;
  ~TlsSession();

  // Each call names the socket that this session belongs to, and never waits.
  Step shake_hands(const Socket& socket);
  // As receive() and send_some() of lb/io.h.
  std::ptrdiff_t receive(const Socket& socket, std::span<char> into);
  std::ptrdiff_t send(const Socket& socket, std::string_view first, std::string_view second);
  // Says close_notify, once: wants_write when it has to wait for room. `failed`: there is nobody to say it to.
  Step end(const Socket& socket);
  // Nothing is said any more: the connection is to look cut.
  void abandon() noexcept { broken_ = true; }

 private:
  class Use;
  friend struct TlsBio;
  TlsSession(std::shared_ptr<const TlsContext> context, SslPtr ssl);
  std::ptrdiff_t failed(const Socket& socket, int returned, Direction direction);

  const std::shared_ptr<const TlsContext> context_;
  const SslPtr ssl_;
  const Socket* socket_ = nullptr;  // during a call
  bool drained_ = false;            // in this call: the kernel has no more to read
  bool broken_ = false;
  bool ended_ = false;  // close_notify was said
};

}  // namespace muster::lb
