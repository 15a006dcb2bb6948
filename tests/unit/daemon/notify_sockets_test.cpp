#include "supervisor/notify_sockets.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>

#include "base/fd.h"
#include "gtest/gtest.h"
#include "support/uv_loop.h"

namespace muster::supervisor {
namespace {

bool send_to(const std::string& name, const std::string& text) {
  const Fd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, name.data(), name.size());
  address.sun_path[0] = '\0';
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  return ::sendto(fd.get(), text.data(), text.size(), 0, reinterpret_cast<sockaddr*>(&address), length) >= 0;
}

struct Fixture {
  testing_support::UvLoop loop;
  std::vector<Notified> told;
  NotifySockets sockets{loop.get(), [this](Notified notified) { told.push_back(std::move(notified)); }};
};

TEST(NotifySockets, AMessageIsTheInstancesWhoseSocketItCameBy) {
  Fixture fixture;
  const auto first = fixture.sockets.open(InstanceId{1}, getuid());
  const auto second = fixture.sockets.open(InstanceId{2}, getuid());
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(first.value().front(), '@');
  ASSERT_TRUE(send_to(second.value(), "READY=1"));
  ASSERT_TRUE(fixture.loop.run_until([&] { return !fixture.told.empty(); }));
  EXPECT_EQ(fixture.told[0].instance, InstanceId{2});
  EXPECT_TRUE(fixture.told[0].ready);
}

TEST(NotifySockets, AStrangersMessageIsNotTaken) {
  if (getuid() != 0) GTEST_SKIP() << "needs root: sends as another user";
  Fixture fixture;
  const auto name = fixture.sockets.open(InstanceId{1}, 12345);
  ASSERT_TRUE(name.ok());
  const auto send_as = [&](uid_t uid) {
    const pid_t child = fork();
    if (child == 0) {
      if (setresuid(uid, uid, uid) != 0) _exit(2);
      _exit(send_to(name.value(), uid == 12345 ? "STATUS=mine" : "STATUS=stranger") ? 0 : 1);
    }
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  };
  send_as(23456);
  send_as(12345);  // also a sender that has ended by now
  ASSERT_TRUE(fixture.loop.run_until([&] { return !fixture.told.empty(); }));
  ASSERT_EQ(fixture.told.size(), 1U);
  EXPECT_EQ(fixture.told[0].status, "mine");
}

TEST(NotifySockets, AClosedSocketTakesNoMore) {
  Fixture fixture;
  const auto name = fixture.sockets.open(InstanceId{1}, getuid());
  fixture.sockets.close(InstanceId{1});
  fixture.loop.drain();
  EXPECT_FALSE(send_to(name.value(), "READY=1"));
  EXPECT_TRUE(fixture.told.empty());
}

TEST(NotifySockets, AMessageThatIsTooLongIsPassedOver) {
  Fixture fixture;
  const auto name = fixture.sockets.open(InstanceId{1}, getuid());
  ASSERT_TRUE(send_to(name.value(), "READY=1\n" + std::string(10000, 'x')));
  ASSERT_TRUE(send_to(name.value(), "WATCHDOG=1"));
  ASSERT_TRUE(fixture.loop.run_until([&] { return !fixture.told.empty(); }));
  EXPECT_FALSE(fixture.told[0].ready);
  EXPECT_TRUE(fixture.told[0].watchdog);
}

}  // namespace
}  // namespace muster::supervisor
