#include "tls_client.h"

#include <gtest/gtest.h>
#include <openssl/err.h>

#include <array>

namespace muster::lb::test {

namespace {
void use(SSL_CTX* context, const CertificateText& pair) {
  using testing_support::detail::memory;
  const testing_support::detail::Owned<X509> cert(
      PEM_read_bio_X509(memory(pair.cert).get(), nullptr, nullptr, nullptr));
  const testing_support::detail::Owned<EVP_PKEY> key(
      PEM_read_bio_PrivateKey(memory(pair.key).get(), nullptr, nullptr, nullptr));
  EXPECT_EQ(SSL_CTX_use_certificate(context, cert.get()), 1);
  EXPECT_EQ(SSL_CTX_use_PrivateKey(context, key.get()), 1);
}
}  // namespace

TlsWire::TlsWire(Wire wire, const TlsClientOptions& options)
    : wire_(std::move(wire)), context_(SSL_CTX_new(TLS_client_method())) {
  SSL_CTX_set_min_proto_version(context_.get(), options.min);
  SSL_CTX_set_max_proto_version(context_.get(), options.max);
  SSL_CTX_set_session_cache_mode(context_.get(), SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  if (!options.tickets) SSL_CTX_set_options(context_.get(), SSL_OP_NO_TICKET);
  if (!options.ciphers.empty()) SSL_CTX_set_cipher_list(context_.get(), options.ciphers.c_str());
  if (options.certificate != nullptr) use(context_.get(), *options.certificate);
  SSL_CTX_sess_set_new_cb(context_.get(), [](SSL* ssl, SSL_SESSION* session) {
    static_cast<TlsWire*>(SSL_get_app_data(ssl))->session_.reset(session, SSL_SESSION_free);
    return 1;
  });
  ssl_.reset(SSL_new(context_.get()));
  SSL_set_app_data(ssl_.get(), this);
  if (!options.server_name.empty()) SSL_set_tlsext_host_name(ssl_.get(), options.server_name.c_str());
  if (!options.protocols.empty())
    SSL_set_alpn_protos(ssl_.get(), reinterpret_cast<const unsigned char*>(options.protocols.data()),
                        static_cast<unsigned>(options.protocols.size()));
  if (options.session != nullptr) SSL_set_session(ssl_.get(), options.session);
  SSL_set_fd(ssl_.get(), wire_.fd());
  ERR_clear_error();
  open_ = SSL_connect(ssl_.get()) == 1;
}

TlsWire::~TlsWire() {
  SSL_set_shutdown(ssl_.get(), SSL_SENT_SHUTDOWN);  // else OpenSSL never takes its session up again
}

bool TlsWire::send(std::string_view bytes) {
  ERR_clear_error();
  return bytes.empty() || SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size())) ==
                              static_cast<int>(bytes.size());
}

// "" at close_notify; none when the stream was cut.
std::optional<std::string> TlsWire::some() {
  std::string bytes(65536, '\0');
  ERR_clear_error();
  const int got = SSL_read(ssl_.get(), bytes.data(), static_cast<int>(bytes.size()));
  if (got <= 0)
    return SSL_get_error(ssl_.get(), got) == SSL_ERROR_ZERO_RETURN ? std::optional<std::string>("")
                                                                   : std::nullopt;
  bytes.resize(static_cast<std::size_t>(got));
  return bytes;
}

std::optional<std::string> TlsWire::until(std::string_view end) {
  for (std::size_t at = kept_.find(end);; at = kept_.find(end)) {
    if (at != std::string::npos) return exactly(at + end.size());
    const auto more = some();
    if (!more || more->empty()) return std::nullopt;
    kept_ += *more;
  }
}

std::optional<std::string> TlsWire::exactly(std::size_t count) {
  while (kept_.size() < count) {
    const auto more = some();
    if (!more || more->empty()) return std::nullopt;
    kept_ += *more;
  }
  std::string result = kept_.substr(0, count);
  kept_.erase(0, count);
  return result;
}

std::optional<std::string> TlsWire::rest() {
  for (;;) {
    const auto more = some();
    if (!more) return std::nullopt;
    if (more->empty()) return std::exchange(kept_, {});
    kept_ += *more;
  }
}

bool TlsWire::at_end() {
  for (;;) {
    const auto more = some();
    if (!more) return SSL_get_error(ssl_.get(), -1) != SSL_ERROR_WANT_READ;
    if (more->empty()) return true;
  }
}

void TlsWire::end() {
  SSL_shutdown(ssl_.get());
}

std::string TlsWire::certificate_name() const {
  const testing_support::detail::Owned<X509> certificate(SSL_get1_peer_certificate(ssl_.get()));
  std::array<char, 256> name{};
  X509_NAME_get_text_by_NID(X509_get_subject_name(certificate.get()), NID_commonName, name.data(),
                            static_cast<int>(name.size()));
  return name.data();
}

std::shared_ptr<SSL_SESSION> TlsWire::session() const {
  return session_;
}

std::optional<Message> read_answer(TlsWire& wire) {
  Message message;
  const auto head = wire.until("\r\n\r\n");
  if (!head) return std::nullopt;
  message.head = head->substr(0, head->size() - 2);
  const std::string length = message.field("content-length");
  const auto body = length.empty() ? wire.rest() : wire.exactly(std::stoul(length));
  if (!body) return std::nullopt;
  message.body = *body;
  return message;
}

std::shared_ptr<spec::Tls> tls_of(const std::vector<CertificateText>& pairs, spec::TlsVersion min,
                                  const std::string& client_ca) {
  auto tls = std::make_shared<spec::Tls>();
  tls->min = min;
  for (const CertificateText& pair : pairs) {
    auto chain = spec::parse_certificates(pair.cert);
    auto key = spec::parse_private_key(pair.key);
    auto joined = spec::Certificate::join(std::move(chain).value(), std::move(key).value());
    tls->certificates.push_back(std::move(joined).value());
  }
  if (!client_ca.empty()) {
    auto authorities = spec::parse_certificates(client_ca);
    tls->client_ca = std::move(authorities).value();
  }
  return tls;
}

}  // namespace muster::lb::test
