// Response heads: an answer is held to the same rules as a request, and what is wrong with it is 502.
#include <gtest/gtest.h>

#include <ostream>
#include <string>

#include "lb/http_head.h"

namespace muster::lb {
namespace {

struct Case {
  const char* rule;
  std::string bytes;
  bool accepted;
};
std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.rule;
}
std::string ok(const std::string& fields) {
  return "HTTP/1.1 200 OK\r\n" + fields + "\r\n";
}
std::string status(const std::string& line, const std::string& fields = "") {
  return line + "\r\n" + fields + "\r\n";
}

class ResponseHeadRules : public testing::TestWithParam<Case> {};

TEST_P(ResponseHeadRules, Hold) {
  ResponseHead head;
  const HeadVerdict verdict = parse_response(GetParam().bytes, head);
  EXPECT_EQ(verdict.state, GetParam().accepted ? HeadState::complete : HeadState::bad) << verdict.reason;
  if (!GetParam().accepted) {
    EXPECT_EQ(verdict.status, 502);
  }
}

INSTANTIATE_TEST_SUITE_P(
    StatusLine, ResponseHeadRules,
    testing::Values(Case{"the plainest", ok(""), true}, Case{"no reason", status("HTTP/1.1 200 "), true},
                    Case{"no reason and no space", status("HTTP/1.1 200"), true},
                    Case{"a reason in UTF-8", status("HTTP/1.1 200 \xc3\xa9t\xc3\xa9"), true},
                    Case{"a control byte in the reason", status("HTTP/1.1 200 a\x01"), false},
                    Case{"HTTP/1.0", status("HTTP/1.0 200 OK"), true},
                    Case{"HTTP/1.2 is read as 1.1", status("HTTP/1.2 200 OK"), true},
                    Case{"HTTP/2", status("HTTP/2.0 200 OK"), false},
                    Case{"ICY", status("ICY 200 OK"), false},
                    Case{"two digits", status("HTTP/1.1 20 OK"), false},
                    Case{"four digits", status("HTTP/1.1 2000 OK"), false},
                    Case{"099", status("HTTP/1.1 099 x"), false},
                    Case{"600", status("HTTP/1.1 600 x"), false}, Case{"599", status("HTTP/1.1 599 x"), true},
                    Case{"two spaces", status("HTTP/1.1  200 OK"), false},
                    Case{"an empty line before it", "\r\n" + ok(""), false},
                    Case{"a bare LF", "HTTP/1.1 200 OK\nX: y\r\n\r\n", false},
                    Case{"no HTTP at all", "<html>hello</html>\r\n\r\n", false}));

INSTANTIATE_TEST_SUITE_P(
    Fields, ResponseHeadRules,
    testing::Values(
        Case{"two lengths, equal", ok("Content-Length: 5\r\nContent-Length: 5\r\n"), false},
        Case{"a list of lengths", ok("Content-Length: 5,5\r\n"), false},
        Case{"length beside coding", ok("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), false},
        Case{"gzip, chunked", ok("Transfer-Encoding: gzip, chunked\r\n"), false},
        Case{"coding in 1.0", status("HTTP/1.0 200 OK", "Transfer-Encoding: chunked\r\n"), false},
        Case{"obs-fold", ok("X: a\r\n b\r\n"), false},
        Case{"a space before the colon", ok("X : a\r\n"), false},
        Case{"NUL in a value", ok(std::string("X: a\0b\r\n", 8)), false},
        Case{"204 with a length", status("HTTP/1.1 204 No", "Content-Length: 5\r\n"), false},
        Case{"204 with length 0", status("HTTP/1.1 204 No", "Content-Length: 0\r\n"), true},
        Case{"204 with a coding", status("HTTP/1.1 204 No", "Transfer-Encoding: chunked\r\n"), false},
        Case{"100 with a length", status("HTTP/1.1 100 Go", "Content-Length: 5\r\n"), false},
        Case{"304 with a length", status("HTTP/1.1 304 Same", "Content-Length: 5\r\n"), true}));

BodyKind body_of(const std::string& bytes) {
  ResponseHead head;
  EXPECT_EQ(parse_response(bytes, head).state, HeadState::complete);
  return head.framing.body;
}

TEST(ResponseHead, SaysHowItsBodyEnds) {
  EXPECT_EQ(body_of(ok("Content-Length: 5\r\n")), BodyKind::sized);
  EXPECT_EQ(body_of(ok("Content-Length: 0\r\n")), BodyKind::none);
  EXPECT_EQ(body_of(ok("Transfer-Encoding: chunked\r\n")), BodyKind::chunked);
  EXPECT_EQ(body_of(ok("")), BodyKind::until_close);
  EXPECT_EQ(body_of(status("HTTP/1.1 204 No")), BodyKind::none);
  EXPECT_EQ(body_of(status("HTTP/1.1 304 Same", "Content-Length: 5\r\n")), BodyKind::none);
  EXPECT_EQ(body_of(status("HTTP/1.1 100 Go")), BodyKind::none);
}

TEST(ResponseHead, NeedsMoreAtEveryPrefix) {
  const std::string bytes = status("HTTP/1.1 200 All right", "Content-Length: 3\r\nX: y\r\n");
  ResponseHead head;
  for (std::size_t i = 0; i < bytes.size(); ++i)
    EXPECT_EQ(parse_response(bytes.substr(0, i), head).state, HeadState::need_more) << i;
  ASSERT_EQ(parse_response(bytes, head).state, HeadState::complete);
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.reason, "All right");
}

TEST(ResponseHead, HasAtMost32KiB) {
  ResponseHead head;
  EXPECT_EQ(
      parse_response("HTTP/1.1 200 OK\r\nX: " + std::string(limits::http_head_bytes_max, 'a'), head).status,
      502);
}

TEST(ResponseHead, SaysWhetherTheReplicaGoesOn) {
  ResponseHead head;
  ASSERT_EQ(parse_response(ok("Content-Length: 0\r\n"), head).state, HeadState::complete);
  EXPECT_TRUE(head.framing.keep_alive);
  ASSERT_EQ(parse_response(ok("Content-Length: 0\r\nConnection: close\r\n"), head).state,
            HeadState::complete);
  EXPECT_FALSE(head.framing.keep_alive);
  ASSERT_EQ(parse_response(status("HTTP/1.0 200 OK", "Content-Length: 0\r\n"), head).state,
            HeadState::complete);
  EXPECT_FALSE(head.framing.keep_alive);
}

}  // namespace
}  // namespace muster::lb
