#include "health/status_line.h"

#include "gtest/gtest.h"

namespace muster::health {
namespace {

TEST(StatusLine, ReadsTheStatusAsSoonAsItIsThere) {
  EXPECT_EQ(parse_status_line("HTTP/1.1 200 OK\r\n"), 200);
  EXPECT_EQ(parse_status_line("HTTP/1.0 503 \r\n"), 503);
  EXPECT_EQ(parse_status_line("HTTP/1.1 204\r"), 204);
}

TEST(StatusLine, EveryPrefixIsIncomplete) {
  const std::string_view whole = "HTTP/1.1 200 ";
  for (std::size_t length = 0; length < whole.size(); ++length)
    EXPECT_EQ(parse_status_line(whole.substr(0, length)), std::nullopt) << length;
}

TEST(StatusLine, AnythingElseIsNoHttp) {
  for (const char* text : {"SSH-2.0-OpenSSH", "HTTP/2.0 200 OK", "HTTP/1.1 20 OKAY", "HTTP/1.1 099 x",
                           "HTTP/1.1  200 x", "HTTP/1.x 200 OK", "http/1.1 200 OK", "HTTP/1.1 2000 OK", "+"})
    EXPECT_EQ(parse_status_line(text), 0) << text;
}

}  // namespace
}  // namespace muster::health
