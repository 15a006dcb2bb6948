#include "supervisor/handover.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "supervisor/next_image.h"

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
  EXPECT_EQ(after.value().traffic.clients[0].unread, "GET / HT");
  EXPECT_EQ(*after.value().traffic.clients[0].proxy_header, std::string("\0\r\n\xff", 4));
  EXPECT_EQ(after.value().traffic.tunnels[0].to_replica, std::string("\0\x80", 2));
  EXPECT_EQ(descriptors_of(after.value(), after.value().traffic).size(), 9U);
  for (const int fd : descriptors_of(after.value(), after.value().traffic)) EXPECT_TRUE(is_open(fd));
  // Two owners of each: one of them lets go.
  for (const int fd : descriptors_of(before, before.traffic)) EXPECT_TRUE(is_open(fd));
  for (Fd* fd :
       {&before.lock, &before.control, &before.group_locks[0], &before.systemd_fds[0].second,
        &before.traffic.clients[0].fd, &before.traffic.tunnels[0].client, &before.traffic.tunnels[0].replica,
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
    flipped[at] = static_cast<char>(flipped[at] ^ 1);
    EXPECT_FALSE(decode_handover(flipped, Descriptors::owned).ok()) << at;
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
  std::string text = encode_handover(handover, handover.traffic);
  text.replace(text.find(":1,"), 3, ":2,");
  EXPECT_EQ(decode_handover(text, Descriptors::owned).error().message,
            "was written by another muster (handover 2; this one takes 1)");
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
  CommandResult hangs;
  hangs.started = hangs.timed_out = true;
  hangs.sentence = "no end within 5.0 s";
  EXPECT_EQ(verdict_of("/m", hangs).error().message, "/m: no end within 5.0 s");
}

}  // namespace
}  // namespace muster::supervisor
