// The PROXY protocol on both sides: of clients that are proxies themselves, and to replicas.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "http_pair.h"
#include "support/temp_folder.h"
#include "tls_client.h"

namespace muster::lb::test {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using Version = spec::ProxyProtocol::Version;

const std::string v1_of_client = "PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n";
const std::string v2_of_client =
    "\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc6\x33\x64\x01\x12\x67\x00\x50"s;
const std::string v2_local = "\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00"s;

// "127.0.0.1 PORT" of this end of the wire.
std::uint16_t own_port(const Wire& wire) {
  sockaddr_in own{};
  socklen_t length = sizeof own;
  EXPECT_EQ(::getsockname(wire.fd(), reinterpret_cast<sockaddr*>(&own), &length), 0);
  return ntohs(own.sin_port);
}

// Takes the line of version 1 and then echoes requests, each with the line as a field.
void echo_behind_a_line(Wire& wire) {
  const auto line = wire.until("\r\n");
  if (!line) return;
  while (const auto request = read_message(wire)) {
    const std::string body = *line + request->head;
    if (!wire.send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body))
      return;
  }
}

std::uint64_t refused(const Rig& rig) {
  return rig.balancer->stats().listeners[0].refused;
}

struct ProxiedPair : Pair {
  explicit ProxiedPair(Replica::Serve serve = echo, Version out = Version::none) : Pair(std::move(serve)) {
    listener().proxy_protocol = {.in = true, .out = out};
  }
};

std::string forwarded_for(Wire& wire) {
  const auto answer = read_message(wire);
  if (!answer) return "no answer";
  const Message seen{.head = "\r\n" + answer->body, .body = {}, .trailers = {}};
  return seen.field("x-forwarded-for");
}

TEST(ProxyIn, TheClientIsWhoTheHeaderSays) {
  ProxiedPair pair;
  pair.rig.publish();
  for (const std::string& header : {v1_of_client, v2_of_client}) {
    Wire client = pair.rig.client();
    client.send(header + plain_get);
    EXPECT_EQ(forwarded_for(client), "192.0.2.7");
    client.send(plain_get);
    EXPECT_EQ(forwarded_for(client), "192.0.2.7") << "for all requests of the connection";
  }
}

TEST(ProxyIn, AHeaderWithoutAddressesKeepsThoseOfTheSocket) {
  ProxiedPair pair;
  pair.rig.publish();
  for (const std::string& header : {"PROXY UNKNOWN\r\n"s, v2_local}) {
    Wire client = pair.rig.client();
    client.send(header + plain_get);
    EXPECT_EQ(forwarded_for(client), "127.0.0.1");
  }
}

TEST(ProxyIn, ByteByByte) {
  ProxiedPair pair;
  pair.rig.publish();
  for (const std::string& header : {v1_of_client, v2_of_client}) {
    Wire client = pair.rig.client();
    for (const char byte : header + plain_get) ASSERT_TRUE(client.send({&byte, 1}));
    EXPECT_EQ(forwarded_for(client), "192.0.2.7");
  }
}

TEST(ProxyIn, WithoutAValidHeaderNothingIsSaid) {
  ProxiedPair pair;
  pair.rig.publish();
  std::uint64_t count = 0;
  for (const std::string& bytes : {plain_get, "PROXY TCP4 1.2.3.4\r\n" + plain_get, "PROXY UNKNOWN\n"s,
                                   v2_of_client.substr(0, 12) + "\x31"s}) {
    Wire client = pair.rig.client();
    client.send(bytes);
    client.half_close();
    const auto said = client.rest();
    EXPECT_TRUE(!said || said->empty()) << *said;
    EXPECT_EQ(refused(pair.rig), ++count);
  }
  EXPECT_EQ(pair.replica.connections(), 0);
}

TEST(ProxyIn, HalfAHeaderIsNotWaitedForWhenTheClientHasEnded) {
  ProxiedPair pair;
  pair.rig.publish();
  Wire client = pair.rig.client();
  client.send(v1_of_client.substr(0, 20));
  client.half_close();
  EXPECT_TRUE(client.at_end());
  EXPECT_EQ(refused(pair.rig), 1U);
}

TEST(ProxyIn, AClientThatSaysNothingIsNotWaitedForLonger) {
  ProxiedPair pair;
  pair.listener().timeout.head = 50ms;
  pair.rig.publish();
  Wire silent = pair.rig.client();
  Wire slow = pair.rig.client();
  slow.send(v2_of_client.substr(0, 20));
  EXPECT_TRUE(silent.at_end());
  EXPECT_TRUE(slow.at_end());
  EXPECT_EQ(refused(pair.rig), 2U);
}

TEST(ProxyIn, AStopDoesNotWaitForAHeader) {
  ProxiedPair pair;
  pair.rig.publish();
  Wire silent = pair.rig.client();
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (pair.rig.balancer->stats().listeners[0].connections == 0 &&
         std::chrono::steady_clock::now() < deadline)
    std::this_thread::yield();
  pair.rig.balancer->stop(patience);
  EXPECT_TRUE(silent.at_end());
}

TEST(ProxyIn, ATrustedProxyIsLookedForBehindTheHeader) {
  ProxiedPair pair;
  pair.listener().trusted_proxies.push_back(
      {.address = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 7}});
  pair.rig.publish();
  const std::string get = "GET / HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n";
  Wire client = pair.rig.client();
  client.send(v1_of_client + get);
  EXPECT_EQ(forwarded_for(client), "203.0.113.9, 192.0.2.7");
  Wire other = pair.rig.client();
  other.send("PROXY TCP4 192.0.2.8 198.51.100.1 4711 80\r\n" + get);
  EXPECT_EQ(forwarded_for(other), "192.0.2.8");
}

TEST(ProxyIn, TheAccessLogNamesTheClient) {
  ProxiedPair pair;
  pair.listener().access_log = spec::AccessLogFormat::common;
  pair.rig.publish();
  Wire client = pair.rig.client();
  client.send(v2_of_client + plain_get);
  ASSERT_TRUE(read_message(client));
  ASSERT_TRUE(pair.rig.wait_access_flush());
  EXPECT_TRUE(pair.rig.access_lines(1)[0].starts_with("192.0.2.7 ")) << pair.rig.access_lines(1)[0];
}

TEST(ProxyIn, ClientsAreHashedByTheHeader) {
  Replica a(http_replica("a"));
  Replica b(http_replica("b"));
  Rig rig;
  spec::Listener& listener = rig.add_listener("web", "web");
  listener.proxy_protocol.in = true;
  listener.balance = {.kind = spec::Balance::Kind::hash, .key = spec::Balance::Key::client};
  rig.set_pool("web", {a.port(), b.port()});
  rig.publish();
  std::string all;
  for (int host = 1; host <= 64; ++host) {
    Wire client = rig.client();
    client.send("PROXY TCP4 192.0.2." + std::to_string(host) + " 198.51.100.1 1 80\r\n" + plain_get);
    const auto answer = read_message(client);
    ASSERT_TRUE(answer);
    all += answer->body;
  }
  EXPECT_NE(all.find('a'), std::string::npos);
  EXPECT_NE(all.find('b'), std::string::npos);
}

TEST(ProxyIn, ATlsHandshakeFollows) {
  Pair pair(echo);
  const auto certificate =
      testing_support::make_certificate({.names = {"web.test"}, .common_name = "web.test"});
  pair.listener().tls = tls_of({certificate});
  pair.listener().proxy_protocol.in = true;
  pair.rig.publish();
  for (const std::string& header : {v1_of_client, v2_of_client}) {
    Wire wire = pair.rig.client();
    ASSERT_TRUE(wire.send(header));
    TlsWire client(std::move(wire), TlsClientOptions{});
    ASSERT_TRUE(client.open());
    client.send(plain_get);
    const auto answer = read_answer(client);
    ASSERT_TRUE(answer);
    const Message seen{.head = "\r\n" + answer->body, .body = {}, .trailers = {}};
    EXPECT_EQ(seen.field("x-forwarded-for"), "192.0.2.7");
  }
}

TEST(ProxyOut, AStreamBeginsWithTheClientsAddresses) {
  Replica replica([](Wire& wire) {
    const auto line = wire.until("\r\n");
    if (line) wire.send(*line);
    wire.until("bye");
  });
  Rig rig;
  rig.add_listener("db", "db", spec::ListenMode::tcp).proxy_protocol.out = Version::v1;
  rig.set_pool("db", {replica.port()});
  rig.publish();
  Wire client = rig.client();
  EXPECT_EQ(client.until("\r\n"), "PROXY TCP4 127.0.0.1 127.0.0.1 " + std::to_string(own_port(client)) + " " +
                                      std::to_string(rig.port()) + "\r\n");
  client.send("bye");
}

TEST(ProxyOut, WhatCameInGoesOn) {
  for (const Version version : {Version::v1, Version::v2}) {
    const std::string expected = version == Version::v1 ? v1_of_client : v2_of_client;
    Replica replica([size = expected.size()](Wire& wire) {
      const auto header = wire.exactly(size);
      if (header) wire.send(*header);
      wire.until("bye");
    });
    Rig rig;
    rig.add_listener("db", "db", spec::ListenMode::tcp).proxy_protocol = {.in = true, .out = version};
    rig.set_pool("db", {replica.port()});
    rig.publish();
    Wire client = rig.client();
    client.send(version == Version::v1 ? v2_of_client : v1_of_client);
    EXPECT_EQ(client.exactly(expected.size()), expected);
    client.send("bye");
  }
}

TEST(ProxyOut, AClientOfAUnixSocketHasNoAddress) {
  const testing_support::TempFolder folder;
  for (const Version version : {Version::v1, Version::v2}) {
    const std::size_t size = version == Version::v1 ? 15 : 16 + 216;
    Replica replica([size](Wire& wire) {
      const auto header = wire.exactly(size);
      if (header) wire.send(*header);
      wire.until("bye");
    });
    Rig rig;
    spec::Listener& listener = rig.add_listener("db", "db", spec::ListenMode::tcp);
    listener.proxy_protocol.out = version;
    const std::string path = folder.path() + (version == Version::v1 ? "/one" : "/two");
    listener.bind[0] = {
        .text = "unix:" + path, .kind = spec::BindAddress::Kind::unix_path, .host = {}, .path = path};
    rig.set_pool("db", {replica.port()});
    rig.publish();
    Wire client = Wire::to_unix(path);
    const auto header = client.exactly(size);
    ASSERT_TRUE(header);
    if (version == Version::v1) {
      EXPECT_EQ(*header, "PROXY UNKNOWN\r\n");
    } else {
      EXPECT_EQ(header->substr(12, 4), "\x21\x31\x00\xd8"s);
      EXPECT_EQ(header->substr(16, 108), std::string(108, '\0'));
      EXPECT_TRUE(header->substr(16 + 108).starts_with(path));
    }
    client.send("bye");
  }
}

TEST(ProxyOut, RequestsOfOneClientShareAConnectionAndOthersDoNot) {
  Pair pair(echo_behind_a_line);
  pair.listener().proxy_protocol.out = Version::v1;
  pair.rig.publish();
  Wire one = pair.rig.client();
  Wire two = pair.rig.client();
  const auto line_of = [&](Wire& wire) {
    wire.send(plain_get);
    const auto answer = read_message(wire);
    return answer ? answer->body.substr(0, answer->body.find("\r\n")) : "no answer";
  };
  const auto expected = [&](const Wire& wire) {
    return "PROXY TCP4 127.0.0.1 127.0.0.1 " + std::to_string(own_port(wire)) + " " +
           std::to_string(pair.rig.port());
  };
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(line_of(one), expected(one));
    EXPECT_EQ(line_of(two), expected(two));
  }
  EXPECT_EQ(pair.replica.connections(), 2);
  one.close();
  EXPECT_TRUE(pair.replica.wait_open(1)) << "the connection of a client that went";
}

TEST(ProxyOut, AListenerWithoutItDoesNotUseSuchAConnection) {
  Pair pair(echo);
  pair.listener().proxy_protocol.out = Version::v1;
  pair.rig.add_listener("plain", "web");
  pair.replica.kill();
  Replica both([](Wire& wire) {
    const auto first = wire.some(5);
    const std::string begins = first && *first == "PROXY" ? "header" : "none";
    if (begins == "header") wire.until("\r\n");
    if (begins == "none") wire.until("\r\n\r\n");
    for (bool more = begins == "header" ? read_message(wire).has_value() : true; more;
         more = read_message(wire).has_value())
      wire.send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(begins.size()) + "\r\n\r\n" + begins);
  });
  pair.rig.set_pool("web", {both.port()});
  pair.rig.publish();
  Wire proxied = pair.rig.client(0);
  Wire plain = pair.rig.client(1);
  for (int i = 0; i < 3; ++i) {
    proxied.send(plain_get);
    plain.send(plain_get);
    EXPECT_EQ(read_message(proxied)->body, "header");
    EXPECT_EQ(read_message(plain)->body, "none");
  }
  EXPECT_EQ(both.connections(), 2);
}

}  // namespace
}  // namespace muster::lb::test
