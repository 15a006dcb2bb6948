#include "supervisor/sd_notify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "leaf_rig.h"

namespace muster::supervisor {
namespace {

// The service manager's end.
class Manager {
 public:
  explicit Manager(const std::string& address) {
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    std::memcpy(to.sun_path, address.data(), address.size());
    if (address[0] == '@') to.sun_path[0] = '\0';
    socket_.reset(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address.size());
    EXPECT_EQ(bind(socket_.get(), reinterpret_cast<const sockaddr*>(&to), size), 0);
    setenv("NOTIFY_SOCKET", address.c_str(), 1);
  }
  std::string message() {
    std::array<char, 4096> bytes{};
    const ssize_t got = recv(socket_.get(), bytes.data(), bytes.size(), 0);
    return got < 0 ? "" : std::string(bytes.data(), static_cast<std::size_t>(got));
  }

 private:
  Fd socket_;
};

class SdNotifyTest : public testing::Test {
 protected:
  ~SdNotifyTest() override {
    for (const char* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) unsetenv(name);
  }
  TempFolder folder;
};

TEST_F(SdNotifyTest, SpeaksToAPathAndToAnAbstractName) {
  for (const std::string& address : {folder / "notify", "@muster-leaf-" + std::to_string(getpid())}) {
    Manager manager(address);
    SdNotify notify = SdNotify::from_environment();
    ASSERT_TRUE(notify.active());
    EXPECT_EQ(getenv("NOTIFY_SOCKET"), nullptr);
    notify.ready("3 apps\nare ready");
    EXPECT_EQ(manager.message(), "READY=1\nSTATUS=3 apps are ready\nMAINPID=" + std::to_string(getpid()));
    notify.reloading("again");
    EXPECT_THAT(manager.message(), testing::MatchesRegex("RELOADING=1\nMONOTONIC_USEC=[0-9]+\nSTATUS=again"));
    notify.stopping("bye");
    EXPECT_EQ(manager.message(), "STOPPING=1\nSTATUS=bye");
    notify.status("x");
    EXPECT_EQ(manager.message(), "STATUS=x");
    notify.watchdog();
    EXPECT_EQ(manager.message(), "WATCHDOG=1");
    notify.extend_timeout(Millis{1500});
    EXPECT_EQ(manager.message(), "EXTEND_TIMEOUT_USEC=1500000");
    EXPECT_EQ(manager.message(), "");
  }
}

TEST_F(SdNotifyTest, AManagerThatDoesNotReadHoldsNothingUp) {
  Manager manager(folder / "notify");
  SdNotify notify = SdNotify::from_environment();
  for (int i = 0; i < 5000; ++i) notify.status("x");
  EXPECT_EQ(manager.message(), "STATUS=x");
}

TEST_F(SdNotifyTest, AManagerThatIsGoneIsFoundAgain) {
  auto manager = std::make_unique<Manager>(folder / "notify");
  SdNotify notify = SdNotify::from_environment();
  manager.reset();
  notify.status("into the void");
  unlink((folder / "notify").c_str());
  notify.status("into the void");
  manager = std::make_unique<Manager>(folder / "notify");
  notify.status("there you are");
  EXPECT_EQ(manager->message(), "STATUS=there you are");
}

TEST_F(SdNotifyTest, WithoutAManagerItIsSilent) {
  for (const std::string& address :
       {std::string(), std::string("relative"), std::string("@"), std::string("/"), std::string("vsock:2:3"),
        "/" + std::string(200, 'x')}) {
    setenv("NOTIFY_SOCKET", address.c_str(), 1);
    setenv("WATCHDOG_USEC", "1000000", 1);
    SdNotify notify = SdNotify::from_environment();
    EXPECT_FALSE(notify.active()) << address;
    EXPECT_FALSE(notify.watchdog_every().has_value());
    EXPECT_EQ(getenv("NOTIFY_SOCKET"), nullptr);
    EXPECT_EQ(getenv("WATCHDOG_USEC"), nullptr);
    notify.ready("x");
  }
}

TEST_F(SdNotifyTest, TheWatchdogIsDueAtHalfItsTime) {
  Manager manager(folder / "notify");
  struct Case {
    const char* usec;
    std::string pid;
    std::optional<Millis> every;
  };
  const std::string own = std::to_string(getpid());
  for (const Case& c :
       {Case{"30000000", "", Millis{15000}}, Case{"30000000", own, Millis{15000}},
        Case{"1000", own, Millis{1}}, Case{"30000000", "1", std::nullopt}, Case{"0", own, std::nullopt},
        Case{"", own, std::nullopt}, Case{"-5", own, std::nullopt}, Case{"10x", own, std::nullopt},
        Case{"99999999999999999999", own, std::nullopt}}) {
    setenv("NOTIFY_SOCKET", (folder / "notify").c_str(), 1);
    setenv("WATCHDOG_USEC", c.usec, 1);
    setenv("WATCHDOG_PID", c.pid.c_str(), 1);
    EXPECT_EQ(SdNotify::from_environment().watchdog_every(), c.every) << c.usec << " " << c.pid;
    EXPECT_EQ(getenv("WATCHDOG_PID"), nullptr);
  }
}

TEST(SdStatusValue, IsOneLine) {
  EXPECT_EQ(sd_status_value("a\nb\tc\x7F\x1B\xC2\x9B\xFF"), "a b c    ");
  EXPECT_EQ(sd_status_value("\xC3\xA4"), "\xC3\xA4");
  EXPECT_EQ(sd_status_value(std::string(511, 'x') + "\xC3\xA4"), std::string(511, 'x'));
  EXPECT_EQ(sd_status_value(std::string(600, 'x')).size(), 512U);
  EXPECT_EQ(sd_status_value("a\nREADY=1"), "a READY=1");
}

}  // namespace
}  // namespace muster::supervisor
