#include "lb/access_line.h"

#include <gtest/gtest.h>

namespace muster::lb {
namespace {

using spec::AccessLogFormat;

// 2026-01-02T03:04:05.678Z
WallTime at(std::int64_t milliseconds = 678) {
  return std::chrono::sys_days{std::chrono::year{2026} / 1 / 2} + std::chrono::hours{3} +
         std::chrono::minutes{4} + std::chrono::seconds{5} + Millis{milliseconds};
}

std::string line(AccessLogFormat format, const AccessRecord& record) {
  std::string text;
  AccessLineWriter().append(text, format, record);
  return text;
}

AccessRecord usual() {
  AccessRecord record;
  record.time = at();
  record.listener = "web";
  record.client = "192.0.2.7";
  record.request = "GET /a?b=c HTTP/1.1";
  record.host = "example.org:8080";
  record.status = 200;
  record.bytes_in = 3;
  record.bytes_out = 1234;
  record.replica = "web/0";
  record.tries = 2;
  record.queued = Millis(2);
  record.connecting = Nanos(123'456);
  record.first_byte = Nanos(1'500'000);
  record.total = std::chrono::seconds{61};
  record.request_id = "7f";
  record.user_agent = "curl/8.0";
  record.referer = "http://a/";
  return record;
}

TEST(AccessLine, CommonLogFormat) {
  EXPECT_EQ(line(AccessLogFormat::common, usual()),
            "192.0.2.7 - - [02/Jan/2026:03:04:05 +0000] \"GET /a?b=c HTTP/1.1\" 200 1234\n");
}

TEST(AccessLine, CombinedLogFormat) {
  EXPECT_EQ(line(AccessLogFormat::combined, usual()),
            "192.0.2.7 - - [02/Jan/2026:03:04:05 +0000] \"GET /a?b=c HTTP/1.1\" 200 1234 \"http://a/\" "
            "\"curl/8.0\"\n");
}

TEST(AccessLine, Json) {
  EXPECT_EQ(line(AccessLogFormat::json, usual()),
            R"({"time":"2026-01-02T03:04:05.678Z","listener":"web","client":"192.0.2.7","method":"GET",)"
            R"("host":"example.org:8080","path":"/a?b=c","protocol":"HTTP/1.1","status":200,"bytes_in":3,)"
            R"("bytes_out":1234,"replica":"web/0","tries":2,"queued_ms":2.000,"connect_ms":0.123,)"
            R"("first_byte_ms":1.500,"total_ms":61000.000,"request_id":"7f","user_agent":"curl/8.0",)"
            R"("referer":"http://a/","end":"complete"})"
            "\n");
}

TEST(AccessLine, WhatIsMissingIsADashOrNull) {
  AccessRecord nothing;
  nothing.time = at(5);
  EXPECT_EQ(line(AccessLogFormat::common, nothing), "- - - [02/Jan/2026:03:04:05 +0000] \"-\" - -\n");
  EXPECT_EQ(line(AccessLogFormat::combined, nothing),
            "- - - [02/Jan/2026:03:04:05 +0000] \"-\" - - \"-\" \"-\"\n");
  EXPECT_EQ(
      line(AccessLogFormat::json, nothing),
      R"({"time":"2026-01-02T03:04:05.005Z","listener":null,"client":null,"method":null,"host":null,)"
      R"("path":null,"protocol":null,"status":null,"bytes_in":0,"bytes_out":0,"replica":null,"tries":0,)"
      R"("queued_ms":0.000,"connect_ms":0.000,"first_byte_ms":null,"total_ms":0.000,"request_id":null,)"
      R"("user_agent":null,"referer":null,"end":"complete"})"
      "\n");
}

TEST(AccessLine, AStreamNamesItsReplica) {
  AccessRecord stream = usual();
  stream.is_stream = true;
  stream.request = stream.host = stream.user_agent = stream.referer = {};
  stream.status = 0;
  EXPECT_EQ(line(AccessLogFormat::common, stream),
            "192.0.2.7 - - [02/Jan/2026:03:04:05 +0000] \"TCP web/0\" - 1234\n");
  const std::string json = line(AccessLogFormat::json, stream);
  EXPECT_NE(json.find(R"("method":null,"host":null,"path":null,"protocol":"TCP","status":null)"),
            std::string::npos)
      << json;
}

TEST(AccessLine, ALineIsOneLineAndAQuotedTextHasNoQuotes) {
  AccessRecord record = usual();
  record.request = "GET /\"\\\x01\r\n\t\x7f HTTP/1.1";
  record.user_agent = "a\"b \xc3\xa9 \xff";
  record.referer = {};
  EXPECT_EQ(
      line(AccessLogFormat::combined, record),
      R"(192.0.2.7 - - [02/Jan/2026:03:04:05 +0000] "GET /\x22\x5C\x01\x0D\x0A\x09\x7F HTTP/1.1" 200 1234 "-" )"
      R"("a\x22b \xC3\xA9 \xFF")"
      "\n");
  const std::string json = line(AccessLogFormat::json, record);
  EXPECT_NE(json.find(R"("path":"/\"\\\u0001\u000D\u000A\u0009\u007F","protocol":"HTTP/1.1")"),
            std::string::npos)
      << json;
  EXPECT_NE(json.find("\"user_agent\":\"a\\\"b \xc3\xa9 \\\\xFF\""), std::string::npos) << json;
}

TEST(AccessLine, WhatIsNoRequestLineIsAllPath) {
  for (const char* odd :
       {"", "x", "GET /", "GET / HTTQ/1.1", " / HTTP/1.1", "\x16\x03\x01", "GET HTTP/1.1"}) {
    AccessRecord record = usual();
    record.request = odd;
    const std::string json = line(AccessLogFormat::json, record);
    EXPECT_NE(json.find(R"("method":null,)"), std::string::npos) << json;
    EXPECT_NE(json.find(R"("protocol":null,)"), std::string::npos) << json;
  }
  AccessRecord blanks = usual();
  blanks.request = "GET /a b HTTP/1.0";
  EXPECT_NE(line(AccessLogFormat::json, blanks).find(R"("path":"/a b","protocol":"HTTP/1.0")"),
            std::string::npos);
}

TEST(AccessLine, TheTextOfTheSecondFollowsTheClock) {
  AccessLineWriter writer;
  std::string text;
  AccessRecord record;
  for (const std::int64_t milliseconds : {0L, 999L, 1000L, 999L, 86'400'000L * 364}) {
    record.time = at(milliseconds);
    writer.append(text, AccessLogFormat::json, record);
  }
  std::string found;
  for (std::size_t begin = 0; begin < text.size(); begin = text.find('\n', begin) + 1)
    found += text.substr(begin + 9, 24) + " ";
  EXPECT_EQ(
      found,
      "2026-01-02T03:04:05.000Z 2026-01-02T03:04:05.999Z 2026-01-02T03:04:06.000Z 2026-01-02T03:04:05.999Z "
      "2027-01-01T03:04:05.000Z ");
}

TEST(AccessLine, TheFirstLineOfWhatCame) {
  EXPECT_EQ(first_line("\r\n\r\nGET / HTTP/1.1\r\nHost: x"), "GET / HTTP/1.1");
  EXPECT_EQ(first_line("GET"), "GET");
  EXPECT_EQ(first_line("a\nb"), "a");
  EXPECT_EQ(first_line(""), "");
}

}  // namespace
}  // namespace muster::lb
