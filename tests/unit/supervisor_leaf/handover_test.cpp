#include "supervisor/handover.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "boost/json.hpp"
#include "supervisor/next_image.h"
#include "supervisor/sealed_text.h"

namespace muster::supervisor {
namespace {

using namespace std::chrono_literals;

Fd some_descriptor() {
  return Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
}

bool is_open(int fd) {
  return ::fcntl(fd, F_GETFD) >= 0;
}

DaemonHandover sample() {
  DaemonHandover handover;
  handover.from = "0.1.0";
  handover.id = "a \"b\"";
  handover.started = Instant(17s);
  handover.paused_since = Instant(18s);
  handover.lock = some_descriptor();
  handover.control = some_descriptor();
  handover.group_locks.push_back(some_descriptor());
  handover.files_soft = 1024;
  handover.control_device = 7;
  handover.control_inode = 1U << 31U;
  handover.systemd_fds.emplace_back("web", some_descriptor());
  handover.stored_output = {InstanceId{3}, InstanceId{4}};
  handover.drains = {{InstanceId{3}, Instant{7s}}};
  lb::HandedListener listener{.bind = "127.0.0.1:8080", .sockets = {}, .file = 12};
  listener.sockets.push_back(some_descriptor());
  listener.sockets.push_back(some_descriptor());
  handover.traffic.listeners.push_back(std::move(listener));
  lb::HandedClient client;
  client.fd = some_descriptor();
  client.bind = "127.0.0.1:8080";
  client.address.text = "192.0.2.1";
  client.address.bytes = {1, 2, 3, 255};
  client.address.known = true;
  client.proxy_header = std::string("\0\r\n\xff", 4);
  client.introduced = true;
  client.unread = "GET / HT";
  handover.traffic.clients.push_back(std::move(client));
  lb::HandedTunnel tunnel;
  tunnel.client = some_descriptor();
  tunnel.replica = some_descriptor();
  tunnel.bind = "unix:/run/x";
  tunnel.endpoint = {
      .instance = InstanceId{9}, .label = "db/0", .address = "::1", .port = 5432, .ordinal = 3};
  tunnel.to_replica = std::string("\0\x80", 2);
  tunnel.to_client = "abc";
  tunnel.replica_ended = true;
  tunnel.record.texts[0] = "GET /chat HTTP/1.1";
  tunnel.record.first_byte = 3ms;
  tunnel.record.bytes_in = 4;
  handover.traffic.tunnels.push_back(std::move(tunnel));
  handover.slow_to_close.push_back(some_descriptor());
  handover.traffic.pools = {
      {.app = "db", .endpoints = {handover.traffic.tunnels[0].endpoint}, .paused = true},
      {.app = "web", .endpoints = {}, .paused = false}};
  handover.traffic.losses = {.requests = 1, .tls_connections = 2, .tls_tunnels = 3, .upstreams = 4};
  return handover;
}

TEST(Handover, IsTheSameOnTheOtherSide) {
  DaemonHandover before = sample();
  const std::string text = encode_handover(before, before.traffic);
  const auto checked = decode_handover(text, Descriptors::numbers_only);
  ASSERT_TRUE(checked.ok()) << checked.error().message;
  EXPECT_FALSE(checked.value().lock);  // nothing is owned
  auto after = decode_handover(text, Descriptors::owned);
  ASSERT_TRUE(after.ok());
  EXPECT_EQ(encode_handover(after.value(), after.value().traffic), text);
  EXPECT_EQ(after.value().stored_output, before.stored_output);
  EXPECT_EQ(after.value().drains, before.drains);
  EXPECT_EQ(after.value().traffic.clients[0].unread, "GET / HT");
  EXPECT_EQ(*after.value().traffic.clients[0].proxy_header, std::string("\0\r\n\xff", 4));
  EXPECT_EQ(after.value().traffic.tunnels[0].to_replica, std::string("\0\x80", 2));
  EXPECT_EQ(descriptors_of(after.value(), after.value().traffic).size(), 10U);
  ASSERT_EQ(after.value().traffic.pools.size(), 2U);
  EXPECT_EQ(after.value().traffic.pools[0].endpoints[0].address, "::1");
  EXPECT_TRUE(after.value().traffic.pools[0].paused);
  for (const int fd : descriptors_of(after.value(), after.value().traffic)) EXPECT_TRUE(is_open(fd));
  // Two owners of each: one of them lets go.
  for (const int fd : descriptors_of(before, before.traffic)) EXPECT_TRUE(is_open(fd));
  for (Fd* fd : {&before.lock, &before.control, &before.group_locks[0], &before.slow_to_close[0],
                 &before.systemd_fds[0].second, &before.traffic.clients[0].fd,
                 &before.traffic.tunnels[0].client, &before.traffic.tunnels[0].replica,
                 &before.traffic.listeners[0].sockets[0], &before.traffic.listeners[0].sockets[1]})
    static_cast<void>(fd->release());
}

TEST(Handover, WhatIsNotWholeIsRefusedAndClosesNothing) {
  const DaemonHandover handover = sample();
  const std::string text = encode_handover(handover, handover.traffic);
  for (std::size_t length = 0; length < text.size(); ++length)
    EXPECT_FALSE(decode_handover(text.substr(0, length), Descriptors::owned).ok()) << length;
  for (std::size_t at = 0; at < text.size(); ++at) {
    std::string flipped = text;
    for (unsigned bit = 0; bit < 8; ++bit) {
      flipped[at] = static_cast<char>(static_cast<unsigned char>(text[at]) ^ (1U << bit));
      EXPECT_FALSE(decode_handover(flipped, Descriptors::owned).ok()) << at << " bit " << bit;
    }
  }
  EXPECT_FALSE(decode_handover(text + " ", Descriptors::owned).ok());
  for (const int fd : descriptors_of(handover, handover.traffic)) EXPECT_TRUE(is_open(fd));
}

TEST(Handover, ADescriptorIsHandedOverOnce) {
  DaemonHandover handover = sample();
  const int lock = handover.lock.get();
  static_cast<void>(handover.control.release());
  handover.control.reset(lock);
  const std::string text = encode_handover(handover, handover.traffic);
  static_cast<void>(handover.control.release());
  const auto decoded = decode_handover(text, Descriptors::owned);
  ASSERT_FALSE(decoded.ok());
  EXPECT_EQ(decoded.error().message, "is damaged: 'control' is not a descriptor of its own");
  EXPECT_TRUE(is_open(lock));
}

TEST(Handover, AnotherVersionIsNamed) {
  const DaemonHandover handover = sample();
  const std::string text = encode_handover(handover, handover.traffic);
  for (const auto& [version, says] : {std::pair(":2,", "a newer muster (version 2; this one knows 1)"),
                                      std::pair(":0,", "an older muster (version 0; this one knows 1)")}) {
    std::string other = text;
    other.replace(other.find(":1,"), 3, version);
    EXPECT_EQ(decode_handover(other, Descriptors::owned).error().message,
              std::string("was written by ") + says);
  }
}

// Whole, with the right checksum, and yet not what a muster writes: each member is missed by its name.
TEST(Handover, WhatIsMissingIsNamed) {
  const DaemonHandover handover = sample();
  const std::string text = encode_handover(handover, handover.traffic);
  constexpr Seal kind{.kind = "muster_handover", .what = "", .version = 1, .bytes_max = 0};
  const boost::json::object good = boost::json::parse(text.substr(text.find('\n') + 1)).as_object();
  for (const auto& member : good) {
    boost::json::object missing = good;
    missing.erase(member.key());
    const std::string sealed = seal(kind, boost::json::serialize(missing));
    if (member.key() == "stored_output" || member.key() == "drains") {  // earlier ones did not tell
      EXPECT_TRUE(decode_handover(sealed, Descriptors::numbers_only).ok());
      continue;
    }
    const auto decoded = decode_handover(sealed, Descriptors::owned);
    ASSERT_FALSE(decoded.ok()) << member.key();
    EXPECT_NE(decoded.error().message.find("'" + std::string(member.key()) + "'"), std::string::npos)
        << decoded.error().message;
  }
  for (const int fd : descriptors_of(handover, handover.traffic)) EXPECT_TRUE(is_open(fd));
}

TEST(Handover, IsCountedInWords) {
  lb::Handover traffic;
  EXPECT_EQ(handover_sentence(traffic),
            "kept 0 listening addresses, 0 connections and 0 tunnels; closed nothing");
  const DaemonHandover handover = sample();
  EXPECT_EQ(
      handover_sentence(handover.traffic),
      "kept 1 listening address, 1 connection and 1 tunnel; closed 1 request in flight, 2 TLS connections, 3 "
      "TLS tunnels");
}

CommandResult said(const std::string& output, int code = 0) {
  CommandResult result;
  result.started = true;
  result.output = output;
  result.status = ExitStatus{.code = code, .signal = std::nullopt};
  result.sentence = "exited with status " + std::to_string(code);
  return result;
}

TEST(NextImage, OnlyAMusterThatAgreesIsTaken) {
  EXPECT_EQ(verdict_of("/m", said("muster 1.2.3 takes this handover\n")).value(), "1.2.3");
  EXPECT_EQ(verdict_of("/m", said("")).error().message,
            "/m is not a muster that knows how to take over: it said nothing");
  EXPECT_FALSE(verdict_of("/m", said("muster 1.2.3 takes this handover\nmore\n")).ok());
  EXPECT_EQ(verdict_of("/m", said("the state is damaged: cut\n", 1)).error().message,
            "/m refuses: exited with status 1: the state is damaged: cut");
  EXPECT_FALSE(verdict_of("/m", said("muster 1.2.3 takes this handover\n", 1)).ok());
  const auto spec = verdict_of("/m", said("error: no\n --> x\n", 65));
  EXPECT_EQ(spec.error().message, "/m does not take the spec:\nerror: no\n --> x\n");
  EXPECT_EQ(spec.error().code, ExitCode::bad_spec);
  CommandResult hangs;
  hangs.started = hangs.timed_out = true;
  hangs.sentence = "no end within 5.0 s";
  EXPECT_EQ(verdict_of("/m", hangs).error().message, "/m: no end within 5.0 s");
}

}  // namespace
}  // namespace muster::supervisor
