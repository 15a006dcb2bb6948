// TLS on a listener: certificates, versions, sessions, client certificates.
#include <gtest/gtest.h>

#include <set>

#include "http_pair.h"
#include "tls_client.h"

namespace muster::lb::test {
namespace {

constexpr const char* http_1_1 = "\x08http/1.1";

const CertificateText& first_pair() {
  static const CertificateText made =
      make_certificate({.names = {"first.example"}, .common_name = "first", .rsa_bits = 2048});
  return made;
}
const CertificateText& second_pair() {
  static const CertificateText made =
      make_certificate({.names = {"second.example", "*.wild.example"}, .common_name = "second"});
  return made;
}

// One listener with TLS to one replica that echoes.
struct TlsPair : Pair {
  explicit TlsPair(std::shared_ptr<const spec::Tls> tls = tls_of({first_pair()}), Replica::Serve serve = echo)
      : Pair(std::move(serve)) {
    listener().tls = std::move(tls);
    rig.publish();
  }
  [[nodiscard]] std::uint16_t port() const { return rig.port(); }
};

std::optional<Message> ask(TlsWire& client) {
  client.send(plain_get);
  return read_answer(client);
}

class TlsOfEachVersion : public testing::TestWithParam<int> {
 protected:
  [[nodiscard]] TlsClientOptions options() const { return {.min = GetParam(), .max = GetParam()}; }
};
INSTANTIATE_TEST_SUITE_P(Versions, TlsOfEachVersion, testing::Values(TLS1_2_VERSION, TLS1_3_VERSION));

TEST_P(TlsOfEachVersion, RequestsOverOneConnection) {
  TlsPair pair;
  TlsClientOptions client_options = options();
  client_options.protocols = http_1_1;
  TlsWire client(pair.port(), client_options);
  ASSERT_TRUE(client.open());
  const unsigned char* protocol = nullptr;
  unsigned protocol_bytes = 0;
  SSL_get0_alpn_selected(client.ssl(), &protocol, &protocol_bytes);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(protocol), protocol_bytes), "http/1.1");
  for (int i = 0; i < 20; ++i) {
    const auto answer = ask(client);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->status(), 200);
    EXPECT_NE(answer->body.find("X-Forwarded-Proto: https\r\n"), std::string::npos) << answer->body;
  }
  EXPECT_EQ(pair.replica.connections(), 1);
}

TEST_P(TlsOfEachVersion, OneAfterTheOtherWithoutWaiting) {
  TlsPair pair;
  TlsWire client(pair.port(), options());
  client.send(plain_get + plain_get + plain_get);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(read_answer(client)) << i;
}

TEST_P(TlsOfEachVersion, ASessionIsTakenUpOnAnyThread) {
  for (const bool tickets : {true, false}) {
    Replica replica(http_replica("hello"));
    Rig rig(4);
    rig.add_listener("web", "web").tls = tls_of({first_pair(), second_pair()});
    rig.set_pool("web", {replica.port()});
    rig.publish();
    TlsClientOptions client_options = options();
    client_options.tickets = tickets;
    client_options.server_name = "second.example";
    TlsWire first(rig.port(), client_options);
    ASSERT_TRUE(ask(first));
    EXPECT_FALSE(SSL_session_reused(first.ssl()));
    auto session = first.session();
    ASSERT_TRUE(session);
    rig.publish();  // a reload that finds the same files
    for (int i = 0; i < 12; ++i) {
      client_options.session = session.get();
      TlsWire again(rig.port(), client_options);
      ASSERT_TRUE(ask(again)) << i;
      EXPECT_TRUE(SSL_session_reused(again.ssl())) << i << (tickets ? " by ticket" : " from the cache");
      if (again.session()) session = again.session();  // RFC 8446 C.4: each ticket once
      EXPECT_EQ(again.certificate_name(), "second");
    }
  }
}

TEST_P(TlsOfEachVersion, AClientNeedsACertificateWhereItIsAskedForOne) {
  const CertificateText authority = make_certificate({.common_name = "ca", .authority = true});
  const CertificateText foreign = make_certificate({.common_name = "other", .authority = true});
  const CertificateText member = make_certificate({.common_name = "member", .issuer = &authority});
  const CertificateText stranger = make_certificate({.common_name = "stranger", .issuer = &foreign});
  TlsPair pair(tls_of({first_pair()}, spec::TlsVersion::tls1_2, authority.cert));
  for (const CertificateText* bad : {static_cast<const CertificateText*>(nullptr), &stranger}) {
    TlsClientOptions client_options = options();
    client_options.certificate = bad;
    TlsWire client(pair.port(), client_options);
    EXPECT_FALSE(ask(client));
  }
  EXPECT_EQ(pair.replica.connections(), 0);
  TlsClientOptions good = options();
  good.certificate = &member;
  TlsWire client(pair.port(), good);
  ASSERT_TRUE(ask(client));
  const auto session = client.session();
  ASSERT_TRUE(session);
  good.session = session.get();
  TlsWire again(pair.port(), good);
  ASSERT_TRUE(ask(again));
  EXPECT_TRUE(SSL_session_reused(again.ssl()));
  // Another authority: what the old one vouched for is asked for again.
  pair.listener().tls = tls_of({first_pair()}, spec::TlsVersion::tls1_2, foreign.cert);
  pair.rig.publish();
  TlsWire late(pair.port(), good);
  EXPECT_FALSE(ask(late));
}

TEST(Tls, TheCertificateIsChosenByName) {
  TlsPair pair(tls_of({first_pair(), second_pair()}));
  struct Case {
    const char* asked;
    const char* got;
  };
  for (const auto& [asked, got] :
       {Case{"first.example", "first"}, Case{"second.example", "second"}, Case{"SECOND.example", "second"},
        Case{"a.wild.example", "second"}, Case{"a.b.wild.example", "first"}, Case{"unknown.example", "first"},
        Case{"", "first"}}) {
    TlsWire client(pair.port(), {.server_name = asked});
    ASSERT_TRUE(client.open()) << asked;
    EXPECT_EQ(client.certificate_name(), got) << asked;
    EXPECT_TRUE(ask(client)) << asked;
  }
}

TEST(Tls, OfTwoCertificatesForOneNameEachClientGetsTheOneItCanUse) {
  const CertificateText ec = make_certificate({.names = {"first.example"}, .common_name = "first, EC"});
  TlsPair pair(tls_of({first_pair(), ec}));
  for (const char* name : {"first.example", ""}) {
    TlsClientOptions options{
        .server_name = name, .max = TLS1_2_VERSION, .ciphers = "ECDHE-RSA-AES128-GCM-SHA256"};
    TlsWire with_rsa(pair.port(), options);
    ASSERT_TRUE(with_rsa.open());
    EXPECT_EQ(with_rsa.certificate_name(), "first");
    options.ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256";
    TlsWire with_ec(pair.port(), options);
    ASSERT_TRUE(with_ec.open());
    EXPECT_EQ(with_ec.certificate_name(), "first, EC");
  }
}

TEST(Tls, OldVersionsAndCiphersAreRefused) {
  TlsPair pair(tls_of({first_pair()}, spec::TlsVersion::tls1_3));
  EXPECT_FALSE(TlsWire(pair.port(), {.max = TLS1_2_VERSION}).open());
  EXPECT_TRUE(TlsWire(pair.port(), {.min = TLS1_3_VERSION}).open());
  TlsPair usual;
  EXPECT_FALSE(
      TlsWire(usual.port(), {.min = TLS1_1_VERSION, .max = TLS1_1_VERSION, .ciphers = "ALL:@SECLEVEL=0"})
          .open());
  for (const char* ciphers :
       {"AES128-SHA", "AES256-GCM-SHA384", "ECDHE-RSA-AES128-SHA", "DHE-RSA-AES128-GCM-SHA256"})
    EXPECT_FALSE(TlsWire(usual.port(), {.max = TLS1_2_VERSION, .ciphers = ciphers}).open()) << ciphers;
}

TEST(Tls, AClientThatOnlySpeaksAnotherProtocolIsToldSo) {
  TlsPair pair;
  EXPECT_FALSE(TlsWire(pair.port(), {.protocols = "\x02h2"}).open());
  TlsWire client(pair.port(), {.protocols = std::string("\x02h2") + http_1_1});
  EXPECT_TRUE(ask(client));
}

TEST(Tls, NewCertificatesAreForNewConnections) {
  TlsPair pair;
  TlsWire before(pair.port(), {});
  ASSERT_TRUE(ask(before));
  pair.listener().tls = tls_of({second_pair()});
  pair.rig.publish();
  TlsWire after(pair.port(), {});
  EXPECT_EQ(after.certificate_name(), "second");
  EXPECT_TRUE(ask(after));
  EXPECT_TRUE(ask(before)) << "an established connection goes on";
}

TEST(Tls, OnAUnixSocket) {
  Pair pair{echo};
  const std::string path = "/tmp/muster-tls-test." + std::to_string(::getpid());
  spec::BindAddress& bind = pair.listener().bind[0];
  bind.text = "unix:" + path;
  bind.kind = spec::BindAddress::Kind::unix_path;
  bind.path = path;
  pair.listener().tls = tls_of({first_pair()});
  pair.rig.publish();
  TlsWire client(Wire::to_unix(path), {});
  EXPECT_TRUE(ask(client));
  EXPECT_TRUE(ask(client));
}

TEST(Tls, BesideAPlainListener) {
  TlsPair pair;
  pair.rig.add_listener("plain", "web");
  pair.rig.publish();
  const auto answer = pair.rig.get("/", 1);
  ASSERT_TRUE(answer);
  EXPECT_NE(answer->body.find("X-Forwarded-Proto: http\r\n"), std::string::npos);
  TlsWire client(pair.port(), {});
  EXPECT_TRUE(ask(client));
}

}  // namespace
}  // namespace muster::lb::test
