#include "cli/http_answer.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::cli {
namespace {

using testing::HasSubstr;

const std::string whole =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{\"schema\":1";
const std::string chunked =
    "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n\nworld\r\n0\r\nA: "
    "b\r\n\r\n";

TEST(HttpAnswer, ReadsALength) {
  HttpAnswer answer;
  ASSERT_TRUE(answer.feed(whole));
  EXPECT_TRUE(answer.complete());
  EXPECT_EQ(answer.status(), 200);
  EXPECT_EQ(answer.take_body(), "{\"schema\":1");
}

TEST(HttpAnswer, IsTheSameHoweverTheBytesAreCut) {
  for (const auto& [text, body] :
       {std::pair(whole, std::string("{\"schema\":1")), std::pair(chunked, std::string("hello\nworld"))}) {
    for (std::size_t step = 1; step < text.size(); ++step) {
      HttpAnswer answer;
      std::string taken;
      for (std::size_t at = 0; at < text.size(); at += step) {
        ASSERT_TRUE(answer.feed(std::string_view(text).substr(at, step)));
        taken += answer.take_body();
      }
      EXPECT_TRUE(answer.complete()) << step;
      EXPECT_EQ(taken, body) << step;
    }
  }
}

TEST(HttpAnswer, AStreamGivesWhatIsThere) {
  HttpAnswer answer;
  ASSERT_TRUE(answer.feed("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{\"a\":1}"));
  EXPECT_EQ(answer.take_body(), "{\"a\":1}");
  EXPECT_FALSE(answer.complete());
  EXPECT_FALSE(answer.end()) << "cut off";
}

TEST(HttpAnswer, WithoutALengthTheEndOfTheConnectionCounts) {
  HttpAnswer answer;
  ASSERT_TRUE(answer.feed("HTTP/1.0 403 Forbidden\r\n\r\nno"));
  EXPECT_FALSE(answer.complete());
  EXPECT_TRUE(answer.end());
  EXPECT_TRUE(answer.complete());
  EXPECT_EQ(answer.status(), 403);
  EXPECT_EQ(answer.take_body(), "no");
}

TEST(HttpAnswer, ACutAnswerIsAnError) {
  for (std::size_t length = 0; length < whole.size(); ++length) {
    HttpAnswer answer;
    ASSERT_TRUE(answer.feed(std::string_view(whole).substr(0, length)));
    const Status ended = answer.end();
    ASSERT_FALSE(ended) << length;
    EXPECT_EQ(ended.error().code, ExitCode::unreachable);
  }
}

TEST(HttpAnswer, WhatIsNoHttpIsRefused) {
  for (const char* text :
       {"SSH-2.0-OpenSSH\r\n", "HTTP/2 200\r\n\r\n", "HTTP/1.1 2x0 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n"}) {
    HttpAnswer answer;
    const Status fed = answer.feed(text);
    ASSERT_FALSE(fed) << text;
    EXPECT_EQ(fed.error().code, ExitCode::unreachable);
  }
}

TEST(HttpAnswer, AHeadHasALimit) {
  HttpAnswer answer;
  EXPECT_TRUE(answer.feed("HTTP/1.1 200 OK\r\nX: "));
  EXPECT_FALSE(answer.feed(std::string(20000, 'a')));
}

TEST(Lines, AreCutAtLineFeeds) {
  Lines lines;
  std::string line;
  lines.add("one\ntw");
  ASSERT_TRUE(lines.next(line));
  EXPECT_EQ(line, "one");
  EXPECT_FALSE(lines.next(line));
  EXPECT_EQ(lines.waiting_bytes(), 2U);
  lines.add("o\n\nthree");
  ASSERT_TRUE(lines.next(line));
  EXPECT_EQ(line, "two");
  ASSERT_TRUE(lines.next(line));
  EXPECT_EQ(line, "");
  EXPECT_FALSE(lines.next(line));
}

}  // namespace
}  // namespace muster::cli
