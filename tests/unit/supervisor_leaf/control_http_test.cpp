#include "supervisor/control_http.h"

#include <gtest/gtest.h>

#include "base/limits.h"

namespace muster::supervisor {
namespace {

using State = ControlRequestReader::State;

TEST(ControlHttp, ReadsARequestHoweverItComes) {
  const std::string text =
      "POST /v1/scale?app=web&x=a%20b+c&empty HTTP/1.1\r\nHost: m\r\nContent-Length: 5\r\n\r\nhello";
  for (std::size_t at = 0; at <= text.size(); ++at) {
    ControlRequestReader reader;
    reader.feed(text.substr(0, at));
    EXPECT_EQ(reader.state() == State::complete, at == text.size());
    reader.feed(text.substr(at));
    ASSERT_EQ(reader.state(), State::complete) << at << reader.error_text();
    const ControlRequest request = reader.take();
    EXPECT_EQ(request.method, "POST");
    EXPECT_EQ(request.path, "/v1/scale");
    EXPECT_EQ(request.query,
              (std::map<std::string, std::string>{{"app", "web"}, {"x", "a b c"}, {"empty", ""}}));
    EXPECT_EQ(request.body, "hello");
    EXPECT_TRUE(reader.keep_alive());
    EXPECT_EQ(reader.state(), State::between);
  }
}

TEST(ControlHttp, ReadsOneAfterTheOther) {
  ControlRequestReader reader;
  reader.feed(
      "GET /a HTTP/1.1\r\n\r\n\r\nPOST /b HTTP/1.1\r\nTransfer-Encoding: "
      "chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\nGET /c HTT");
  ASSERT_EQ(reader.state(), State::complete);
  EXPECT_EQ(reader.take().path, "/a");
  ASSERT_EQ(reader.state(), State::complete) << reader.error_text();
  EXPECT_EQ(reader.take().body, "hi");
  EXPECT_EQ(reader.state(), State::inside);
  reader.feed("P/1.0\r\n\r\n");
  ASSERT_EQ(reader.state(), State::complete);
  EXPECT_EQ(reader.take().path, "/c");
  EXPECT_FALSE(reader.keep_alive());
  EXPECT_FALSE(reader.can_chunk());
}

TEST(ControlHttp, RefusesWhatIsNoRequest) {
  struct Case {
    std::string text;
    int status;
  };
  const std::string huge(40'000, 'x');
  for (const Case& c :
       {Case{"hello\r\n\r\n", 400}, Case{"GET /v1/status HTTP/2.0\r\n\r\n", 400},
        Case{"GET / HTTP/3\r\n\r\n", 400}, Case{"GET  / HTTP/1.1\r\n\r\n", 400},
        Case{"\x16\x03\x01\x02", 400}, Case{"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400},
        Case{"GET v1 HTTP/1.1\r\n\r\n", 400}, Case{"GET /?a=%g0 HTTP/1.1\r\n\r\n", 400},
        Case{"GET /?a=%4 HTTP/1.1\r\n\r\n", 400}, Case{"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400},
        Case{"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400},
        Case{"POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n", 400},
        Case{"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
        Case{"GET /" + huge + " HTTP/1.1\r\n\r\n", 431},
        Case{"GET / HTTP/1.1\r\nX: " + huge + "\r\n\r\n", 431},
        Case{"POST / HTTP/1.1\r\nContent-Length: 1048577\r\n\r\n", 413},
        Case{"POST / HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n", 413}}) {
    ControlRequestReader reader;
    reader.feed(c.text);
    ASSERT_EQ(reader.state(), State::failed) << c.text.substr(0, 60);
    EXPECT_EQ(reader.error_status(), c.status) << c.text.substr(0, 60) << ": " << reader.error_text();
    reader.feed("GET / HTTP/1.1\r\n\r\n");
    EXPECT_EQ(reader.state(), State::failed);
    EXPECT_EQ(reader.bytes_kept(), 0U);
  }
}

TEST(ControlHttp, TheLargestBodyFits) {
  for (const bool chunked : {false, true}) {
    const std::string body(limits::control_request_bytes_max, 'b');
    ControlRequestReader reader;
    reader.feed(chunked ? "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n100000\r\n"
                        : "POST / HTTP/1.1\r\nContent-Length: 1048576\r\n\r\n");
    for (std::size_t at = 0; at < body.size(); at += 16384) reader.feed(body.substr(at, 16384));
    if (chunked) reader.feed("\r\n0\r\n\r\n");
    ASSERT_EQ(reader.state(), State::complete) << reader.error_text();
    EXPECT_EQ(reader.take().body, body);
  }
}

TEST(ControlHttp, ABodyInChunksIsLimitedToo) {
  ControlRequestReader reader;
  reader.feed("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
  const std::string chunk = "4000\r\n" + std::string(16384, 'x') + "\r\n";
  for (int i = 0; i < 65; ++i) reader.feed(chunk);
  ASSERT_EQ(reader.state(), State::failed);
  EXPECT_EQ(reader.error_status(), 413);
}

TEST(ControlHttp, KnowsWhoWaitsToContinue) {
  ControlRequestReader reader;
  reader.feed("POST / HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n");
  EXPECT_FALSE(reader.take_wants_continue());
  reader.feed("\r\n");
  EXPECT_TRUE(reader.take_wants_continue());
  EXPECT_FALSE(reader.take_wants_continue());
  reader.feed("ab");
  EXPECT_EQ(reader.take().body, "ab");
}

// Whatever one byte is changed to: a request or a refusal, never a crash, and never more kept than came.
TEST(ControlHttp, AnyByteMayBeWrong) {
  const std::string text =
      "POST /v1/x?a=b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
  for (std::size_t at = 0; at < text.size(); ++at) {
    for (int byte = 0; byte < 256; ++byte) {
      std::string broken = text;
      broken[at] = static_cast<char>(byte);
      ControlRequestReader reader;
      reader.feed(broken);
      if (reader.state() == State::complete) static_cast<void>(reader.take());
      EXPECT_LE(reader.bytes_kept(), broken.size());
    }
  }
}

TEST(ControlHttp, AnswersAreFramed) {
  EXPECT_EQ(
      response_head(200, json_content, 5, false, true),
      "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nContent-Length: 5\r\n"
      "Connection: keep-alive\r\n\r\n");
  EXPECT_EQ(
      response_head(503, lines_content, std::nullopt, true, false),
      "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/x-ndjson\r\nCache-Control: no-store\r\n"
      "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n");
  std::string chunk;
  append_chunk(chunk, std::string(17, 'x'));
  EXPECT_EQ(chunk, "11\r\nxxxxxxxxxxxxxxxxx\r\n");
  EXPECT_EQ(error_body("a \"b\""), R"({"error":"a \"b\""})");
}

}  // namespace
}  // namespace muster::supervisor
