// Certificates and private keys: PEM text to what OpenSSL works with, and what muster wants to know about it. Pure: the
// text comes in, nothing is read, no clock is asked. Everything here is immutable and shared by all threads.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"

struct x509_st;
struct evp_pkey_st;

namespace muster::spec {

struct FreesOpenSsl {
  void operator()(x509_st* certificate) const noexcept;
  void operator()(evp_pkey_st* key) const noexcept;
};
using CertificatePtr = std::unique_ptr<x509_st, FreesOpenSsl>;
using PrivateKeyPtr = std::unique_ptr<evp_pkey_st, FreesOpenSsl>;

// All certificates of a PEM text, at least one; other blocks are skipped.
Result<std::vector<CertificatePtr>> parse_certificates(std::string_view pem);
// The private key of a PEM text. One that needs a passphrase is an error.
Result<PrivateKeyPtr> parse_private_key(std::string_view pem);

// The first eight digits of the SHA-256 of its DER form: enough to tell two apart.
std::string fingerprint_of(const x509_st& certificate);

// A server's certificate, what leads from it to a root (RFC 8446 4.4.2: itself first), and its key.
class Certificate {
 public:
  // An error when the key is not the first certificate's, or TLS would refuse them (a key that is too short …).
  static Result<std::shared_ptr<const Certificate>> join(std::vector<CertificatePtr> chain,
                                                         PrivateKeyPtr key);

  // The dNSNames of its subjectAltName, in lower case; without that extension its common name (RFC 6125 6.4.4).
  [[nodiscard]] const std::vector<std::string>& names() const { return names_; }
  [[nodiscard]] WallTime not_before() const { return not_before_; }
  [[nodiscard]] WallTime not_after() const { return not_after_; }
  [[nodiscard]] int key_type() const { return key_type_; }  // OpenSSL's EVP_PKEY_id: RSA, EC …

  [[nodiscard]] const std::vector<CertificatePtr>& chain() const { return chain_; }
  [[nodiscard]] evp_pkey_st* key() const { return key_.get(); }
  [[nodiscard]] std::string fingerprint() const;    // of its first member
  bool operator==(const Certificate& other) const;  // the same chain: its first member tells the key

 private:
  Certificate(std::vector<CertificatePtr> chain, PrivateKeyPtr key);

  std::vector<CertificatePtr> chain_;
  PrivateKeyPtr key_;
  std::vector<std::string> names_;
  WallTime not_before_{};
  WallTime not_after_{};
  int key_type_ = 0;
};

// Whether both lists hold the same certificates in the same order.
bool same_certificates(const std::vector<CertificatePtr>& one, const std::vector<CertificatePtr>& other);

}  // namespace muster::spec
