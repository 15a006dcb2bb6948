// Clients that speak no TLS, or do it badly: they get an answer where one helps, and hurt nobody else.
#include <gtest/gtest.h>

#include "http_pair.h"
#include "tls_client.h"

namespace muster::lb::test {
namespace {

const CertificateText& certificate() {
  static const CertificateText made = make_certificate({.names = {"a.example"}});
  return made;
}

struct TlsPair : Pair {
  explicit TlsPair(spec::ListenMode mode = spec::ListenMode::http) : Pair(echo) {
    listener().mode = mode;
    listener().tls = tls_of({certificate()});
    rig.publish();
  }
  bool serves() {
    TlsWire client(rig.port(), {});
    client.send(plain_get);
    return read_answer(client).has_value();
  }
};

TEST(TlsHostile, PlainHttpIsAnsweredInPlainHttp) {
  TlsPair pair;
  for (const std::string& request :
       {plain_get, std::string("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")}) {
    Wire client = pair.rig.client();
    client.send(request);
    const auto answer = read_message(client);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->status(), 400);
    EXPECT_NE(answer->body.find("HTTPS"), std::string::npos);
    EXPECT_EQ(answer->field("connection"), "close");
    EXPECT_EQ(client.rest(), "");
  }
  EXPECT_EQ(pair.replica.connections(), 0);
  EXPECT_TRUE(pair.serves());
}

TEST(TlsHostile, GarbageEndsTheConnection) {
  for (const auto mode : {spec::ListenMode::http, spec::ListenMode::tcp}) {
    TlsPair pair(mode);
    for (const std::string& bytes :
         {std::string("\0\0\0\0\0\0\0\0", 8), std::string(100000, 'x'),
          std::string("\x16\x03\x01\xff\xff\x01\x00\xff\xff", 9) + std::string(65536, 'y'), plain_get}) {
      Wire client = pair.rig.client();
      client.send(bytes);
      EXPECT_TRUE(client.at_end());
    }
    EXPECT_EQ(pair.replica.connections(), 0);
    EXPECT_TRUE(pair.serves());
  }
}

TEST(TlsHostile, WhoSaysNothingOrStopsInTheMiddleIsLeft) {
  TlsPair pair;
  pair.listener().timeout.head = Millis(300);
  pair.rig.publish();
  Wire silent = pair.rig.client();
  Wire stuck = pair.rig.client();
  stuck.send(std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 9));
  EXPECT_TRUE(pair.serves());
  EXPECT_TRUE(silent.at_end());
  EXPECT_TRUE(stuck.at_end());
}

// timeout.head is for the whole handshake, however slowly its bytes come.
TEST(TlsHostile, ASlowHandshakeHasOneDeadline) {
  TlsPair pair;
  pair.listener().timeout.head = Millis(300);
  pair.rig.publish();
  Wire slow = pair.rig.client();
  const auto begun = std::chrono::steady_clock::now();
  slow.send(std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 9));
  while (slow.send("x") && std::chrono::steady_clock::now() - begun < patience)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // how slowly it sends: what is tried
  EXPECT_LT(std::chrono::steady_clock::now() - begun, patience);
}

TEST(TlsHostile, AnotherHandshakeInTheMiddleIsRefused) {
  TlsPair pair;
  TlsWire client(pair.rig.port(), {.max = TLS1_2_VERSION});
  client.send(plain_get);
  ASSERT_TRUE(read_answer(client));
  SSL_renegotiate(client.ssl());
  SSL_do_handshake(client.ssl());
  EXPECT_FALSE(client.send(plain_get) && read_answer(client) && SSL_renegotiate_pending(client.ssl()) == 0);
  EXPECT_TRUE(pair.serves());
}

TEST(TlsHostile, ClientsThatLeaveInTheMiddleOfAHandshake) {
  TlsPair pair;
  for (int i = 0; i < 50; ++i) {
    Wire client = pair.rig.client();
    client.send(std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 9));
    if (i % 2 == 0) client.reset();
  }
  EXPECT_TRUE(pair.serves());
}

TEST(TlsHostile, AStopWaitsForNobodyWhoSaysNothing) {
  TlsPair pair;
  Wire silent = pair.rig.client();
  ASSERT_TRUE(pair.serves());
  pair.rig.balancer->stop(Millis(3600000));
  EXPECT_TRUE(silent.at_end());
}

// An idle connection without TLS memory: nothing is spent before the first byte.
TEST(TlsHostile, SilentConnectionsCostNoMemoryForTls) {
  TlsPair pair;
  ASSERT_TRUE(pair.serves());
  std::vector<Wire> silent;
  constexpr std::size_t count = 500;
  silent.reserve(count);
  const std::size_t before = heap_bytes();
  for (std::size_t i = 0; i < count; ++i) silent.push_back(pair.rig.client());
  const auto all_there = [&] { return pair.rig.balancer->stats().listeners[0].connections >= count; };
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!all_there() && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  ASSERT_TRUE(all_there());
  EXPECT_LT((heap_bytes() - before) / count, 2500U);  // an SSL object has three times as much
}

}  // namespace
}  // namespace muster::lb::test
