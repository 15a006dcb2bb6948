// Bytes over TLS: large bodies, slow peers, and how a stream ends.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <thread>

#include "http_pair.h"
#include "tls_client.h"

namespace muster::lb::test {
namespace {

const CertificateText& certificate() {
  static const CertificateText made = make_certificate({.names = {"a.example"}});
  return made;
}

struct TlsPair : Pair {
  explicit TlsPair(Replica::Serve serve, spec::ListenMode mode = spec::ListenMode::http)
      : Pair(std::move(serve)) {
    listener().mode = mode;
    listener().tls = tls_of({certificate()});
    rig.publish();
  }
  [[nodiscard]] std::uint16_t port() const { return rig.port(); }
};

std::string pattern(std::size_t bytes) {
  std::string made(bytes, '\0');
  std::uint32_t state = 1;
  for (char& c : made) c = static_cast<char>((state = state * 1664525 + 1013904223) >> 24U);
  return made;
}

std::string post(const std::string& body) {
  return "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
         body;
}

// Small buffers in the kernel, so that both sides have to wait often.
Wire narrow_wire(std::uint16_t port) {
  Wire wire = Wire::socket_only();
  const int bytes = 4096;
  ::setsockopt(wire.fd(), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  ::setsockopt(wire.fd(), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
  wire.connect(port);
  return wire;
}

void echo_body(Wire& wire) {
  while (const auto request = read_message(wire)) {
    if (!wire.send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(request->body.size()) + "\r\n\r\n" +
                   request->body))
      return;
  }
}

TEST(TlsStream, ABodyOfAMebibyteBothWays) {
  TlsPair pair{echo_body};
  const std::string body = pattern(1U << 20U);
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    TlsWire client(pair.port(), {.min = version, .max = version});
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(client.send(post(body)));
      const auto answer = read_answer(client);
      ASSERT_TRUE(answer);
      EXPECT_EQ(answer->body, body) << "not the same bytes";
    }
  }
}

TEST(TlsStream, ThroughNarrowBuffers) {
  TlsPair pair{echo_body};
  const std::string body = pattern(1U << 20U);
  TlsWire client(narrow_wire(pair.port()), {});
  ASSERT_TRUE(client.send(post(body)));
  const auto answer = read_answer(client);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->body, body) << "not the same bytes";
}

TEST(TlsStream, AnAnswerWithoutALengthEndsWithCloseNotify) {
  const std::string body = pattern(300000);
  TlsPair pair{says("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body, true)};
  TlsWire client(narrow_wire(pair.port()), {});
  client.send("GET / HTTP/1.0\r\n\r\n");
  const auto answer = read_answer(client);
  ASSERT_TRUE(answer) << "cut";
  EXPECT_EQ(answer->body, body) << "not the same bytes";
}

TEST(TlsStream, AnAnswerThatBrokeOffLooksCut) {
  TlsPair pair{says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", true)};
  TlsWire client(pair.port(), {});
  client.send("GET / HTTP/1.0\r\n\r\n");
  EXPECT_FALSE(read_answer(client));
}

TEST(TlsStream, ALastAnswerEndsWithCloseNotify) {
  TlsPair pair{echo};
  TlsWire client(pair.port(), {});
  client.send("GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
  ASSERT_TRUE(read_answer(client));
  EXPECT_EQ(client.rest(), "");
}

TEST(TlsStream, AnIdleConnectionEndsWithCloseNotify) {
  TlsPair pair{echo};
  pair.listener().timeout.idle = Millis(100);
  pair.rig.publish();
  TlsWire client(pair.port(), {});
  client.send(plain_get);
  ASSERT_TRUE(read_answer(client));
  EXPECT_EQ(client.rest(), "");
}

TEST(TlsStream, ABodyThatIsCutNeverLooksWhole) {
  for (const bool notified : {true, false}) {
    std::atomic<bool> whole{false};
    TlsPair pair{[&whole](Wire& wire) {
      if (read_message(wire)) whole = true;
    }};
    TlsWire client(pair.port(), {});
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    ASSERT_TRUE(pair.replica.wait_open(1));
    if (notified) client.end();
    client.close();
    pair.replica.join();
    EXPECT_FALSE(whole);
  }
}

TEST(TlsStream, TcpBothWaysAndCloseNotifyIsAHalfClose) {
  TlsPair pair{[](Wire& wire) {
                 const auto all = wire.rest();
                 wire.send(all ? "got " + *all : "cut");
               },
               spec::ListenMode::tcp};
  TlsWire client(pair.port(), {});
  const std::string body = pattern(400000);
  ASSERT_TRUE(client.send(body));
  client.end();
  EXPECT_EQ(client.rest(), "got " + body) << "not the same bytes";
}

TEST(TlsStream, TheReplicasEndIsPassedOnAsCloseNotify) {
  TlsPair pair{[](Wire& wire) {
                 wire.send("done");
                 wire.half_close();
                 wire.until("client is done");
               },
               spec::ListenMode::tcp};
  TlsWire client(pair.port(), {});
  EXPECT_EQ(client.rest(), "done");
  EXPECT_TRUE(client.send("client is done"));
  client.end();
  EXPECT_TRUE(pair.rig.wait_in_flight(InstanceId{pair.replica.port()}, 0));
}

// A replica must not take for the end of a stream what somebody in between may have cut.
TEST(TlsStream, AStreamThatIsCutIsPassedOnAsAReset) {
  std::atomic<bool> reset{false};
  TlsPair pair{[&reset](Wire& wire) {
                 wire.exactly(5);
                 reset = !wire.rest();
               },
               spec::ListenMode::tcp};
  TlsWire client(pair.port(), {});
  client.send("hello");
  ASSERT_TRUE(pair.replica.wait_open(1));
  client.wire().half_close();  // FIN without close_notify
  pair.replica.join();
  EXPECT_TRUE(reset);
}

TEST(TlsStream, AResetOfTheReplicaLooksCut) {
  TlsPair pair{[](Wire& wire) {
                 wire.exactly(1);
                 wire.send("some");
                 wire.exactly(1);
               },
               spec::ListenMode::tcp};
  TlsWire client(pair.port(), {});
  client.send("a");
  ASSERT_EQ(client.exactly(4), "some");
  pair.replica.reset_connections();
  EXPECT_FALSE(client.rest());
}

// What came in one segment with the end of the handshake lies in the session, and no event will tell of it.
TEST(TlsStream, BytesThatCameAlongWithTheHandshake) {
  TlsPair pair{[](Wire& wire) {
                 const auto word = wire.exactly(5);
                 wire.send(word ? "got " + *word : "nothing");
               },
               spec::ListenMode::tcp};
  Wire wire = Wire::to(pair.port());
  const int fd = wire.fd();
  const int on = 1;
  const int off = 0;
  ::setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof on);  // the kernel holds back what fills no segment
  TlsWire client(std::move(wire), {.min = TLS1_3_VERSION});
  ASSERT_TRUE(client.open());
  client.send("hello");
  ::setsockopt(fd, IPPROTO_TCP, TCP_CORK, &off, sizeof off);
  EXPECT_EQ(client.exactly(9), "got hello");
}

// RFC 8446 4.6.3: to read on, the server must write, and its client does not read. What is sent meanwhile waits.
TEST(TlsStream, NewKeysWhileTheClientDoesNotRead) {
  const std::string down = pattern(1U << 20U);
  TlsPair pair{[&down](Wire& wire) {
                 std::thread sends([&wire, &down] { wire.send(down); });
                 const auto up = wire.exactly(50 * 1000);
                 sends.join();
                 wire.send(up ? "got all" : "cut");
               },
               spec::ListenMode::tcp};
  TlsWire client(narrow_wire(pair.port()), {.min = TLS1_3_VERSION});
  ASSERT_TRUE(client.open());
  const std::string piece = pattern(1000);
  std::thread sends([&] {
    for (int i = 0; i < 50; ++i) {
      SSL_key_update(client.ssl(), SSL_KEY_UPDATE_REQUESTED);
      client.send(piece);
    }
  });
  sends.join();
  EXPECT_EQ(client.exactly(down.size()), down) << "not the same bytes";
  EXPECT_EQ(client.exactly(7), "got all");
}

TEST(TlsStream, AWebSocketThatIsCutIsPassedOnAsAReset) {
  std::atomic<bool> reset{false};
  TlsPair pair{[&reset](Wire& wire) {
    read_message(wire);
    wire.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: test\r\nConnection: Upgrade\r\n\r\n");
    wire.exactly(5);
    reset = !wire.rest();
  }};
  TlsWire client(pair.port(), {});
  client.send("GET / HTTP/1.1\r\nHost: a.example\r\nUpgrade: test\r\nConnection: Upgrade\r\n\r\n");
  ASSERT_TRUE(client.until("\r\n\r\n"));
  client.send("hello");
  client.wire().half_close();
  pair.replica.join();
  EXPECT_TRUE(reset);
}

}  // namespace
}  // namespace muster::lb::test
