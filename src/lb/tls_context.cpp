#include "lb/tls_context.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <string_view>

#include "base/limits.h"
#include "lb/ticket_keys.h"

namespace muster::lb {

void FreesSsl::operator()(ssl_st* connection) const noexcept {
  SSL_free(connection);
}
void FreesSsl::operator()(ssl_ctx_st* context) const noexcept {
  SSL_CTX_free(context);
}

namespace {

constexpr const char* ciphers_1_2 =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
constexpr const char* ciphers_1_3 =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
constexpr const char* groups = "X25519:P-256:P-384";
// Sessions never leave their listener, because neither do its ticket keys and its cache.
constexpr std::string_view session_id_context = "muster";
// RFC 7301 3.1: each name behind its length.
constexpr std::string_view protocols = "\x08http/1.1\x08http/1.0";

const unsigned char* bytes_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

Error openssl_error(std::string_view what) {
  const char* reason = ERR_reason_error_string(ERR_peek_last_error());
  ERR_clear_error();
  return {.message = std::string(what) + ": " + (reason == nullptr ? "out of memory" : reason)};
}

std::vector<NamedCertificate> named(const spec::Tls& tls) {
  std::vector<NamedCertificate> all;
  for (const auto& certificate : tls.certificates)
    all.push_back({.names = certificate->names(), .key_type = certificate->key_type()});
  return all;
}

// RFC 7301 3.2: a client that speaks none of ours is told so.
int on_protocols(ssl_st* /*connection*/, const unsigned char** chosen, unsigned char* chosen_bytes,
                 const unsigned char* offered, unsigned offered_bytes, void* /*nothing*/) {
  unsigned char* found = nullptr;
  const int outcome = SSL_select_next_proto(&found, chosen_bytes, bytes_of(protocols),
                                            static_cast<unsigned>(protocols.size()), offered, offered_bytes);
  *chosen = found;
  return outcome == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

bool start_mac(EVP_MAC_CTX* mac, TicketKey& key) {
  std::string digest = "SHA256";
  const std::array<OSSL_PARAM, 3> parameters{
      OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key.mac.data(), key.mac.size()),
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest.data(), 0), OSSL_PARAM_construct_end()};
  return EVP_MAC_CTX_set_params(mac, parameters.data()) == 1;
}

// SSL_CTX_set_tlsext_ticket_key_evp_cb(3): 0 = no ticket, or not ours; 1 = go on; 2 = and make a new one; -1 = failed.
int on_ticket(ssl_st* connection, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher,
              EVP_MAC_CTX* mac, int encrypting) {
  auto* keys = static_cast<TicketKeys*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(connection)));
  const Instant now = std::chrono::steady_clock::now();
  if (encrypting != 0) {
    auto key = keys->current(now);
    if (!key || RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1) return 0;
    std::ranges::copy(key->name, name);
    const bool ready = EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), nullptr, key->cipher.data(), iv) == 1;
    return ready && start_mac(mac, *key) ? 1 : -1;
  }
  auto found = keys->find(std::span<const unsigned char, 16>(name, 16), now);
  if (!found) return 0;
  const bool ready =
      EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), nullptr, found->key.cipher.data(), iv) == 1;
  if (!ready || !start_mac(mac, found->key)) return -1;
  // RFC 8446 C.4: a client uses each ticket once, so it needs the next.
  return found->is_old || SSL_version(connection) == TLS1_3_VERSION ? 2 : 1;
}

bool add_certificate(ssl_ctx_st* context, const spec::Certificate& certificate) {
  const auto& chain = certificate.chain();
  STACK_OF(X509)* rest = sk_X509_new_null();
  for (std::size_t i = 1; i < chain.size(); ++i) sk_X509_push(rest, chain[i].get());
  const int added = SSL_CTX_use_cert_and_key(context, chain.front().get(), certificate.key(), rest, 1);
  sk_X509_free(rest);  // the certificates themselves are counted
  return added == 1;
}

}  // namespace

TlsContext::TlsContext(std::shared_ptr<const spec::Tls> tls, spec::ListenMode mode)
    : tls_(std::move(tls)), mode_(mode), sni_(named(*tls_)), tickets_(std::make_unique<TicketKeys>()) {}
TlsContext::~TlsContext() = default;

Result<std::shared_ptr<const TlsContext>> TlsContext::create(std::shared_ptr<const spec::Tls> tls,
                                                             spec::ListenMode mode) {
  std::shared_ptr<TlsContext> made(new TlsContext(std::move(tls), mode));
  if (Status filled = made->fill(); !filled) return std::move(filled).error();
  return std::shared_ptr<const TlsContext>(std::move(made));
}

bool TlsContext::is_of(const spec::Tls& tls, spec::ListenMode mode) const {
  return mode == mode_ && tls == *tls_;
}

Status TlsContext::fill() {
  for (const auto& set : sni_.sets()) {
    contexts_.emplace_back(SSL_CTX_new(TLS_server_method()));
    ssl_ctx_st* context = contexts_.back().get();
    if (context == nullptr) return openssl_error("a TLS context");
    if (Status configured = configure(context); !configured) return configured;
    for (const std::size_t i : set)
      if (!add_certificate(context, *tls_->certificates[i])) return openssl_error("a certificate");
  }
  SSL_CTX_set_tlsext_servername_callback(contexts_.front().get(), &TlsContext::on_server_name);
  SSL_CTX_set_tlsext_servername_arg(contexts_.front().get(), this);
  return Unit{};
}

Status TlsContext::configure(ssl_ctx_st* context) const {
  const int oldest = tls_->min == spec::TlsVersion::tls1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;
  const bool set = SSL_CTX_set_min_proto_version(context, oldest) == 1 &&
                   SSL_CTX_set_cipher_list(context, ciphers_1_2) == 1 &&
                   SSL_CTX_set_ciphersuites(context, ciphers_1_3) == 1 &&
                   SSL_CTX_set1_groups_list(context, groups) == 1 &&
                   SSL_CTX_set_session_id_context(context, bytes_of(session_id_context),
                                                  static_cast<unsigned>(session_id_context.size())) == 1 &&
                   SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket) == 1;
  if (!set) return openssl_error("a TLS context");
  SSL_CTX_set_app_data(context, tickets_.get());
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_read_ahead(context, 1);  // one recv(2) for all that is there, not two for each record
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_SERVER);
  SSL_CTX_sess_set_cache_size(context, limits::tls_sessions_max);
  if (mode_ == spec::ListenMode::http) SSL_CTX_set_alpn_select_cb(context, on_protocols, nullptr);
  return tls_->client_ca.empty() ? Status(Unit{}) : add_authorities(context);
}

Status TlsContext::add_authorities(ssl_ctx_st* context) const {
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  for (const spec::CertificatePtr& authority : tls_->client_ca) {
    const bool added = X509_STORE_add_cert(store, authority.get()) == 1 &&
                       SSL_CTX_add_client_CA(context, authority.get()) == 1;
    if (!added) return openssl_error("a certificate of `client_ca`");
  }
  // Any certificate that is named may be the end of a chain, not only a root.
  X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  return Unit{};
}

int TlsContext::on_server_name(ssl_st* connection, int* /*alert*/, void* self) {
  const auto& context = *static_cast<const TlsContext*>(self);
  const char* name = SSL_get_servername(connection, TLSEXT_NAMETYPE_host_name);
  if (name == nullptr) return SSL_TLSEXT_ERR_NOACK;
  SSL_set_SSL_CTX(connection, context.contexts_[context.sni_.find(name)].get());
  return SSL_TLSEXT_ERR_OK;
}

SslPtr TlsContext::connection() const {
  return SslPtr(SSL_new(contexts_.front().get()));
}

}  // namespace muster::lb
