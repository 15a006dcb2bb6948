// HTTP through the balancer on real sockets: messages, framing, connections, back-pressure, tunnels.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <ostream>
#include <thread>

#include "http_pair.h"

namespace muster::lb::test {
namespace {

using namespace std::chrono_literals;

TEST(Http, KeepsBothConnectionsAlive) {
  Pair pair(echo);
  Wire client = pair.start();
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(client.send(plain_get));
    const auto answer = read_message(client);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->status(), 200);
    EXPECT_EQ(answer->field("connection"), "");
  }
  EXPECT_EQ(pair.replica.connections(), 1);
}

TEST(Http, SaysWhoAsked) {
  Pair pair(echo);
  Wire client = pair.start();
  client.send(
      "GET /p?q HTTP/1.1\r\nHost: name:80\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: X-Hop\r\nX-Hop: "
      "1\r\n\r\n");
  const auto answer = read_message(client);
  ASSERT_TRUE(answer);
  const std::size_t id = answer->body.find("X-Request-Id: ");  // of muster's own making: 32 digits
  ASSERT_NE(id, std::string::npos);
  EXPECT_EQ(answer->body.substr(0, id),
            "GET /p?q HTTP/1.1\r\nHost: name:80\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\n"
            "X-Forwarded-Host: name:80\r\n");
  EXPECT_EQ(answer->body.substr(id + 46), "\r\n||");
}

TEST(Http, TakesAbsoluteForm) {
  Pair pair(echo);
  Wire client = pair.start();
  client.send("GET http://there/x HTTP/1.1\r\nHost: here\r\n\r\n");
  const auto answer = read_message(client);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->body.find("GET /x HTTP/1.1\r\nHost: there\r\n"), 0U);
}

TEST(Http, CarriesAChunkedBodyWithTrailersBothWays) {
  Pair pair([](Wire& wire) {
    while (const auto request = read_message(wire)) {
      wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-B\r\n\r\n");
      const std::string body = request->body + request->trailers;
      std::array<char, 32> size{};
      std::snprintf(size.data(), size.size(), "%zx\r\n", body.size());
      wire.send(size.data() + body + "\r\n0\r\nX-B: 2\r\n\r\n");
    }
  });
  Wire client = pair.start();
  for (int i = 0; i < 3; ++i) {
    client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n");
    client.send("4\r\ndefg\r\n0\r\nX-A: 1\r\n\r\n");
    const auto answer = read_message(client);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->body, "abcdefgX-A: 1\r\n");
    EXPECT_EQ(answer->trailers, "X-B: 2\r\n");
  }
  EXPECT_EQ(pair.replica.connections(), 1);
}

TEST(Http, CarriesAMessageByteByByte) {
  Pair pair(echo);
  Wire client = pair.start();
  for (const char c : std::string(
           "POST /slow HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"))
    ASSERT_TRUE(client.send(std::string(1, c)));
  const auto answer = read_message(client);
  ASSERT_TRUE(answer);
  EXPECT_NE(answer->body.find("|abc|"), std::string::npos);
}

TEST(Http, ReadsAnAnswerThatComesByteByByte) {
  Pair pair([](Wire& wire) {
    while (read_message(wire)) {
      for (const char c :
           std::string("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n"))
        wire.send(std::string(1, c));
    }
  });
  Wire client = pair.start();
  for (int i = 0; i < 3; ++i) {
    client.send(plain_get);
    const auto answer = read_message(client);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->body, "abc");
    EXPECT_EQ(answer->trailers, "X: y\r\n");
  }
}

TEST(Http, CarriesLargeBodiesBothWaysAtOnce) {
  Pair pair([](Wire& wire) {  // echoes while it reads
    const auto head = wire.until("\r\n\r\n");
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 8388608\r\n\r\n");
    for (std::size_t done = 0; done < 8388608;) {
      const auto piece = wire.some();
      if (!piece || piece->empty() || !wire.send(*piece)) return;
      done += piece->size();
    }
  });
  Wire client = pair.start();
  std::string body(8388608, '\0');
  for (std::size_t i = 0; i < body.size(); ++i) body[i] = static_cast<char>(i * 2654435761U >> 13U);
  std::thread sender(
      [&] { client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8388608\r\n\r\n" + body); });
  const auto answer = read_message(client);
  sender.join();
  ASSERT_TRUE(answer);
  EXPECT_TRUE(answer->body == body);
}

TEST(Http, AnswersPipelinedRequestsInOrder) {
  Pair pair(echo);
  Wire client = pair.start();
  std::string requests;
  for (int i = 0; i < 40; ++i) {
    requests += "POST /" + std::to_string(i) + " HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nok";
  }
  client.send(requests);
  for (int i = 0; i < 40; ++i) {
    const auto answer = read_message(client);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->body.find("POST /" + std::to_string(i) + " HTTP"), 0U);
  }
}

TEST(Http, AnswersAClientThatHasEndedItsSide) {
  Pair pair(echo);
  Wire client = pair.start();
  client.send(plain_get + plain_get);
  client.half_close();
  EXPECT_TRUE(read_message(client));
  EXPECT_TRUE(read_message(client));
  EXPECT_EQ(client.rest(), "");
}

TEST(Http, FramesForAnHttp10Client) {
  Pair pair(says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n"));
  Wire client = pair.start();
  client.send("GET / HTTP/1.0\r\n\r\n");
  const std::string all = client.rest().value_or("");
  EXPECT_TRUE(all.starts_with("HTTP/1.1 200 OK\r\nDate: ")) << all;
  EXPECT_TRUE(all.ends_with(" GMT\r\nConnection: close\r\n\r\nabc")) << all;
}

TEST(Http, KeepsAnHttp10ConnectionThatAsksForIt) {
  Pair pair(echo);
  Wire client = pair.start();
  for (int i = 0; i < 2; ++i) {
    client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    const auto answer = read_message(client);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->field("connection"), "keep-alive");
  }
}

TEST(Http, ChunksAnAnswerThatEndsWithItsConnection) {
  Pair pair(says("HTTP/1.0 200 OK\r\n\r\nabc", true));
  Wire client = pair.start();
  for (int i = 0; i < 2; ++i) {
    client.send(plain_get);
    const auto answer = read_message(client);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->field("transfer-encoding"), "chunked");
    EXPECT_EQ(answer->body, "abc");
  }
  EXPECT_EQ(pair.replica.connections(), 2);
}

struct NoBody {
  const char* name;
  const char* request;
  const char* answer;
  const char* length;
};
std::ostream& operator<<(std::ostream& out, const NoBody& c) {
  return out << c.name;
}
class WithoutABody : public testing::TestWithParam<NoBody> {};

TEST_P(WithoutABody, TheConnectionsGoOn) {
  Pair pair(says(GetParam().answer));
  Wire client = pair.start();
  for (int i = 0; i < 3; ++i) {
    client.send(GetParam().request);
    const auto answer = read_message(client, true);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->field("content-length"), GetParam().length);
    EXPECT_EQ(answer->field("transfer-encoding"), "");
  }
  EXPECT_EQ(pair.replica.connections(), 1);
}

INSTANTIATE_TEST_SUITE_P(Answers, WithoutABody,
                         testing::Values(NoBody{"HEAD", "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n",
                                                "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", "500"},
                                         NoBody{"HEAD of a chunked one", "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n",
                                                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", ""},
                                         NoBody{"HEAD without a length", "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n",
                                                "HTTP/1.1 200 OK\r\n\r\n", ""},
                                         NoBody{"204", "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
                                                "HTTP/1.1 204 No\r\n\r\n", ""},
                                         NoBody{"304", "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
                                                "HTTP/1.1 304 Same\r\nContent-Length: 500\r\n\r\n", "500"},
                                         NoBody{"length 0", "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
                                                "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "0"}));

TEST(Http, ForwardsInterimAnswersToHttp11Only) {
  const std::string hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
  Pair pair(says(hints + hints + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
  Wire client = pair.start();
  for (int i = 0; i < 2; ++i) {
    client.send(plain_get);
    for (int k = 0; k < 2; ++k) {
      const auto interim = read_message(client);
      ASSERT_TRUE(interim);
      EXPECT_EQ(interim->status(), 103);
      EXPECT_EQ(interim->field("link"), "</a>");
    }
    const auto answer = read_message(client);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->body, "ok");
  }
  Wire old = pair.rig.client();
  old.send("GET / HTTP/1.0\r\n\r\n");
  const auto answer = read_message(old);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status(), 200);
}

TEST(Http, EndlessInterimAnswersAreNoAnswer) {
  std::string flood;
  for (int i = 0; i < 200; ++i) flood += "HTTP/1.1 102 Wait\r\n\r\n";
  Pair pair(says(flood));
  Wire client = pair.start();
  client.send(plain_get);
  int status = 102;
  while (status == 102) {
    const auto answer = read_message(client);
    ASSERT_TRUE(answer);
    status = answer->status();
  }
  EXPECT_EQ(status, 502);
}

TEST(Http, PassesExpectContinueOn) {
  Pair pair([](Wire& wire) {
    const auto head = wire.until("\r\n\r\n");
    if (!head || head->find("Expect: 100-continue") == std::string::npos) return;
    wire.send("HTTP/1.1 100 Continue\r\n\r\n");
    const auto body = wire.exactly(5);
    if (body) wire.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + *body);
  });
  Wire client = pair.start();
  client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
  const auto interim = read_message(client);
  ASSERT_TRUE(interim);
  EXPECT_EQ(interim->status(), 100);
  client.send("hello");
  const auto answer = read_message(client);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->body, "hello");
}

// The replica answers before it has read the body: the client gets the answer, and is told that this is the end.
TEST(Http, PassesAnEarlyAnswerOn) {
  Pair pair([](Wire& wire) {
    if (!wire.until("\r\n\r\n")) return;
    wire.send("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno");
    while (const auto more = wire.some()) {
      if (more->empty()) return;
    }
  });
  Wire client = pair.start();
  client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10000000\r\n\r\nabc");
  const auto answer = read_message(client);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status(), 403);
  EXPECT_EQ(answer->body, "no");
  EXPECT_EQ(answer->field("connection"), "close");
  EXPECT_EQ(client.rest(), "") << "an orderly end, although not all was sent";
}

// A client that does not read holds up its replica, not the balancer's memory: of 64 MiB only what the sockets take
// is ever read.
TEST(Http, ASlowReaderHoldsUpItsReplica) {
  std::atomic<std::size_t> sent{0};
  Pair pair([&](Wire& wire) {
    if (!read_message(wire)) return;
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n");
    const std::string piece(65536, 'x');
    for (int i = 0; i < 1024 && wire.send(piece); ++i) sent += piece.size();
  });
  Wire client = pair.start();
  client.send(plain_get);
  ASSERT_TRUE(client.until("\r\n\r\n"));
  const InstanceId id{pair.replica.port()};
  // It has come to a stand once many round trips through the traffic thread moved nothing.
  std::uint64_t before = 0;
  int still = 0;
  for (std::uint64_t token = 1; still < 200; ++token) {
    pair.rig.balancer->ping(token);
    ASSERT_TRUE(pair.rig.wait_pong(token));
    const std::uint64_t now = pair.rig.bytes_from(id);
    still = now == before && now > 0 ? still + 1 : 0;
    before = now;
  }
  EXPECT_LT(sent, 48U << 20U) << "back-pressure";
  std::size_t got = 0;
  while (got < 67108864) {
    const auto piece = client.exactly(65536);
    ASSERT_TRUE(piece);
    got += piece->size();
  }
}

TEST(Http, ABlockedReaderIsGivenUpAfterTheSendTimeout) {
  Pair pair([&](Wire& wire) {
    if (!read_message(wire)) return;
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n");
    const std::string piece(65536, 'x');
    for (int i = 0; i < 1024 && wire.send(piece); ++i) {
    }
  });
  pair.listener().timeout.send = 200ms;
  Wire client = pair.start();
  client.send(plain_get);
  ASSERT_TRUE(pair.rig.wait_in_flight(InstanceId{pair.replica.port()}, 1));
  EXPECT_TRUE(pair.rig.wait_in_flight(InstanceId{pair.replica.port()}, 0));
}

TEST(Http, TunnelsAfterA101ThatAnswersAnUpgrade) {
  Pair pair([](Wire& wire) {
    const auto head = wire.until("\r\n\r\n");
    if (!head || head->find("Upgrade: chat\r\n") == std::string::npos) return;
    wire.send("HTTP/1.1 101 Go\r\nUpgrade: chat\r\nConnection: Upgrade\r\n\r\nfirst");
    while (const auto piece = wire.some()) {
      if (piece->empty()) break;
      wire.send("<" + *piece + ">");
    }
    wire.send("bye");
  });
  Wire client = pair.start();
  client.send("GET / HTTP/1.1\r\nHost: h\r\nUpgrade: chat\r\nConnection: Upgrade\r\n\r\nearly");
  const auto answer = read_message(client);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status(), 101);
  EXPECT_EQ(answer->field("connection"), "upgrade");
  EXPECT_EQ(client.exactly(12), "first<early>");
  client.send("a");
  EXPECT_EQ(client.exactly(3), "<a>");
  EXPECT_EQ(pair.rig.in_flight(InstanceId{pair.replica.port()}), 1U);
  client.half_close();
  EXPECT_EQ(client.rest(), "bye");
  EXPECT_TRUE(pair.rig.wait_in_flight(InstanceId{pair.replica.port()}, 0));
}

TEST(Http, ARefusedUpgradeIsAnOrdinaryAnswer) {
  Pair pair(echo);
  Wire client = pair.start();
  for (int i = 0; i < 2; ++i) {
    client.send("GET / HTTP/1.1\r\nHost: h\r\nUpgrade: chat\r\nConnection: Upgrade\r\n\r\n");
    const auto answer = read_message(client);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->status(), 200);
  }
  EXPECT_EQ(pair.replica.connections(), 1);
}

TEST(Http, A426NamesTheProtocolThatIsRequired) {
  const std::string fields = "Upgrade: chat\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n";
  Pair required(says("HTTP/1.1 426 Upgrade Required\r\n" + fields));
  Wire client = required.start();
  client.send(plain_get);
  const auto answer = read_message(client);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->field("upgrade"), "chat");
  EXPECT_EQ(answer->field("connection"), "upgrade");
  client.send(plain_get);
  EXPECT_TRUE(read_message(client)) << "the connection goes on";

  Pair offered(says("HTTP/1.1 200 OK\r\n" + fields));
  Wire other = offered.start();
  other.send(plain_get);
  const auto offer = read_message(other);
  ASSERT_TRUE(offer);
  EXPECT_EQ(offer->field("upgrade"), "") << "an offer is for this hop alone";
}

}  // namespace
}  // namespace muster::lb::test
