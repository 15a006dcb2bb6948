#include "lb/proxy_header.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <array>
#include <cstring>

#include "base/limits.h"

namespace muster::lb {
namespace {

using Version = spec::ProxyProtocol::Version;
using namespace std::string_literals;

const std::string signature = "\r\n\r\n\0\r\nQUIT\n"s;

std::string v2(char command, char family, const std::string& rest) {
  const auto high = static_cast<char>(rest.size() >> 8U);
  const auto low = static_cast<char>(rest.size() & 0xffU);
  return signature + command + family + high + low + rest;
}
const std::string two_v4 =
    "\xc0\x00\x02\x01\xc6\x33\x64\x02\xdc\x04\x01\xbb"s;  // 192.0.2.1, 198.51.100.2, 56324, 443
const std::string two_v6 = "\x20\x01\x0d\xb8"s + std::string(11, '\0') + "\1\x20\x01\x0d\xb8"s +
                           std::string(11, '\0') + "\2\xdc\x04\x01\xbb"s;

// "192.0.2.1 56324"
std::string text(const sockaddr_storage& address) {
  std::array<char, INET6_ADDRSTRLEN> host{};
  if (address.ss_family == AF_UNIX) return reinterpret_cast<const sockaddr_un&>(address).sun_path;
  const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
  const void* raw = &v4.sin_addr;
  if (address.ss_family == AF_INET6) raw = &reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
  ::inet_ntop(address.ss_family, raw, host.data(), host.size());
  return host.data() + " "s + std::to_string(ntohs(v4.sin_port));
}
std::string text(const ProxyVerdict& verdict) {
  if (verdict.state == ProxyState::bad) return "bad";
  if (verdict.state == ProxyState::need_more) return "need more";
  if (!verdict.addresses) return "unknown";
  return text(verdict.addresses->source) + " > " + text(verdict.addresses->destination);
}

// Complete with exactly these bytes, whatever follows, and never before the last of them is there.
void expect_whole(const std::string& header, const std::string& meaning) {
  for (const std::string& behind : {""s, "\x16\x03\x01"s, "PROXY "s, signature}) {
    const ProxyVerdict verdict = parse_proxy_header(header + behind);
    EXPECT_EQ(text(verdict), meaning) << header;
    EXPECT_EQ(verdict.bytes, header.size());
  }
  for (std::size_t cut = 0; cut < header.size(); ++cut)
    EXPECT_EQ(text(parse_proxy_header(header.substr(0, cut))), "need more") << cut << " of " << header;
}

TEST(ProxyHeader, TextOfBothFamilies) {
  expect_whole("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n", "192.0.2.1 56324 > 198.51.100.2 443");
  expect_whole("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
               "255.255.255.255 65535 > 255.255.255.255 65535");
  expect_whole("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", "0.0.0.0 0 > 0.0.0.0 0");
  expect_whole("PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n", "2001:db8::1 1 > 2001:db8::2 65535");
  expect_whole(
      "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 "
      "65535\r\n",
      "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 > ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535");
}

TEST(ProxyHeader, TextThatSaysNoAddress) {
  expect_whole("PROXY UNKNOWN\r\n", "unknown");
  expect_whole("PROXY UNKNOWN \r\n", "unknown");
  expect_whole("PROXY UNKNOWN " + std::string(91, 'f') + "\r\n", "unknown");  // 107 bytes
}

TEST(ProxyHeader, TextThatIsWrong) {
  for (const std::string& line : {"PROXY\r\n"s,
                                  "PROXY \r\n"s,
                                  "PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n"s,
                                  "proxy UNKNOWN\r\n"s,
                                  "PROXY UNKNOWNX\r\n"s,
                                  "PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n"s,
                                  "PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n"s,
                                  "PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n"s,
                                  "PROXY TCP4\r\n"s,
                                  "PROXY TCP4 1.2.3.4\r\n"s,
                                  "PROXY TCP4 1.2.3.4 1.2.3.4\r\n"s,
                                  "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n"s,
                                  "PROXY TCP4 1.2.3.4 1.2.3.4 1 \r\n"s,
                                  "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n"s,
                                  "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n"s,
                                  "PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n"s,
                                  "PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n"s,
                                  "PROXY TCP4 1.2.3.256 1.2.3.4 1 2\r\n"s,
                                  "PROXY TCP4 01.2.3.4 1.2.3.4 1 2\r\n"s,
                                  "PROXY TCP4 ::1 ::1 1 2\r\n"s,
                                  "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n"s,
                                  "PROXY TCP6 ::1 ::g 1 2\r\n"s,
                                  "PROXY TCP6 [::1] [::1] 1 2\r\n"s,
                                  "PROXY TCP6 ::1%lo ::1 1 2\r\n"s,
                                  "PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n"s,
                                  "PROXY TCP4 1.2.3.4 1.2.3.4 1 -2\r\n"s,
                                  "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n"s,
                                  "PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n"s,
                                  "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n"s,
                                  "PROXY UNKNOWN\n"s,
                                  "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r \r\n"s,
                                  "PROXY TCP4 1.2.3.4\0 1.2.3.4 1 2\r\n"s,
                                  "PROXY \n"s,
                                  "GET / HTTP/1.1\r\n"s,
                                  "\x16\x03\x01"s,
                                  " PROXY UNKNOWN\r\n"s,
                                  "PROXY\tUNKNOWN\r\n"s})
    EXPECT_EQ(text(parse_proxy_header(line)), "bad") << line;
}

TEST(ProxyHeader, TextThatDoesNotEndIn107Bytes) {
  const std::string line = "PROXY UNKNOWN ";
  EXPECT_EQ(text(parse_proxy_header(line + std::string(92, 'f') + "\r\n")), "bad");  // 108 bytes
  EXPECT_EQ(text(parse_proxy_header(line + std::string(92, 'f'))), "need more");     // 106
  EXPECT_EQ(text(parse_proxy_header(line + std::string(93, 'f'))), "bad");
  EXPECT_EQ(text(parse_proxy_header(line + std::string(92, 'f') + "\r")), "bad");
}

TEST(ProxyHeader, BinaryOfEachFamily) {
  expect_whole(v2(0x21, 0x11, two_v4), "192.0.2.1 56324 > 198.51.100.2 443");
  expect_whole(v2(0x21, 0x12, two_v4), "192.0.2.1 56324 > 198.51.100.2 443");
  expect_whole(v2(0x21, 0x21, two_v6), "2001:db8::1 56324 > 2001:db8::2 443");
  expect_whole(v2(0x21, 0x31, "/run/a"s + std::string(102, '\0') + "/run/b" + std::string(102, '\0')),
               "/run/a > /run/b");
  expect_whole(v2(0x21, 0x11, two_v4 + "\x04\0\x02zz"s), "192.0.2.1 56324 > 198.51.100.2 443");
  expect_whole(v2(0x21, 0x11, two_v4 + std::string(limits::proxy_header_bytes_max - 28, 'z')),
               "192.0.2.1 56324 > 198.51.100.2 443");
}

TEST(ProxyHeader, BinaryThatSaysNoAddress) {
  expect_whole(v2(0x20, 0x00, ""), "unknown");
  expect_whole(v2(0x20, 0x11, two_v4), "unknown");
  expect_whole(v2(0x20, '\x7f', "whatever"), "unknown");
  expect_whole(v2(0x21, 0x00, ""), "unknown");
  expect_whole(v2(0x21, 0x00, "\x04\0\x01z"s), "unknown");
}

TEST(ProxyHeader, BinaryThatIsWrong) {
  for (const std::string& header :
       {v2(0x11, 0x11, two_v4), v2(0x01, 0x11, two_v4), v2(0x31, 0x11, two_v4), v2(0x22, 0x11, two_v4),
        v2(0x2f, 0x11, two_v4), v2(0x21, 0x13, two_v4), v2(0x21, 0x1f, two_v4), v2(0x21, 0x41, two_v6),
        v2(0x21, '\xf1', std::string(300, '\0')), v2(0x21, 0x11, two_v4.substr(1)), v2(0x21, 0x11, ""),
        v2(0x21, 0x21, two_v6.substr(1)), v2(0x21, 0x31, std::string(215, 'a')), v2(0x21, 0x03, ""),
        v2(0x21, 0x11, two_v4 + std::string(limits::proxy_header_bytes_max - 27, 'z')),
        v2(0x20, 0x00, std::string(65535, 'z')), "\r\n\r\n\1\r\nQUIT\n\x21\x11"s, "\r\n\r\nGET"s,
        signature.substr(0, 11) + "\r\x21\x11\0\0"s})
    EXPECT_EQ(text(parse_proxy_header(header)), "bad");
  EXPECT_EQ(text(parse_proxy_header(signature + '\x22')), "bad") << "at once, not when the rest is there";
  EXPECT_EQ(text(parse_proxy_header(signature + "\x21\x11\xff\xff"s)), "bad") << "the length alone";
}

ProxyAddresses addresses(const std::string& header) {
  return *parse_proxy_header(header).addresses;
}

TEST(ProxyHeader, IsWrittenInEitherVersion) {
  const ProxyAddresses v4 = addresses(v2(0x21, 0x11, two_v4));
  EXPECT_EQ(write_proxy_header(Version::v1, v4), "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n");
  EXPECT_EQ(write_proxy_header(Version::v2, v4), v2(0x21, 0x11, two_v4));
  const ProxyAddresses v6 = addresses(v2(0x21, 0x21, two_v6));
  EXPECT_EQ(write_proxy_header(Version::v1, v6), "PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n");
  EXPECT_EQ(write_proxy_header(Version::v2, v6), v2(0x21, 0x21, two_v6));
  const std::string paths = "/run/a"s + std::string(102, '\0') + "/run/b" + std::string(102, '\0');
  const ProxyAddresses local = addresses(v2(0x21, 0x31, paths));
  EXPECT_EQ(write_proxy_header(Version::v1, local), "PROXY UNKNOWN\r\n");
  EXPECT_EQ(write_proxy_header(Version::v2, local), v2(0x21, 0x31, paths));
}

TEST(ProxyHeader, OfAConnectionOfOurOwn) {
  EXPECT_EQ(own_proxy_header(Version::v1), "PROXY UNKNOWN\r\n");
  EXPECT_EQ(own_proxy_header(Version::v2), v2(0x20, 0x00, ""));
}

TEST(ProxyHeader, EndsThatDoNotFitTogetherAreNotNamed) {
  ProxyAddresses mixed = addresses(v2(0x21, 0x11, two_v4));
  mixed.destination.ss_family = AF_INET6;
  EXPECT_EQ(write_proxy_header(Version::v1, mixed), "PROXY UNKNOWN\r\n");
  EXPECT_EQ(write_proxy_header(Version::v2, mixed), v2(0x21, 0x00, ""));
  EXPECT_EQ(write_proxy_header(Version::v2, {}), v2(0x21, 0x00, ""));
}

}  // namespace
}  // namespace muster::lb
