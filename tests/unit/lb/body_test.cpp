// Bodies: where they end, by length, by chunks or with the connection (RFC 9112 6 and 7).
#include <gtest/gtest.h>

#include <algorithm>
#include <ostream>
#include <string>

#include "lb/http_body.h"

namespace muster::lb {
namespace {

struct Read {
  std::string payload;
  std::string trailers;
  std::string rest;  // what was not taken
  BodyState state = BodyState::more;
};

// Feeds `bytes` in pieces of `step`.
Read read(BodyReader reader, std::string_view bytes, std::size_t step) {
  Read result;
  while (!bytes.empty() && result.state == BodyState::more) {
    std::string_view piece = bytes.substr(0, step);
    while (!piece.empty() && result.state == BodyState::more) {
      const BodyPiece taken = reader.next(piece);
      result.payload += taken.payload;
      result.state = taken.state;
      piece.remove_prefix(taken.consumed);
      bytes.remove_prefix(taken.consumed);
      if (taken.consumed == 0) break;
    }
  }
  result.trailers = reader.trailers();
  result.rest = bytes;
  return result;
}

struct Case {
  const char* rule;
  std::string bytes;
  BodyState state;
  std::string payload;
  std::string trailers;
  std::string rest;
};
std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.rule;
}

class ChunkedRules : public testing::TestWithParam<Case> {};

// Each in one piece and in pieces of every small size: the cut never matters.
TEST_P(ChunkedRules, HoldHoweverTheBytesCome) {
  const Case& c = GetParam();
  for (const std::size_t step :
       {c.bytes.size(), std::size_t{1}, std::size_t{2}, std::size_t{3}, std::size_t{7}}) {
    const Read result = read(BodyReader(BodyKind::chunked, 0), c.bytes, step);
    EXPECT_EQ(result.state, c.state) << step;
    if (c.state == BodyState::bad) continue;
    EXPECT_EQ(result.payload, c.payload) << step;
    EXPECT_EQ(result.trailers, c.trailers) << step;
    EXPECT_EQ(result.rest, c.rest) << step;
  }
}

Case good(const char* rule, std::string bytes, std::string payload, std::string trailers = "",
          std::string rest = "") {
  return {rule, std::move(bytes), BodyState::done, std::move(payload), std::move(trailers), std::move(rest)};
}
Case bad(const char* rule, std::string bytes) {
  return {rule, std::move(bytes), BodyState::bad, "", "", ""};
}
Case open(const char* rule, std::string bytes, std::string payload) {
  return {rule, std::move(bytes), BodyState::more, std::move(payload), "", ""};
}
std::string extensions(int chunks, std::size_t each) {
  std::string bytes;
  for (int i = 0; i < chunks; ++i) bytes += "1;" + std::string(each, 'e') + "\r\nx\r\n";
  return bytes + "0\r\n\r\n";
}

INSTANTIATE_TEST_SUITE_P(
    Chunks, ChunkedRules,
    testing::Values(
        good("one", "3\r\nabc\r\n0\r\n\r\n", "abc"), good("two", "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "abcde"),
        good("none", "0\r\n\r\n", ""), good("several zeros", "000\r\n\r\n", ""),
        good("hex in both cases", "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789"),
        good("leading zeros", "0000000000000003\r\nabc\r\n0\r\n\r\n", "abc"),
        good("the next message is left", "1\r\na\r\n0\r\n\r\nGET /", "a", "", "GET /"),
        good("payload that looks like framing", "5\r\n0\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n"),
        bad("17 digits", "00000000000000003\r\nabc\r\n0\r\n\r\n"), bad("2^63", "8000000000000000\r\na"),
        open("2^63-1", "7fffffffffffffff\r\na", "a"), bad("no size", "\r\nabc"),
        bad("a sign", "+3\r\nabc\r\n0\r\n\r\n"), bad("0x", "0x3\r\nabc\r\n0\r\n\r\n"),
        bad("a space first", " 3\r\nabc\r\n0\r\n\r\n"),
        bad("a bare LF behind the size", "3\nabc\r\n0\r\n\r\n"),
        bad("a bare CR behind the size", "3\rabc\r\n0\r\n\r\n"),
        bad("no CRLF behind the data", "3\r\nabcd\r\n0\r\n\r\n"),
        bad("a bare LF behind the data", "3\r\nabc\n0\r\n\r\n"), bad("a bare LF at the end", "0\r\n\n"),
        bad("white space and no extension", "3 x\r\nabc\r\n0\r\n\r\n"),
        open("cut in the data", "3\r\nab", "ab"),
        open("cut before the last line", "3\r\nabc\r\n0\r\n", "abc"),
        good("an extension", "3;name=value\r\nabc\r\n0;x\r\n\r\n", "abc"),
        good("white space around an extension", "3 \t;a=\"b\"\r\nabc\r\n0\r\n\r\n", "abc"),
        bad("a control byte in an extension", "3;a\x01\r\nabc\r\n0\r\n\r\n"),
        bad("a bare LF in an extension", "3;a\nabc\r\n0\r\n\r\n"),
        good("an extension of 256 bytes", extensions(1, 256), "x"), bad("a longer one", extensions(1, 257)),
        good("4 KiB of them", extensions(16, 256), std::string(16, 'x')),
        bad("more in all", extensions(17, 256))));

INSTANTIATE_TEST_SUITE_P(
    Trailers, ChunkedRules,
    testing::Values(good("one", "0\r\nX-Sum: 1\r\n\r\n", "", "X-Sum: 1\r\n"),
                    good("two", "1\r\na\r\n0\r\nA: 1\r\nB: 2\r\n\r\n", "a", "A: 1\r\nB: 2\r\n"),
                    good("framing and routing fields are dropped",
                         "0\r\nContent-Length: 5\r\nA: 1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
                         "", "A: 1\r\n"),
                    bad("a folded one", "0\r\nA: 1\r\n b\r\n\r\n"), bad("no colon", "0\r\nA\r\n\r\n"),
                    bad("no name", "0\r\n: 1\r\n\r\n"), bad("a space before the colon", "0\r\nA : 1\r\n\r\n"),
                    bad("a control byte", "0\r\nA: \x02\r\n\r\n"), bad("a bare LF", "0\r\nA: 1\n\r\n"),
                    bad("a bare CR", "0\r\nA: 1\rB: 2\r\n\r\n"),
                    bad("over 8 KiB",
                        "0\r\nA: " + std::string(limits::http_trailer_bytes_max, 'a') + "\r\n\r\n"),
                    bad("over 8 KiB in many", [] {
                      std::string bytes = "0\r\n";
                      for (int i = 0; i < 1000; ++i) bytes += "A: 1234567\r\n";
                      return bytes + "\r\n";
                    }())));

TEST(Body, EndsByLength) {
  const Read whole = read(BodyReader(BodyKind::sized, 5), "hello, next", 4);
  EXPECT_EQ(whole.state, BodyState::done);
  EXPECT_EQ(whole.payload, "hello");
  EXPECT_EQ(whole.rest, ", next");
  const Read cut = read(BodyReader(BodyKind::sized, 5), "hell", 4);
  EXPECT_EQ(cut.state, BodyState::more);
}

TEST(Body, IsCompleteAtCloseOnlyWhenItEndsWithTheConnection) {
  BodyReader sized(BodyKind::sized, 3);
  EXPECT_FALSE(sized.complete_at_close());
  sized.next("abc");
  EXPECT_TRUE(sized.complete_at_close());
  BodyReader chunked(BodyKind::chunked, 0);
  chunked.next("1\r\na");
  chunked.next("\r\n0\r\n");
  EXPECT_FALSE(chunked.complete_at_close()) << "its last line is missing";
  chunked.next("\r\n");
  EXPECT_TRUE(chunked.complete_at_close());
  EXPECT_TRUE(BodyReader(BodyKind::until_close, 0).complete_at_close());
  EXPECT_FALSE(BodyReader(BodyKind::until_close, 0).done());
  EXPECT_TRUE(BodyReader().done());
}

// A body without a message: nothing is taken from what follows.
TEST(Body, NoneTakesNothing) {
  BodyReader none(BodyKind::none, 0);
  const BodyPiece piece = none.next("GET");
  EXPECT_EQ(piece.consumed, 0U);
  EXPECT_EQ(piece.state, BodyState::done);
}

}  // namespace
}  // namespace muster::lb
