// A TLS client on a socket of its own, blocking, by OpenSSL.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rig.h"
#include "support/certificates.h"

namespace muster::lb::test {

using testing_support::CertificateText;
using testing_support::make_certificate;

struct TlsClientOptions {
  std::string server_name = {};
  int min = TLS1_2_VERSION;
  int max = TLS1_3_VERSION;
  std::string ciphers = {};    // of TLS 1.2
  std::string protocols = {};  // of ALPN, each behind its length
  const CertificateText* certificate = nullptr;
  SSL_SESSION* session = nullptr;  // to take up again
  bool tickets = true;
};

// What read_message() of rig.h needs, and what TLS adds.
class TlsWire {
 public:
  TlsWire(Wire wire, const TlsClientOptions& options);
  ~TlsWire();
  TlsWire(const TlsWire&) = delete;
  TlsWire& operator=(const TlsWire&) = delete;
  TlsWire(std::uint16_t port, const TlsClientOptions& options) : TlsWire(Wire::to(port), options) {}

  [[nodiscard]] bool open() const { return open_; }  // the handshake is done
  [[nodiscard]] SSL* ssl() const { return ssl_.get(); }
  [[nodiscard]] Wire& wire() { return wire_; }
  bool send(std::string_view bytes);
  std::optional<std::string> until(std::string_view end);
  std::optional<std::string> exactly(std::size_t count);
  // All up to close_notify; none when the stream was cut.
  std::optional<std::string> rest();
  bool at_end();  // close_notify, or cut
  void end();     // close_notify
  void close() { wire_.close(); }
  std::string certificate_name() const;  // the common name of the server's
  // Taken once the server has answered something: TLS 1.3 sends tickets after the handshake.
  std::shared_ptr<SSL_SESSION> session() const;

 private:
  struct Frees {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  };
  std::optional<std::string> some();

  Wire wire_;
  std::unique_ptr<SSL_CTX, Frees> context_;
  std::unique_ptr<SSL, Frees> ssl_;
  std::shared_ptr<SSL_SESSION> session_;
  std::string kept_;
  bool open_ = false;
};

// One answer with Content-Length, or up to the end of the stream. None when it broke off.
std::optional<Message> read_answer(TlsWire& wire);

// A listener's `tls` from texts.
std::shared_ptr<spec::Tls> tls_of(const std::vector<CertificateText>& pairs,
                                  spec::TlsVersion min = spec::TlsVersion::tls1_2,
                                  const std::string& client_ca = {});

}  // namespace muster::lb::test
