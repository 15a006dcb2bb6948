// HTTP that is refused, late, malformed or cut off: on either side.
#include <gtest/gtest.h>

#include <atomic>
#include <ostream>

#include "http_pair.h"

namespace muster::lb::test {
namespace {

using namespace std::chrono_literals;

struct Refused {
  const char* name;
  std::string request;
  int status;
};
std::ostream& operator<<(std::ostream& out, const Refused& c) {
  return out << c.name;
}
class Requests : public testing::TestWithParam<Refused> {};

TEST_P(Requests, AreRefusedAndNeverReachAReplica) {
  Pair pair(echo);
  Wire client = pair.start();
  client.send(GetParam().request);
  const auto answer = read_message(client);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status(), GetParam().status);
  EXPECT_EQ(answer->field("connection"), "close");
  EXPECT_EQ(client.rest(), "");
  EXPECT_EQ(pair.replica.connections(), 0);
}

INSTANTIATE_TEST_SUITE_P(
    Bad, Requests,
    testing::Values(
        Refused{"not HTTP", "hello\r\n\r\n", 400}, Refused{"no host", "GET / HTTP/1.1\r\n\r\n", 400},
        Refused{
            "smuggling",
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400},
        Refused{"a bad chunk", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
                400},
        Refused{"CONNECT", "CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n", 405},
        Refused{"a long target", "GET /" + std::string(20000, 'a') + " HTTP/1.1\r\nHost: h\r\n\r\n", 414},
        Refused{"a long head", "GET / HTTP/1.1\r\nHost: h\r\nX: " + std::string(40000, 'a') + "\r\n\r\n",
                431},
        Refused{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
        Refused{"an expectation", "GET / HTTP/1.1\r\nHost: h\r\nExpect: x\r\n\r\n", 417}));

// RFC 9110 9.3.2, also where muster answers itself.
TEST(Http, ARefusalOfHeadHasNoBody) {
  Pair pair(echo);
  pair.listener().timeout.head = 100ms;
  pair.rig.publish();
  for (const auto& [request, status] :
       {std::pair{"HEAD / HTTP/1.1\r\n\r\n", 400}, std::pair{"\r\nHEAD / HTTP/1.1\r\nX : y\r\n\r\n", 400},
        std::pair{"HEAD / HTTP/1.1\r\nHost: h\r\nExpect: x\r\n\r\n", 417},
        std::pair{"HEAD / HTTP/1.1\r\nHost: h\r\n", 408}}) {
    Wire client = pair.rig.client();
    client.send(request);
    const auto answer = read_message(client, true);
    ASSERT_TRUE(answer) << request;
    EXPECT_EQ(answer->status(), status) << request;
    EXPECT_NE(answer->field("content-length"), "0");
    EXPECT_EQ(client.rest(), "") << request;
  }
}

TEST(Http, ABadChunkLaterIsRefusedToo) {
  Pair pair(echo);
  Wire client = pair.start();
  client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
  ASSERT_TRUE(pair.rig.wait_in_flight(InstanceId{pair.replica.port()}, 1));
  client.send("zzz\r\n");
  const auto answer = read_message(client);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status(), 400);
}

TEST(Http, BodyMaxHoldsForALengthAndForChunks) {
  Pair pair(echo);
  pair.listener().body_max = 10;
  Wire client = pair.start();
  client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n0123456789");
  auto answer = read_message(client);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status(), 200);
  client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n");
  answer = read_message(client);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status(), 413);
  Wire chunks = pair.rig.client();
  chunks.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n012345\r\n");
  ASSERT_TRUE(pair.rig.wait_in_flight(InstanceId{pair.replica.port()}, 1));
  chunks.send("5\r\n01234\r\n");
  answer = read_message(chunks);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status(), 413);
  EXPECT_EQ(chunks.rest(), "");
}

TEST(Http, AHeadThatDoesNotComeInTimeIs408) {
  Pair pair(echo);
  pair.listener().timeout.head = 100ms;
  Wire client = pair.start();
  client.send("GET / HTT");
  const auto answer = read_message(client);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status(), 408);
  Wire silent = pair.rig.client();
  EXPECT_EQ(silent.rest(), "") << "who said nothing is told nothing";
}

TEST(Http, ABodyThatDoesNotComeInTimeIs408) {
  Pair pair(echo);
  pair.listener().timeout.idle = 100ms;
  Wire client = pair.start();
  client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab");
  const auto answer = read_message(client);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status(), 408);
}

TEST(Http, AnIdleConnectionIsClosed) {
  Pair pair(echo);
  pair.listener().timeout.idle = 100ms;
  Wire client = pair.start();
  client.send(plain_get);
  EXPECT_TRUE(read_message(client));
  EXPECT_EQ(client.rest(), "");
}

TEST(Http, AnAnswerThatDoesNotComeInTimeIs504) {
  Pair pair([](Wire& wire) {
    wire.until("\r\n\r\n");
    wire.some();  // until the balancer gives up
  });
  pair.listener().timeout.response = 100ms;
  Wire client = pair.start();
  client.send(plain_get);
  const auto answer = read_message(client);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status(), 504);
  EXPECT_EQ(answer->field("connection"), "") << "the client's connection can go on";
  EXPECT_TRUE(pair.rig.wait_failure(InstanceId{pair.replica.port()}));
}

class BadAnswers : public testing::TestWithParam<const char*> {};

TEST_P(BadAnswers, Are502AndTheUpstreamIsClosed) {
  Pair pair(says(GetParam()));
  Wire client = pair.start();
  for (int i = 1; i <= 2; ++i) {
    client.send(plain_get);
    const auto answer = read_message(client);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->status(), 502);
    EXPECT_EQ(pair.replica.connections(), i) << "never reused, never tried again";
  }
}

INSTANTIATE_TEST_SUITE_P(
    Heads, BadAnswers,
    testing::Values("hello\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
                    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                    "HTTP/1.1 101 Switch\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
                    "HTTP/1.1 200 OK\nContent-Length: 0\n\n"));

TEST(Http, BytesBehindAnAnswerEndTheUpstream) {
  Pair pair(says(
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong"));
  Wire client = pair.start();
  for (int i = 1; i <= 3; ++i) {
    client.send(plain_get);
    const auto answer = read_message(client);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->body, "ok");
    EXPECT_EQ(pair.replica.connections(), i);
  }
}

class CutAnswers : public testing::TestWithParam<const char*> {};

TEST_P(CutAnswers, NeverLookComplete) {
  Pair pair(says(GetParam(), true));
  Wire client = pair.start();
  client.send(plain_get);
  EXPECT_FALSE(read_message(client));
  Wire old = pair.rig.client();
  old.send("GET / HTTP/1.0\r\n\r\n");
  const auto answer = read_message(old);
  EXPECT_FALSE(answer) << answer->head << answer->body;
}

INSTANTIATE_TEST_SUITE_P(
    Bodies, CutAnswers,
    testing::Values("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n"));

TEST(Http, ACutAnswerThatEndsByReset) {
  Pair pair([](Wire& wire) {
    if (!read_message(wire)) return;
    wire.send("HTTP/1.0 200 OK\r\n\r\nabc");
    wire.some(1);  // until the client has what was sent
    wire.reset();
  });
  Wire client = pair.start();
  client.send("GET / HTTP/1.0\r\n\r\n");
  ASSERT_TRUE(client.until("abc"));
  pair.replica.reset_connections();
  EXPECT_FALSE(client.rest()) << "a reset, not an end";
}

// A truncated request never looks complete to the replica either.
TEST(Http, ACutRequestIsCutAtTheReplica) {
  std::atomic<int> whole{0};
  std::atomic<int> cut{0};
  Pair pair([&](Wire& wire) { ++(read_message(wire) ? whole : cut); });
  Wire client = pair.start();
  client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
  ASSERT_TRUE(pair.replica.wait_open(1));
  client.close();
  ASSERT_TRUE(pair.rig.wait_in_flight(InstanceId{pair.replica.port()}, 0));
  pair.replica.join();
  EXPECT_EQ(whole, 0);
  EXPECT_EQ(cut, 1);
}

}  // namespace
}  // namespace muster::lb::test
