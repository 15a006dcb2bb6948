#include "supervisor/ports.h"

#include <unistd.h>

#include <cerrno>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "support/tcp.h"

namespace muster::supervisor {
namespace {

using testing::HasSubstr;
using testing_support::listen_on;

spec::App app_with(spec::Port port) {
  spec::App app;
  app.name = "web";
  app.port = port;
  return app;
}
const spec::Port automatic{.kind = spec::PortKind::automatic, .base = 0};

TEST(Ports, AutomaticOnesDifferAndComeFromTheRange) {
  Ports ports;
  ports.set_range(21000, 21999);
  const auto first = ports.take(app_with(automatic), 0, InstanceId{1});
  const auto second = ports.take(app_with(automatic), 0, InstanceId{2});
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(first.value().at(0).first, "");
  EXPECT_NE(first.value().at(0).second, second.value().at(0).second);
  EXPECT_GE(first.value().at(0).second, 21000);
  EXPECT_LE(second.value().at(0).second, 21999);
}

TEST(Ports, NamedOnesComeToo) {
  Ports ports;
  spec::App app = app_with(automatic);
  app.ports = {spec::NamedPort{.name = "admin", .port = automatic}};
  const auto taken = ports.take(app, 0, InstanceId{1});
  ASSERT_TRUE(taken.ok());
  EXPECT_EQ(taken.value().at(1).first, "admin");
}

TEST(Ports, APortInUseIsPassedOver) {
  const auto held = listen_on();
  Ports ports;
  ports.set_range(held.port, held.port);
  const auto taken = ports.take(app_with(automatic), 0, InstanceId{1});
  ASSERT_FALSE(taken.ok());
  EXPECT_THAT(taken.error().message, HasSubstr("no free port in daemon.port_range"));
}

TEST(Ports, WhatIsGivenBackIsFreeAgain) {
  std::uint16_t port = 0;
  {
    const auto held = listen_on();
    port = held.port;
  }
  Ports ports;
  ports.set_range(port, port);
  ASSERT_TRUE(ports.take(app_with(automatic), 0, InstanceId{1}).ok());
  EXPECT_FALSE(ports.take(app_with(automatic), 0, InstanceId{2}).ok());
  ports.give_back(InstanceId{1});
  EXPECT_TRUE(ports.take(app_with(automatic), 0, InstanceId{3}).ok());
}

TEST(Ports, PortsThatTheSpecNumbersAreNotGivenAway) {
  std::uint16_t port = 0;
  {
    const auto held = listen_on();
    port = held.port;
  }
  Ports ports;
  ports.set_range(port, port);
  spec::Spec spec;
  spec.apps = {
      app_with(spec::Port{.kind = spec::PortKind::numbered, .base = static_cast<std::uint16_t>(port - 1)})};
  spec.apps[0].replicas = 2;
  ports.reserve_those_of(spec);
  EXPECT_FALSE(ports.take(app_with(automatic), 0, InstanceId{1}).ok());
  ports.reserve_those_of(spec::Spec{});
  EXPECT_TRUE(ports.take(app_with(automatic), 0, InstanceId{2}).ok());
}

TEST(Ports, ANumberedPortThatIsTakenNamesItsHolder) {
  const auto held = listen_on();
  Ports ports;
  const spec::Port numbered{.kind = spec::PortKind::numbered,
                            .base = static_cast<std::uint16_t>(held.port - 2)};
  const auto taken = ports.take(app_with(numbered), 2, InstanceId{1});
  ASSERT_FALSE(taken.ok());
  EXPECT_EQ(taken.error().errno_value, EADDRINUSE);
  EXPECT_THAT(taken.error().message, HasSubstr(std::to_string(held.port)));
  EXPECT_THAT(taken.error().message, HasSubstr("pid " + std::to_string(getpid())));
}

}  // namespace
}  // namespace muster::supervisor
