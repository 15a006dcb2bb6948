// Who has a volume keeps it as long as any of its processes lives, whatever becomes of the one who started them.
#include "supervisor/volume_lock.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <thread>

#include "host_rig.h"
#include "support/temp_folder.h"

namespace muster::supervisor {
namespace {

using testing::HasSubstr;
using testing::SizeIs;
using testing_support::TempFolder;

bool one_dies(int first, int second) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (alive(first) == alive(second) && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(Millis(5));
  return alive(first) != alive(second);
}

class VolumeLock : public testing::Test {
 protected:
  [[nodiscard]] Result<Fd> lock() const { return lock_volume(opened_.get(), "data"); }
  [[nodiscard]] std::string file() const { return folder_.path() + "/.data.lock"; }
  [[nodiscard]] const std::string& folder() const { return folder_.path(); }

 private:
  TempFolder folder_;
  Fd opened_{open(folder_.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
};

TEST_F(VolumeLock, OneHasIt) {
  auto mine = lock();
  ASSERT_TRUE(mine.ok()) << mine.error().message;
  const auto second = lock();
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().errno_value, EWOULDBLOCK);
  mine.value().reset();
  EXPECT_TRUE(lock().ok());
}

TEST_F(VolumeLock, AProcessHoldsItUntilItsEndAndIsNamed) {
  HostRig rig;
  auto mine = lock();
  ASSERT_TRUE(mine.ok());
  ProcessOrder order = order_of({"sleep", "1000"});
  order.kept = {mine.value().get()};
  const InstanceId id = rig.start(order);
  ASSERT_TRUE(rig.until(id, "started"));
  mine.value().reset();
  // "started" is told before exec: until then its name is that of the shim.
  const std::string name = "in use by pid " + std::to_string(rig.seen(id).pid) + " (sleep)";
  EXPECT_TRUE(rig.until([&] {
    const auto other = lock();
    return !other.ok() && other.error().message == name;
  })) << lock().error().message;
  rig.host().kill_tree(id);
  ASSERT_TRUE(rig.until(id, "gone"));
  EXPECT_TRUE(lock().ok());  // at once
}

// Many times: the kernel must let go of it before it says that the tree is gone.
TEST_F(VolumeLock, IsFreeWhenTheTreeIsGone) {
  HostRig rig;
  for (int i = 0; i < 30; ++i) {
    auto mine = lock();
    ASSERT_TRUE(mine.ok()) << i << mine.error().message;
    ProcessOrder order = shell_order("sleep 1000 & setsid sleep 1000 & echo up; exec sleep 1000");
    order.kept = {mine.value().get()};
    const InstanceId id = rig.start(order);
    ASSERT_TRUE(rig.until([&] { return rig.seen(id).out == "up\n"; }));
    mine.value().reset();
    rig.host().kill_tree(id);
    ASSERT_TRUE(rig.until(id, "gone"));
  }
}

TEST_F(VolumeLock, AGrandchildHoldsItWhenMainAndDaemonAreGone) {
  const Victim victim("token", "(setsid sh -c 'echo $$; exec sleep 1000' &); echo $$; exec sleep 1000", 2, "",
                      folder());
  ASSERT_THAT(victim.printed, SizeIs(2));
  EXPECT_THAT(lock().error().message, HasSubstr("in use by pid "));
  victim.kill_it();
  // The main process dies with its daemon; the other went its own way. Who printed first is not said.
  const int first = victim.printed[0];
  const int second = victim.printed[1];
  EXPECT_TRUE(one_dies(first, second));
  const int grandchild = alive(first) ? first : second;
  const auto other = lock();
  ASSERT_FALSE(other.ok());
  EXPECT_THAT(other.error().message, HasSubstr("in use by pid " + std::to_string(grandchild) + " ("));
  kill(grandchild, SIGKILL);
  ASSERT_TRUE(dies(grandchild));
  EXPECT_TRUE(lock().ok());
}

TEST_F(VolumeLock, WhatIsNoFileOfOursIsRefused) {
  std::filesystem::create_symlink("/etc/passwd", file());
  EXPECT_FALSE(lock().ok());
  std::filesystem::remove(file());
  ASSERT_EQ(mkfifo(file().c_str(), 0600), 0);
  EXPECT_THAT(lock().error().message, HasSubstr("is not the regular file"));
  std::filesystem::remove(file());
  ASSERT_TRUE(lock().ok());
  std::filesystem::create_hard_link(file(), folder() + "/second");
  EXPECT_THAT(lock().error().message, HasSubstr("is not the regular file"));
}

}  // namespace
}  // namespace muster::supervisor
