#include "supervisor/port_verdict.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::supervisor {
namespace {

using health::ProbeCode;
using testing::HasSubstr;

ListeningSocket socket_at(std::string address, std::uint16_t port, std::uint64_t inode) {
  return ListeningSocket{.address = std::move(address), .port = port, .inode = inode};
}

PortQuestion question(std::vector<ListeningSocket> all, std::vector<ListeningSocket> own) {
  PortQuestion made;
  made.port = 6379;
  made.all = std::move(all);
  made.own = std::move(own);
  made.holder = [](std::uint64_t inode) -> std::optional<SocketHolder> {
    if (inode != 99) return std::nullopt;
    return SocketHolder{.pid = 812, .name = "redis-server"};
  };
  return made;
}

TEST(PortVerdict, TheReplicasOwnSocketCounts) {
  EXPECT_FALSE(
      judge_open_port(question({socket_at("127.0.0.1", 6379, 1)}, {socket_at("127.0.0.1", 6379, 1)})));
}

TEST(PortVerdict, AStrangerIsNamed) {
  const auto outcome = judge_open_port(question({socket_at("127.0.0.1", 6379, 99)}, {}));
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->code, ProbeCode::foreign);
  EXPECT_FALSE(outcome->healthy());
  EXPECT_EQ(outcome->sentence, "port 6379 is held by pid 812 (redis-server)");
}

TEST(PortVerdict, WhatProcDoesNotShowIsNotHeldAgainstTheReplica) {
  EXPECT_FALSE(judge_open_port(question({socket_at("127.0.0.1", 6379, 5)}, {})));
}

TEST(PortVerdict, EveryAddressIsHealthyWithAWarning) {
  for (const char* address : {"0.0.0.0", "::"}) {
    const auto outcome =
        judge_open_port(question({socket_at(address, 6379, 1)}, {socket_at(address, 6379, 1)}));
    ASSERT_TRUE(outcome) << address;
    EXPECT_EQ(outcome->code, ProbeCode::ok_wide);
    EXPECT_TRUE(outcome->healthy());
    EXPECT_EQ(outcome->address, "127.0.0.1");
  }
}

TEST(PortVerdict, ASocketOfAnotherPortOrFamilySaysNothing) {
  EXPECT_FALSE(judge_open_port(question({socket_at("127.0.0.1", 80, 99), socket_at("::1", 6379, 99)}, {})));
  PortQuestion six =
      question({socket_at("::1", 6379, 99), socket_at("0.0.0.0", 6379, 1)}, {socket_at("0.0.0.0", 6379, 1)});
  six.address = "::1";
  ASSERT_TRUE(judge_open_port(six));
  EXPECT_EQ(judge_open_port(six)->code, ProbeCode::foreign);
}

TEST(PortVerdict, AnotherPortIsNamedWithTheCure) {
  const auto outcome = judge_closed_port(20001, {socket_at("0.0.0.0", 3000, 1)});
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->code, ProbeCode::wrong_port);
  EXPECT_EQ(outcome->sentence, "listens on 0.0.0.0:3000, expected 127.0.0.1:20001 (use {port})");
}

TEST(PortVerdict, APortInPlaceOfTheSocketIsNamedWithTheCure) {
  EXPECT_FALSE(judge_missing_socket("/run/sock", {}));
  const auto outcome = judge_missing_socket("/run/sock", {socket_at("127.0.0.1", 3000, 1)});
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->code, ProbeCode::wrong_port);
  EXPECT_EQ(outcome->sentence, "listens on 127.0.0.1:3000, expected unix:/run/sock (use {port})");
}

TEST(PortVerdict, AClosedPortWithoutASocketElsewhereStaysRefused) {
  EXPECT_FALSE(judge_closed_port(20001, {}));
  EXPECT_FALSE(judge_closed_port(20001, {socket_at("127.0.0.1", 20001, 1), socket_at("0.0.0.0", 9, 2)}));
  EXPECT_THAT(judge_closed_port(20001, {socket_at("::", 1, 1)})->sentence, HasSubstr("[::]:1"));
}

}  // namespace
}  // namespace muster::supervisor
