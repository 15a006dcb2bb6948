// Request heads, rule by rule: RFC 9112 2-6, RFC 9110 5, 7 and 10.
#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

#include "lb/http_head.h"

namespace muster::lb {
namespace {

struct Case {
  const char* rule;
  std::string bytes;
  int status;  // 0: accepted
};
std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.rule;
}

const std::string host = "Host: h\r\n";
std::string get(const std::string& fields) {
  return "GET / HTTP/1.1\r\n" + host + fields + "\r\n";
}
std::string line(const std::string& request_line) {
  return request_line + "\r\n" + host + "\r\n";
}
std::string with_byte(char c) {
  return get(std::string("X: a") + c + "b\r\n");
}

class RequestHeadRules : public testing::TestWithParam<Case> {};

TEST_P(RequestHeadRules, Hold) {
  RequestHead head;
  const HeadVerdict verdict = parse_request(GetParam().bytes, head);
  if (GetParam().status == 0) {
    EXPECT_EQ(verdict.state, HeadState::complete) << verdict.reason;
    EXPECT_EQ(head.bytes, GetParam().bytes.size());
  } else {
    EXPECT_EQ(verdict.state, HeadState::bad);
    EXPECT_EQ(verdict.status, GetParam().status) << verdict.reason;
    EXPECT_NE(std::string(verdict.reason), "");
  }
}

INSTANTIATE_TEST_SUITE_P(
    RequestLine, RequestHeadRules,
    testing::Values(
        Case{"the plainest", line("GET / HTTP/1.1"), 0},
        Case{"HTTP/1.0 needs no Host", "GET / HTTP/1.0\r\n\r\n", 0},
        Case{"one empty line before it (2.2)", "\r\n" + line("GET / HTTP/1.1"), 0},
        Case{"two empty lines", "\r\n\r\n" + line("GET / HTTP/1.1"), 400},
        Case{"an unknown method passes", line("BREW /pot HTTP/1.1"), 0},
        Case{"a method is a token", line("GE(T / HTTP/1.1"), 400},
        Case{"no method", line(" / HTTP/1.1"), 400},
        Case{"a long method", line(std::string(33, 'A') + " / HTTP/1.1"), 501},
        Case{"CONNECT", "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", 405},
        Case{"two spaces", line("GET  / HTTP/1.1"), 400},
        Case{"a tab for a space", line("GET\t/ HTTP/1.1"), 400},
        Case{"a space in the target", line("GET /a b HTTP/1.1"), 400},
        Case{"no target", line("GET HTTP/1.1"), 400}, Case{"no version (0.9)", line("GET /"), 400},
        Case{"a space behind the version", line("GET / HTTP/1.1 "), 400},
        Case{"lower-case http", line("GET / http/1.1"), 400},
        Case{"HTTP/1.2 is read as 1.1", line("GET / HTTP/1.2"), 0},
        Case{"HTTP/1.9 needs a Host", "GET / HTTP/1.9\r\n\r\n", 400},
        Case{"HTTP/2.0", line("GET / HTTP/2.0"), 505}, Case{"HTTP/0.9", line("GET / HTTP/0.9"), 505},
        Case{"the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
        Case{"HTTP/1.10", line("GET / HTTP/1.10"), 400}, Case{"HTTP/11", line("GET / HTTP/11"), 400},
        Case{"a bare LF ends the line", "GET / HTTP/1.1\nHost: h\r\n\r\n", 400},
        Case{"a bare CR in it", "GET / HTTP/1.1\rHost: h\r\n\r\n", 400},
        Case{"a fragment", line("GET /a#b HTTP/1.1"), 400},
        Case{"non-ASCII in the target", line("GET /\xc3\xa9 HTTP/1.1"), 400},
        Case{"a control byte in the target", line("GET /\x01 HTTP/1.1"), 400},
        Case{"DEL in the target", line("GET /\x7f HTTP/1.1"), 400},
        Case{"a target of 16 KiB", line("GET /" + std::string(16383, 'a') + " HTTP/1.1"), 0},
        Case{"a longer target", line("GET /" + std::string(16384, 'a') + " HTTP/1.1"), 414},
        Case{"percent, quotes and braces pass", line("GET /%00\"{}|^`<>\\ HTTP/1.1"), 0},
        Case{"neither path nor URL", line("GET index.html HTTP/1.1"), 400},
        Case{"another scheme", line("GET ftp://h/ HTTP/1.1"), 400},
        Case{"absolute-form", line("GET http://h/a?b HTTP/1.1"), 0},
        Case{"absolute-form with user info", line("GET http://me@h/ HTTP/1.1"), 400},
        Case{"absolute-form without a host", line("GET http:///a HTTP/1.1"), 400},
        Case{"absolute-form, query without path", line("GET http://h?x HTTP/1.1"), 0},
        Case{"* is for OPTIONS", line("OPTIONS * HTTP/1.1"), 0},
        Case{"* with GET", line("GET * HTTP/1.1"), 400},
        Case{"TLS on a plain port", std::string("\x16\x03\x01\x02\x00\x01", 6), 400}));

INSTANTIATE_TEST_SUITE_P(
    Fields, RequestHeadRules,
    testing::Values(
        Case{"white space around a value", get("X: \t a \t \r\n"), 0},
        Case{"an empty value", get("X:\r\n"), 0},
        Case{"bytes above 127 in a value", get("X: \xff\xc3\xa9\r\n"), 0},
        Case{"HTAB inside a value", with_byte('\t'), 0}, Case{"NUL in a value", with_byte('\0'), 400},
        Case{"ESC in a value", with_byte('\x1b'), 400}, Case{"DEL in a value", with_byte('\x7f'), 400},
        Case{"a bare CR in a value", with_byte('\r'), 400},
        Case{"a bare LF in a value", with_byte('\n'), 400},
        Case{"a control byte far into a value",
             get("X: " + std::string(40, 'a') + "\x02" + std::string(40, 'a') + "\r\n"), 400},
        Case{"a space before the colon", get("X : a\r\n"), 400},
        Case{"a tab before the colon", get("X\t: a\r\n"), 400}, Case{"no name", get(": a\r\n"), 400},
        Case{"no colon", get("X a\r\n"), 400}, Case{"a name that is no token", get("X(y): a\r\n"), 400},
        Case{"a name with bytes above 127", get("X\xe9: a\r\n"), 400},
        Case{"obs-fold with a space", get("X: a\r\n b\r\n"), 400},
        Case{"obs-fold with a tab", get("X: a\r\n\tb\r\n"), 400},
        Case{"white space before the first field", "GET / HTTP/1.1\r\n Host: h\r\n\r\n", 400},
        Case{"an empty line of LF alone", "GET / HTTP/1.1\r\nHost: h\r\n\n", 400}));

INSTANTIATE_TEST_SUITE_P(
    Host, RequestHeadRules,
    testing::Values(Case{"missing in 1.1", "GET / HTTP/1.1\r\n\r\n", 400},
                    Case{"twice, the same", get("Host: h\r\n"), 400},
                    Case{"twice in 1.0", "GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n", 400},
                    Case{"missing beside absolute-form", "GET http://h/ HTTP/1.1\r\n\r\n", 400},
                    Case{"empty", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 400},
                    Case{"with a port", "GET / HTTP/1.1\r\nHost: h:8080\r\n\r\n", 0},
                    Case{"with an empty port", "GET / HTTP/1.1\r\nHost: h:\r\n\r\n", 0},
                    Case{"a port of letters", "GET / HTTP/1.1\r\nHost: h:x\r\n\r\n", 400},
                    Case{"a port above 65535", "GET / HTTP/1.1\r\nHost: h:65536\r\n\r\n", 400},
                    Case{"IPv6", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 0},
                    Case{"IPv6 left open", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400},
                    Case{"IPv6 with a tail", "GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", 400},
                    Case{"a space in it", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
                    Case{"a list", "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", 0},
                    Case{"a slash in it", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
                    Case{"user info in it", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400}));

INSTANTIATE_TEST_SUITE_P(
    Framing, RequestHeadRules,
    testing::Values(
        Case{"Content-Length 0", get("Content-Length: 0\r\n"), 0},
        Case{"the largest", get("Content-Length: 9223372036854775807\r\n"), 0},
        Case{"one more", get("Content-Length: 9223372036854775808\r\n"), 400},
        Case{"2^64", get("Content-Length: 18446744073709551616\r\n"), 400},
        Case{"leading zeros are digits", get("Content-Length: 000000000000000000000005\r\n"), 0},
        Case{"empty", get("Content-Length:\r\n"), 400}, Case{"plus", get("Content-Length: +5\r\n"), 400},
        Case{"minus", get("Content-Length: -5\r\n"), 400}, Case{"hex", get("Content-Length: 0x5\r\n"), 400},
        Case{"a space inside", get("Content-Length: 5 5\r\n"), 400},
        Case{"a list of equals", get("Content-Length: 5, 5\r\n"), 400},
        Case{"a point", get("Content-Length: 5.0\r\n"), 400},
        Case{"twice, equal", get("Content-Length: 5\r\nContent-Length: 5\r\n"), 400},
        Case{"chunked", get("Transfer-Encoding: chunked\r\n"), 0},
        Case{"CHUNKED", get("transfer-encoding: CHUNKED\r\n"), 0},
        Case{"length beside coding", get("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400},
        Case{"coding beside length", get("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), 400},
        Case{"xchunked", get("Transfer-Encoding: xchunked\r\n"), 400},
        Case{"identity", get("Transfer-Encoding: identity\r\n"), 400},
        Case{"gzip, chunked", get("Transfer-Encoding: gzip, chunked\r\n"), 400},
        Case{"chunked, chunked", get("Transfer-Encoding: chunked, chunked\r\n"), 400},
        Case{"chunked with a parameter", get("Transfer-Encoding: chunked;q=1\r\n"), 400},
        Case{"an empty coding", get("Transfer-Encoding:\r\n"), 400},
        Case{"two coding fields", get("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400},
        Case{"VT before chunked",
             get("Transfer-Encoding: \x0b"
                 "chunked\r\n"),
             400},
        Case{"coding in 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        Case{"Connection names Host", get("Connection: host\r\n"), 400},
        Case{"Connection names Content-Length",
             get("Connection: close, Content-Length\r\nContent-Length: 3\r\n"), 400},
        Case{"Connection names Transfer-Encoding", get("Connection: transfer-encoding\r\n"), 400},
        Case{"Connection is no list of tokens", get("Connection: a b\r\n"), 400},
        Case{"empty elements of Connection", get("Connection: , close,,\r\n"), 0},
        Case{"another expectation", get("Expect: 200-ok\r\n"), 417}));

TEST(RequestHead, IsOverAtItsEmptyLine) {
  const std::string bytes = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcGET";
  RequestHead head;
  ASSERT_EQ(parse_request(bytes, head).state, HeadState::complete);
  EXPECT_EQ(bytes.substr(head.bytes), "abcGET");
  EXPECT_EQ(head.method, "POST");
  EXPECT_EQ(head.target, "/a");
  EXPECT_EQ(head.framing.body, BodyKind::sized);
  EXPECT_EQ(head.framing.length, 3U);
}

// Byte by byte: never decides early, and never differently from the whole.
TEST(RequestHead, NeedsMoreAtEveryPrefix) {
  const std::string bytes =
      "\r\nPOST http://h/x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nX-Long: " + std::string(50, 'v') +
      "\r\n\r\n";
  RequestHead head;
  for (std::size_t i = 0; i < bytes.size(); ++i)
    EXPECT_EQ(parse_request(bytes.substr(0, i), head).state, HeadState::need_more) << i;
  EXPECT_EQ(parse_request(bytes, head).state, HeadState::complete);
}

TEST(RequestHead, SaysWhatConnectionMeans) {
  const auto keep_alive = [](const std::string& bytes) {
    RequestHead head;
    EXPECT_EQ(parse_request(bytes, head).state, HeadState::complete);
    return head.framing.keep_alive;
  };
  EXPECT_TRUE(keep_alive(get("")));
  EXPECT_FALSE(keep_alive(get("Connection: close\r\n")));
  EXPECT_FALSE(keep_alive(get("Connection: keep-alive\r\nConnection: Close\r\n")));
  EXPECT_FALSE(keep_alive("GET / HTTP/1.0\r\n\r\n"));
  EXPECT_TRUE(keep_alive("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
}

TEST(RequestHead, MarksTheFieldsThatConnectionNames) {
  RequestHead head;
  const std::string bytes = get("X-Hop: 1\r\nConnection: x-hop, Close\r\nx-HOP: 2\r\nX-Hops: 3\r\n");
  ASSERT_EQ(parse_request(bytes, head).state, HeadState::complete);
  std::vector<std::string> named;
  for (const Field& field : head.fields.all()) {
    if (field.kind == FieldKind::named_by_connection) named.emplace_back(field.value);
  }
  EXPECT_EQ(named, (std::vector<std::string>{"1", "2"}));
}

TEST(RequestHead, TakesTheAuthorityOfAbsoluteForm) {
  RequestHead head;
  const std::string bytes = "GET http://real:81/a?b HTTP/1.1\r\nHost: other\r\n\r\n";
  ASSERT_EQ(parse_request(bytes, head).state, HeadState::complete);
  EXPECT_EQ(head.authority, "real:81");
  EXPECT_EQ(head.target, "/a?b");
  const std::string bare = line("GET HTTPS://real HTTP/1.1");
  ASSERT_EQ(parse_request(bare, head).state, HeadState::complete);
  EXPECT_EQ(head.target, "/");
  const std::string options = line("OPTIONS http://real HTTP/1.1");
  ASSERT_EQ(parse_request(options, head).state, HeadState::complete);
  EXPECT_EQ(head.target, "*");
}

TEST(RequestHead, AsksForAnUpgradeOnlyWhenItMayBeForwarded) {
  const auto upgrade = [](const std::string& bytes) {
    RequestHead head;
    EXPECT_EQ(parse_request(bytes, head).state, HeadState::complete);
    return head.framing.upgrade;
  };
  EXPECT_TRUE(upgrade(get("Connection: Upgrade\r\nUpgrade: websocket\r\n")));
  EXPECT_FALSE(upgrade(get("Upgrade: websocket\r\n"))) << "Connection must name it";
  EXPECT_FALSE(upgrade(get("Connection: Upgrade\r\n")));
  EXPECT_FALSE(upgrade(get("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n")));
  EXPECT_FALSE(upgrade(get("Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n")));
  EXPECT_FALSE(upgrade(get("Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n")))
      << "a body first";
  EXPECT_FALSE(upgrade("GET / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"));
}

TEST(RequestHead, ExpectationOfHttp10IsIgnored) {
  RequestHead head;
  ASSERT_EQ(parse_request("POST / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n", head).state,
            HeadState::complete);
  EXPECT_FALSE(head.expect_continue);
  ASSERT_EQ(parse_request(get("Expect: 100-Continue\r\n"), head).state, HeadState::complete);
  EXPECT_TRUE(head.expect_continue);
}

TEST(RequestHead, HasAtMostAHundredFields) {
  std::string fields;
  for (int i = 0; i < 99; ++i) fields += "X: y\r\n";
  RequestHead head;
  EXPECT_EQ(parse_request(get(fields), head).state, HeadState::complete);
  EXPECT_EQ(parse_request(get(fields + "X: y\r\n"), head).status, 431);
}

TEST(RequestHead, HasAtMost32KiB) {
  const std::string without = get("X: \r\n");
  const std::string fits =
      get("X: " + std::string(limits::http_head_bytes_max - without.size(), 'a') + "\r\n");
  ASSERT_EQ(fits.size(), limits::http_head_bytes_max);
  RequestHead head;
  EXPECT_EQ(parse_request(fits, head).state, HeadState::complete);
  const std::string longer =
      get("X: " + std::string(limits::http_head_bytes_max - without.size() + 1, 'a') + "\r\n");
  EXPECT_EQ(parse_request(longer, head).status, 431);
  EXPECT_EQ(parse_request(longer.substr(0, limits::http_head_bytes_max), head).status, 431)
      << "without its end";
}

TEST(RequestHead, KnowsWhatMayBeSentAgain) {
  for (const char* method : {"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
    EXPECT_TRUE(is_idempotent(method)) << method;
  for (const char* method : {"POST", "PATCH", "get", "BREW", ""})
    EXPECT_FALSE(is_idempotent(method)) << method;
}

}  // namespace
}  // namespace muster::lb
