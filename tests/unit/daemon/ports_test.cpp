#include "supervisor/ports.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/error.h"
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

// This thread's sockets are on a network of their own, where nobody else has a port, until the destructor.
class PrivateNetwork {
 public:
  PrivateNetwork() : before_(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)) {
    if (!before_ || ::unshare(CLONE_NEWNET) != 0) {
      refusal_ = errno_text(errno);
      before_.reset();
      return;
    }
    ifreq loopback{};
    std::memcpy(loopback.ifr_name, "lo", sizeof "lo");
    loopback.ifr_flags = IFF_UP;
    const Fd any(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    MUSTER_CHECK(::ioctl(any.get(), SIOCSIFFLAGS, &loopback) == 0);
  }
  PrivateNetwork(const PrivateNetwork&) = delete;
  PrivateNetwork& operator=(const PrivateNetwork&) = delete;
  ~PrivateNetwork() {
    if (before_) MUSTER_CHECK(::setns(before_.get(), CLONE_NEWNET) == 0);
  }
  // Why there is none; empty: there is one.
  [[nodiscard]] const std::string& refusal() const { return refusal_; }

 private:
  Fd before_;
  std::string refusal_;
};

bool can_bind(std::uint16_t port, int reuse) {
  const Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof reuse);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  return ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

// As a server does that sets SO_REUSEADDR and hangs up first: its port stays in TIME_WAIT.
void leave_in_time_wait(std::uint16_t port) {
  const Fd server(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  ::setsockopt(server.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  ASSERT_EQ(::bind(server.get(), generic, sizeof address), 0);
  ASSERT_EQ(::listen(server.get(), 1), 0);
  const Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::connect(client.get(), generic, sizeof address), 0);
  Fd accepted(::accept4(server.get(), nullptr, nullptr, SOCK_CLOEXEC));
  ASSERT_TRUE(accepted);
  accepted.reset();
  std::array<char, 1> end{};
  ASSERT_EQ(::recv(client.get(), end.data(), end.size(), 0), 0);
}

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

TEST(Ports, APortInTimeWaitIsTheSecondChoice) {
  const PrivateNetwork network;
  if (!network.refusal().empty()) GTEST_SKIP() << "no private network: " << network.refusal();
  constexpr std::uint16_t resting = 21000;
  constexpr std::uint16_t fresh = 21001;
  constexpr std::uint16_t held = 21002;
  const auto holder = listen_on(false, held);
  leave_in_time_wait(resting);
  ASSERT_FALSE(can_bind(resting, 0)) << "nobody listens, but it rests";
  ASSERT_TRUE(can_bind(resting, 1));
  Ports ports;
  ports.set_range(resting, held);
  const auto first = ports.take(app_with(automatic), 0, InstanceId{1});
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(first.value().at(0).second, fresh);
  const auto second = ports.take(app_with(automatic), 0, InstanceId{2});
  ASSERT_TRUE(second.ok()) << "better than none";
  EXPECT_EQ(second.value().at(0).second, resting);
  EXPECT_FALSE(ports.take(app_with(automatic), 0, InstanceId{3}).ok())
      << "one that is listened on is no choice";
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
