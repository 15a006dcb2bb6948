// What all TLS connections of one listener have in common: certificates, versions, ciphers, session tickets and cache.
// One for all traffic threads, read-only but for OpenSSL's own locked parts. Which ciphers: Mozilla's intermediate
// profile without the finite-field Diffie-Hellman ones, whose key exchange a client can make the server pay for.
#pragma once

#include <memory>
#include <vector>

#include "base/result.h"
#include "lb/sni.h"
#include "spec/spec.h"

struct ssl_st;
struct ssl_ctx_st;

namespace muster::lb {

class TicketKeys;

struct FreesSsl {
  void operator()(ssl_st* connection) const noexcept;
  void operator()(ssl_ctx_st* context) const noexcept;
};
using SslPtr = std::unique_ptr<ssl_st, FreesSsl>;

class TlsContext {
 public:
  // An error when OpenSSL will not take what the spec was checked for: no memory.
  static Result<std::shared_ptr<const TlsContext>> create(std::shared_ptr<const spec::Tls> tls,
                                                          spec::ListenMode mode);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  // A server's side of one connection, without a BIO; null when there is no memory. Thread-safe. The connection must
  // not outlive the context.
  [[nodiscard]] SslPtr connection() const;
  // It is what `create` would make of these.
  [[nodiscard]] bool is_of(const spec::Tls& tls, spec::ListenMode mode) const;

 private:
  TlsContext(std::shared_ptr<const spec::Tls> tls, spec::ListenMode mode);
  Status fill();
  [[nodiscard]] Status configure(ssl_ctx_st* context) const;
  [[nodiscard]] Status add_authorities(ssl_ctx_st* context) const;
  static int on_server_name(ssl_st* connection, int* alert, void* self);

  const std::shared_ptr<const spec::Tls> tls_;
  const spec::ListenMode mode_;
  const SniTable sni_;
  const std::unique_ptr<TicketKeys> tickets_;
  // As sni_.sets(). Each connection begins in the first, and its tickets and cached sessions stay there.
  std::vector<std::unique_ptr<ssl_ctx_st, FreesSsl>> contexts_;
};

}  // namespace muster::lb
