// What the proxy writes: exactly this and nothing of what the sender wrote beside it.
#include <gtest/gtest.h>

#include <string>

#include "lb/http_write.h"

namespace muster::lb {
namespace {

std::string forwarded(const std::string& bytes, const Origin& origin = {.address = "192.0.2.7"}) {
  RequestHead head;
  const HeadVerdict verdict = parse_request(bytes, head);
  EXPECT_EQ(verdict.state, HeadState::complete) << verdict.reason;
  Buffer out;
  write_request_head(out, head, origin);
  return std::string(out.view());
}

std::string answered(const std::string& bytes, const AnswerForm& form) {
  ResponseHead head;
  const HeadVerdict verdict = parse_response(bytes, head);
  EXPECT_EQ(verdict.state, HeadState::complete) << verdict.reason;
  Buffer out;
  write_response_head(out, head, form);
  return std::string(out.view());
}

TEST(Pen, TextsOfAnyLengthArePutWhole) {
  const std::string text = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGH";
  for (std::size_t size = 0; size <= text.size(); ++size) {
    const std::string_view part = std::string_view(text).substr(0, size);
    Buffer out;
    out.append_with(size + 2, [&](Pen pen) { return pen.put("<").put_short(part).put(">"); });
    EXPECT_EQ(out.view(), "<" + std::string(part) + ">");
  }
}

const std::string ours =
    "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\n\r\n";

TEST(RequestToReplica, IsWrittenAnew) {
  EXPECT_EQ(forwarded("GET /a?b HTTP/1.1\r\naccept:\t*/* \r\nHOST: h\r\n\r\n"),
            "GET /a?b HTTP/1.1\r\naccept: */*\r\nHOST: h\r\n" + ours);
}

TEST(RequestToReplica, DropsWhatEndsAtThisHop) {
  EXPECT_EQ(forwarded("GET / HTTP/1.1\r\nHost: h\r\nConnection: close, X-Secret\r\nX-Secret: "
                      "1\r\nKeep-Alive: 5\r\nTE: trailers\r\n"
                      "Proxy-Connection: keep-alive\r\nUpgrade: websocket\r\nX-Stays: 1\r\n\r\n"),
            "GET / HTTP/1.1\r\nHost: h\r\nX-Stays: 1\r\n" + ours);
}

TEST(RequestToReplica, ReplacesWhatTheClientSaysOfItself) {
  EXPECT_EQ(forwarded("GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.1.1.1\r\nx-forwarded-proto: "
                      "https\r\nX-Forwarded-Host: evil\r\n"
                      "Forwarded: for=1.1.1.1\r\n\r\n"),
            "GET / HTTP/1.1\r\nHost: h\r\n" + ours);
}

TEST(RequestToReplica, DropsWhatCgiWouldReadAsTheAddress) {
  EXPECT_EQ(
      forwarded("GET / HTTP/1.1\r\nHost: h\r\nX_Forwarded-For: 1.1.1.1\r\nx_request_id: z\r\nX_Y: 1\r\n\r\n"),
      "GET / HTTP/1.1\r\nHost: h\r\nX_Y: 1\r\n" + ours);
}

TEST(RequestToReplica, CountsHopsOfOptionsAndTrace) {
  EXPECT_EQ(forwarded("OPTIONS * HTTP/1.1\r\nHost: h\r\nMax-Forwards: 10\r\nX: y\r\n\r\n"),
            "OPTIONS * HTTP/1.1\r\nHost: h\r\nX: y\r\nMax-Forwards: 9\r\n" + ours);
  EXPECT_EQ(forwarded("GET / HTTP/1.1\r\nHost: h\r\nMax-Forwards: 10\r\n\r\n"),
            "GET / HTTP/1.1\r\nHost: h\r\nMax-Forwards: 10\r\n" + ours);
  EXPECT_EQ(forwarded("TRACE / HTTP/1.1\r\nHost: h\r\nMax-Forwards: ten\r\n\r\n"),
            "TRACE / HTTP/1.1\r\nHost: h\r\nMax-Forwards: ten\r\n" + ours);
}

TEST(AnswerToClient, GetsADateWhereItHasNone) {
  const AnswerForm form{.body = BodyKind::sized, .date = "now"};
  EXPECT_EQ(answered("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", form),
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: now\r\n\r\n");
  EXPECT_EQ(answered("HTTP/1.1 200 OK\r\ndate: then\r\nContent-Length: 2\r\n\r\n", form),
            "HTTP/1.1 200 OK\r\ndate: then\r\nContent-Length: 2\r\n\r\n");
}

TEST(HttpDate, IsAnImfFixdate) {
  const auto text = [](std::time_t when) {
    const auto date = http_date(when);
    return std::string(date.data(), date.size());
  };
  EXPECT_EQ(text(784111777), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(text(0), "Thu, 01 Jan 1970 00:00:00 GMT");
  EXPECT_EQ(text(951782400), "Tue, 29 Feb 2000 00:00:00 GMT");
}

TEST(RequestToReplica, SaysThatItCameEncrypted) {
  Origin client{.address = "192.0.2.7", .is_encrypted = true};
  const std::string https =
      "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: "
      "https\r\nX-Forwarded-Host: "
      "h\r\n\r\n";
  EXPECT_EQ(forwarded("GET / HTTP/1.1\r\nHost: h\r\n\r\n", client), https);
  client.is_trusted_proxy = true;
  EXPECT_EQ(forwarded("GET / HTTP/1.1\r\nHost: h\r\n\r\n", client), https);
}

TEST(RequestToReplica, KeepsWhatATrustedProxySaysAndAddsIt) {
  const Origin proxy{.address = "192.0.2.7", .is_trusted_proxy = true};
  EXPECT_EQ(forwarded("GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.1.1.1\r\nx-forwarded-proto: https\r\n"
                      "X-Forwarded-Host: a\r\nX-Forwarded-For: 2.2.2.2\r\nX-Forwarded-Host: b\r\n"
                      "Forwarded: for=1.1.1.1\r\n\r\n",
                      proxy),
            "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.1.1.1, 2.2.2.2, 192.0.2.7\r\n"
            "X-Forwarded-Proto: https\r\nX-Forwarded-Host: a\r\nForwarded: for=1.1.1.1\r\n\r\n");
  EXPECT_EQ(forwarded("GET / HTTP/1.1\r\nHost: h\r\n\r\n", proxy), "GET / HTTP/1.1\r\nHost: h\r\n" + ours);
}

TEST(RequestToReplica, HasAnId) {
  const Origin origin{.address = "192.0.2.7", .request_id = "0123"};
  const auto id_of = [&](const std::string& fields) {
    const std::string out = forwarded("GET / HTTP/1.1\r\nHost: h\r\n" + fields + "\r\n", origin);
    const std::size_t at = out.find("X-Request-Id: ");
    EXPECT_EQ(out.find("equest-", at + 14), std::string::npos);  // one only
    return at == std::string::npos ? "" : out.substr(at + 14, out.find('\r', at) - at - 14);
  };
  EXPECT_EQ(id_of(""), "0123");
  EXPECT_EQ(id_of("x-request-id: 6ba7b810-9dad-11d1\r\n"), "6ba7b810-9dad-11d1");
  EXPECT_EQ(id_of("X-Request-Id: a b\r\n"), "0123");
  EXPECT_EQ(id_of("X-Request-Id: \"x\"\r\n"), "0123");
  EXPECT_EQ(id_of("X-Request-Id:\r\n"), "0123");
  EXPECT_EQ(id_of("X-Request-Id: " + std::string(128, 'a') + "\r\n"), std::string(128, 'a'));
  EXPECT_EQ(id_of("X-Request-Id: " + std::string(129, 'a') + "\r\n"), "0123");
}

TEST(RequestToReplica, IsEditedAsTheSpecSays) {
  spec::HeaderEdits edits;
  edits.set = {{"Host", "inner"}, {"X-Set", "new"}, {"X-Forwarded-Proto", "https"}};
  edits.add = {{"X-Add", "2"}, {"X-Add", "3"}};
  edits.remove = {"x-secret", "x-forwarded-for"};
  EXPECT_EQ(
      forwarded("GET / HTTP/1.1\r\nHost: h\r\nx-set: old\r\nX-SET: older\r\nX-Add: 1\r\nX-Secret: s\r\n\r\n",
                {.address = "192.0.2.7", .edits = &edits}),
      "GET / HTTP/1.1\r\nX-Add: 1\r\nX-Forwarded-Host: h\r\nHost: inner\r\nX-Set: new\r\n"
      "X-Forwarded-Proto: https\r\nX-Add: 2\r\nX-Add: 3\r\n\r\n");
}

TEST(AnswerToClient, IsEditedAsTheSpecSays) {
  spec::HeaderEdits edits;
  edits.set = {{"Server", "muster"}};
  edits.add = {{"Strict-Transport-Security", "max-age=1"}};
  edits.remove = {"x-powered-by"};
  ResponseHead head;
  const std::string bytes = "HTTP/1.1 200 OK\r\nserver: x\r\nX-Powered-By: y\r\nContent-Length: 0\r\n\r\n";
  ASSERT_EQ(parse_response(bytes, head).state, HeadState::complete);
  Buffer out;
  write_response_head(out, head, {.body = BodyKind::sized}, &edits);
  EXPECT_EQ(out.view(),
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nServer: muster\r\nStrict-Transport-Security: "
            "max-age=1\r\n\r\n");
  Buffer own;
  write_own_answer(own, {.status = 503, .text = "no", .close = false, .edits = &edits});
  EXPECT_NE(own.view().find("\r\nServer: muster\r\nStrict-Transport-Security: max-age=1\r\n\r\nno\n"),
            std::string_view::npos);
}

TEST(RequestToReplica, KeepsItsFraming) {
  EXPECT_EQ(forwarded("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 12\r\n\r\n"),
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 12\r\n" + ours);
  EXPECT_EQ(forwarded("POST / HTTP/1.1\r\nTransfer-Encoding: CHUNKED\r\nHost: h\r\nTrailer: X\r\n\r\n"),
            "POST / HTTP/1.1\r\nHost: h\r\nTrailer: X\r\nTransfer-Encoding: chunked\r\n" + ours);
}

TEST(RequestToReplica, TakesTheAuthorityOfAbsoluteForm) {
  EXPECT_EQ(forwarded("GET http://h/x HTTP/1.1\r\nHost: other\r\n\r\n"),
            "GET /x HTTP/1.1\r\nHost: h\r\n" + ours);
}

TEST(RequestToReplica, HasAPathBeforeTheQuery) {
  EXPECT_EQ(forwarded("GET http://h?x=1 HTTP/1.1\r\nHost: h\r\n\r\n"),
            "GET /?x=1 HTTP/1.1\r\nHost: h\r\n" + ours);
  EXPECT_EQ(forwarded("OPTIONS http://h?x HTTP/1.1\r\nHost: h\r\n\r\n"),
            "OPTIONS /?x HTTP/1.1\r\nHost: h\r\n" + ours);
}

TEST(RequestToReplica, ForwardsAnUpgradeThatMayBeForwarded) {
  EXPECT_EQ(
      forwarded("GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: "
                "websocket\r\nSec-WebSocket-Key: k\r\n\r\n"),
      "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\nConnection: upgrade\r\n" +
          ours);
}

TEST(RequestToReplica, PassesAnExpectationOnFrom11Only) {
  EXPECT_EQ(forwarded("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"),
            "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n" + ours);
  EXPECT_EQ(forwarded("POST / HTTP/1.0\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"),
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n" + ours);
}

TEST(RequestToReplica, OfHttp10WithoutHostHasAnEmptyOne) {
  EXPECT_EQ(forwarded("GET / HTTP/1.0\r\n\r\n"),
            "GET / HTTP/1.1\r\nHost: \r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\n\r\n");
}

TEST(AnswerToClient, DropsWhatEndsAtThisHop) {
  EXPECT_EQ(answered("HTTP/1.0 200 Fine\r\nConnection: X-A\r\nX-A: 1\r\nKeep-Alive: "
                     "5\r\nserver:x\r\nContent-Length: 3\r\n\r\n",
                     {.body = BodyKind::sized}),
            "HTTP/1.1 200 Fine\r\nserver: x\r\nContent-Length: 3\r\n\r\n");
}

TEST(AnswerToClient, IsFramedForTheClient) {
  const std::string chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n";
  EXPECT_EQ(answered(chunked, {.body = BodyKind::chunked}),
            "HTTP/1.1 200 OK\r\nTrailer: X\r\nTransfer-Encoding: chunked\r\n\r\n");
  EXPECT_EQ(answered(chunked, {.body = BodyKind::until_close, .close = true}),
            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
  const std::string head = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
  EXPECT_EQ(answered(head, {.keep_length = true}), head) << "the answer to HEAD keeps its length";
  EXPECT_EQ(answered("HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n", {}), "HTTP/1.1 204 No\r\n\r\n");
  EXPECT_EQ(
      answered("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", {.keep_length = true, .keep_alive_1_0 = true}),
      "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n");
}

TEST(AnswerToClient, OpensATunnel) {
  EXPECT_EQ(
      answered("HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", {.upgrade = true}),
      "HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n");
}

TEST(OwnAnswer, SaysWhatItIs) {
  Buffer out;
  write_own_answer(out,
                   {.status = 503, .text = "no replica is ready", .close = false, .retry_after_seconds = 1});
  EXPECT_EQ(out.view(),
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: "
            "20\r\nRetry-After: 1\r\n\r\nno replica is ready\n");
  out.clear();
  write_own_answer(out, {.status = 405, .text = "no", .close = true, .head_only = true});
  EXPECT_EQ(out.view(),
            "HTTP/1.1 405 Method Not Allowed\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n"
            "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE\r\nConnection: close\r\n\r\n");
}

TEST(Buffer, GrowsAndKeepsOrder) {
  Buffer buffer;
  std::string expected;
  for (int i = 0; i < 1000; ++i) {
    buffer.append("0123456789");
    expected += "0123456789";
  }
  EXPECT_EQ(buffer.view(), expected);
  buffer.consume(4);
  EXPECT_EQ(buffer.view(), expected.substr(4));
  buffer.consume(1 << 20);
  EXPECT_TRUE(buffer.empty());
  EXPECT_GT(buffer.capacity(), 0U);
  buffer.release();
  EXPECT_EQ(buffer.capacity(), 0U);
}

}  // namespace
}  // namespace muster::lb
