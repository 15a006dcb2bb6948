#include "spec/certificate.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <limits>

#include "fmt/core.h"

namespace muster::spec {

void FreesOpenSsl::operator()(x509_st* certificate) const noexcept {
  X509_free(certificate);
}
void FreesOpenSsl::operator()(evp_pkey_st* key) const noexcept {
  EVP_PKEY_free(key);
}

namespace {

struct FreesOthers {
  void operator()(BIO* bio) const noexcept { BIO_free(bio); }
  void operator()(SSL_CTX* context) const noexcept { SSL_CTX_free(context); }
  void operator()(GENERAL_NAMES* names) const noexcept { GENERAL_NAMES_free(names); }
  void operator()(STACK_OF(X509) * stack) const noexcept { sk_X509_free(stack); }
};
template <typename T>
using Owned = std::unique_ptr<T, FreesOthers>;

// Without the system's openssl.cnf: what a listener speaks is said in the spec alone. Without OpenSSL's own atexit(3)
// handler: traffic threads may still run then.
void init_once() {
  static const int done = OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT, nullptr);
  static_cast<void>(done);
}

Owned<BIO> reads(std::string_view text) {
  init_once();
  ERR_clear_error();
  if (text.size() > std::numeric_limits<int>::max()) text = {};
  return Owned<BIO>(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// What OpenSSL has against it; the queue of its errors is empty afterwards.
std::string take_reason() {
  const char* reason = ERR_reason_error_string(ERR_peek_last_error());
  std::string text = reason == nullptr ? "unknown error" : reason;
  ERR_clear_error();
  return text;
}

bool at_end_of_pem() {
  const unsigned long code = ERR_peek_last_error();
  return code == 0 || (ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE);
}

Error bad(std::string what) {
  return {.message = std::move(what), .code = ExitCode::bad_spec};
}

// Asked for the passphrase of an encrypted key: there is nobody to ask.
int no_passphrase(char* /*buffer*/, int /*size*/, int /*writing*/, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

std::string lowered(const ASN1_STRING* text) {
  std::string made(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                   static_cast<std::size_t>(ASN1_STRING_length(text)));
  for (char& c : made) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return made.find('\0') == std::string::npos ? made : std::string();
}

std::vector<std::string> names_of(x509_st* certificate) {
  std::vector<std::string> names;
  const auto add = [&names](std::string name) {
    if (!name.empty() && std::ranges::find(names, name) == names.end()) names.push_back(std::move(name));
  };
  const Owned<GENERAL_NAMES> alternatives(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; i < sk_GENERAL_NAME_num(alternatives.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(alternatives.get(), i);
    if (name->type == GEN_DNS) add(lowered(name->d.dNSName));
  }
  if (alternatives != nullptr) return names;
  const X509_NAME* subject = X509_get_subject_name(certificate);
  const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at >= 0) add(lowered(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at))));
  return names;
}

WallTime wall_time(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return {};
  // A date beyond what the clock's type holds (year 2262) is its last.
  const auto last = std::chrono::time_point_cast<std::chrono::seconds>(WallTime::max());
  return std::min(std::chrono::sys_seconds(std::chrono::seconds(::timegm(&parts))), last);
}

// As a TLS server would take them.
bool usable(const std::vector<CertificatePtr>& chain, evp_pkey_st* key) {
  const Owned<SSL_CTX> context(SSL_CTX_new(TLS_server_method()));
  const Owned<STACK_OF(X509)> rest(sk_X509_new_null());
  for (std::size_t i = 1; i < chain.size(); ++i) sk_X509_push(rest.get(), chain[i].get());
  return SSL_CTX_use_cert_and_key(context.get(), chain.front().get(), key, rest.get(), 1) == 1;
}

}  // namespace

Result<std::vector<CertificatePtr>> parse_certificates(std::string_view pem) {
  const Owned<BIO> text = reads(pem);
  std::vector<CertificatePtr> found;
  while (CertificatePtr one{PEM_read_bio_X509_AUX(text.get(), nullptr, nullptr, nullptr)})
    found.push_back(std::move(one));
  if (!at_end_of_pem())
    return bad(fmt::format("certificate {} cannot be read: {}", found.size() + 1, take_reason()));
  ERR_clear_error();
  if (found.empty()) return bad("it holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)");
  return found;
}

Result<PrivateKeyPtr> parse_private_key(std::string_view pem) {
  const Owned<BIO> text = reads(pem);
  bool needs_passphrase = false;
  PrivateKeyPtr key(PEM_read_bio_PrivateKey(text.get(), nullptr, no_passphrase, &needs_passphrase));
  if (key) return key;
  if (needs_passphrase) {
    ERR_clear_error();
    return bad("the key is encrypted, and nobody is there to type its passphrase");
  }
  if (pem.find("PRIVATE KEY-----") == std::string_view::npos) {
    ERR_clear_error();
    return bad("it holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)");
  }
  return bad(fmt::format("the private key cannot be read: {}", take_reason()));
}

Certificate::Certificate(std::vector<CertificatePtr> chain, PrivateKeyPtr key)
    : chain_(std::move(chain)),
      key_(std::move(key)),
      names_(names_of(chain_.front().get())),
      not_before_(wall_time(X509_get0_notBefore(chain_.front().get()))),
      not_after_(wall_time(X509_get0_notAfter(chain_.front().get()))),
      key_type_(EVP_PKEY_get_base_id(key_.get())) {}

Result<std::shared_ptr<const Certificate>> Certificate::join(std::vector<CertificatePtr> chain,
                                                             PrivateKeyPtr key) {
  const auto belongs = [&key](const CertificatePtr& one) {
    return X509_check_private_key(one.get(), key.get()) == 1;
  };
  if (!belongs(chain.front())) {
    const bool later = std::ranges::any_of(chain, belongs);
    ERR_clear_error();
    return bad(later ? "the key belongs to a later certificate of the chain: the server's own comes first"
                     : "the key does not belong to the certificate");
  }
  if (!usable(chain, key.get())) return bad(fmt::format("TLS cannot use the certificate: {}", take_reason()));
  return std::shared_ptr<const Certificate>(new Certificate(std::move(chain), std::move(key)));
}

bool same_certificates(const std::vector<CertificatePtr>& one, const std::vector<CertificatePtr>& other) {
  return std::ranges::equal(one, other, [](const CertificatePtr& a, const CertificatePtr& b) {
    return X509_cmp(a.get(), b.get()) == 0;
  });
}

std::string fingerprint_of(const x509_st& certificate) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int length = 0;
  std::string hex;
  if (X509_digest(&certificate, EVP_sha256(), digest.data(), &length) != 1) return hex;
  for (std::size_t at = 0; at < 4; ++at) hex += fmt::format("{:02x}", digest[at]);
  return hex;
}

std::string Certificate::fingerprint() const {
  return fingerprint_of(*chain_.front());
}

bool Certificate::operator==(const Certificate& other) const {
  return same_certificates(chain_, other.chain_);
}

}  // namespace muster::spec
