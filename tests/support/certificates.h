// Certificates for tests, made anew in each run: PEM texts, valid for thirty years from yesterday on.
#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"

namespace muster::testing_support {

struct CertificateText {
  std::string cert;
  std::string key;
};

struct CertificateOptions {
  std::vector<std::string> names = {};  // dNSNames
  std::string common_name = "test";
  int rsa_bits = 0;  // 0: an EC key of P-256
  bool authority = false;
  const CertificateText* issuer = nullptr;  // null: it signs itself
  long valid_from_s = -86400;               // from now on
  long valid_until_s = 30L * 365 * 86400;
};

namespace detail {
struct Frees {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(X509_EXTENSION* extension) const { X509_EXTENSION_free(extension); }
};
template <typename T>
using Owned = std::unique_ptr<T, Frees>;

inline Owned<BIO> memory(std::string_view text = {}) {
  return Owned<BIO>(text.empty() ? BIO_new(BIO_s_mem())
                                 : BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}
inline std::string text_of(BIO* bio) {
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(bio, &bytes);
  return {bytes, static_cast<std::size_t>(size)};
}
inline void extend(X509* certificate, int kind, const std::string& value) {
  const Owned<X509_EXTENSION> extension(X509V3_EXT_conf_nid(nullptr, nullptr, kind, value.c_str()));
  MUSTER_CHECK(extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1);
}
}  // namespace detail

inline CertificateText make_certificate(const CertificateOptions& options = {}) {
  using namespace detail;
  static std::atomic<long> serial{1};
  const Owned<EVP_PKEY> key(options.rsa_bits > 0 ? EVP_RSA_gen(static_cast<unsigned>(options.rsa_bits))
                                                 : EVP_EC_gen("P-256"));
  const Owned<X509> made(X509_new());
  MUSTER_CHECK(key != nullptr && made != nullptr);
  X509_set_version(made.get(), X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(made.get()), serial++);
  X509_gmtime_adj(X509_getm_notBefore(made.get()), options.valid_from_s);
  X509_gmtime_adj(X509_getm_notAfter(made.get()), options.valid_until_s);
  X509_set_pubkey(made.get(), key.get());
  X509_NAME* subject = X509_get_subject_name(made.get());
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(options.common_name.c_str()), -1, -1, 0);
  std::string names;
  for (const std::string& name : options.names) names += (names.empty() ? "DNS:" : ",DNS:") + name;
  if (!names.empty()) extend(made.get(), NID_subject_alt_name, names);
  extend(made.get(), NID_basic_constraints, options.authority ? "critical,CA:TRUE" : "CA:FALSE");
  Owned<X509> issuer;
  Owned<EVP_PKEY> issuer_key;
  if (options.issuer != nullptr) {
    issuer.reset(PEM_read_bio_X509(memory(options.issuer->cert).get(), nullptr, nullptr, nullptr));
    issuer_key.reset(PEM_read_bio_PrivateKey(memory(options.issuer->key).get(), nullptr, nullptr, nullptr));
  }
  X509_set_issuer_name(made.get(), issuer ? X509_get_subject_name(issuer.get()) : subject);
  MUSTER_CHECK(X509_sign(made.get(), issuer_key ? issuer_key.get() : key.get(), EVP_sha256()) > 0);
  const Owned<BIO> cert_out = memory();
  const Owned<BIO> key_out = memory();
  MUSTER_CHECK(PEM_write_bio_X509(cert_out.get(), made.get()) == 1);
  MUSTER_CHECK(PEM_write_bio_PrivateKey(key_out.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) ==
               1);
  return {.cert = text_of(cert_out.get()), .key = text_of(key_out.get())};
}

// A private key that nobody can use without the passphrase.
inline std::string make_encrypted_key(const std::string& passphrase) {
  using namespace detail;
  const Owned<EVP_PKEY> key(EVP_EC_gen("P-256"));
  const Owned<BIO> out = memory();
  MUSTER_CHECK(PEM_write_bio_PKCS8PrivateKey(out.get(), key.get(), EVP_aes_256_cbc(), passphrase.data(),
                                             static_cast<int>(passphrase.size()), nullptr, nullptr) == 1);
  return text_of(out.get());
}

}  // namespace muster::testing_support
