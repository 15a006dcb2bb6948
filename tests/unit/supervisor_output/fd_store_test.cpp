// The service manager's descriptor store, with a manager that is a socket.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <map>
#include <thread>

#include "base/check.h"
#include "supervisor/output_keeper.h"
#include "support/temp_folder.h"

namespace muster::supervisor {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing_support::TempFolder;

struct Message {
  std::string text;
  std::vector<Fd> fds;
};

class FdStoreTest : public testing::Test {
 protected:
  FdStoreTest() {
    const std::string path = folder.path() + "/notify";
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    MUSTER_CHECK(path.size() < sizeof address.sun_path);
    std::memcpy(address.sun_path, path.data(), path.size());
    manager.reset(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    MUSTER_CHECK(bind(manager.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    const timeval deadline{20, 0};
    setsockopt(manager.get(), SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline);
    setenv("NOTIFY_SOCKET", path.c_str(), 1);  // NOLINT(concurrency-mt-unsafe)
    sd = SdNotify::from_environment();
  }

  Message receive() {
    Message message;
    std::array<char, 1024> text{};
    alignas(cmsghdr) std::array<char, 256> control{};
    iovec piece{text.data(), text.size()};
    msghdr header{};
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    const ssize_t got = recvmsg(manager.get(), &header, MSG_CMSG_CLOEXEC);
    if (got < 0) return message;
    message.text.assign(text.data(), static_cast<std::size_t>(got));
    const cmsghdr* sent = CMSG_FIRSTHDR(&header);
    for (std::size_t i = 0; sent != nullptr && i < (sent->cmsg_len - CMSG_LEN(0)) / sizeof(int); ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(sent) + i * sizeof fd, sizeof fd);
      message.fds.emplace_back(fd);
    }
    return message;
  }

  TempFolder folder;
  Fd manager;
  SdNotify sd;
};

TEST_F(FdStoreTest, BothEndsAreKeptUnderOneName) {
  OutputFifos fifos(folder.path() + "/run");
  auto made = fifos.make(InstanceId{17});
  ASSERT_TRUE(made.ok());
  const auto keeper = keep_in_fd_store(sd, {});
  keeper->hold(InstanceId{17}, made.value().out.read, made.value().err.read);
  ASSERT_EQ(write(made.value().err.write.get(), "kept", 4), 4);
  const Message kept = receive();
  EXPECT_EQ(kept.text, "FDSTORE=1\nFDPOLL=0\nFDNAME=muster-output-17");
  ASSERT_EQ(kept.fds.size(), 2U);
  std::array<char, 4> text{};
  EXPECT_EQ(read(kept.fds[1].get(), text.data(), text.size()), 4);
  keeper->drop(InstanceId{17});
  EXPECT_EQ(receive().text, "FDSTOREREMOVE=1\nFDNAME=muster-output-17");
  keeper->drop(InstanceId{17});
  sd.status("once");
  EXPECT_EQ(receive().text, "STATUS=once") << "what is not there is not dropped";
}

TEST_F(FdStoreTest, WhatIsKeptAlreadyIsNotKeptTwiceAndTheRestGoes) {
  const auto keeper = keep_in_fd_store(sd, {InstanceId{1}, InstanceId{2}});
  const Fd null(open("/dev/null", O_RDONLY | O_CLOEXEC));
  keeper->hold(InstanceId{1}, null, null);
  EXPECT_THAT(keeper->stored(), ElementsAre(InstanceId{1}, InstanceId{2}));
  keeper->end_earlier();
  EXPECT_EQ(receive().text, "FDSTOREREMOVE=1\nFDNAME=muster-output-2");
  EXPECT_THAT(keeper->stored(), ElementsAre(InstanceId{1}));
  keeper->drop(InstanceId{1});
  EXPECT_EQ(receive().text, "FDSTOREREMOVE=1\nFDNAME=muster-output-1");
}

TEST_F(FdStoreTest, StoredOutputIsNoListener) {
  std::vector<std::pair<std::string, Fd>> passed;
  for (const char* name :
       {"front", "muster-output-3", "muster-output-3", "muster-output-x", "muster-output-"})
    passed.emplace_back(name, Fd());
  EXPECT_THAT(take_stored_output(passed), ElementsAre(InstanceId{3}));
  std::vector<std::string> left;
  for (const auto& [name, fd] : passed) left.push_back(name);
  EXPECT_THAT(left, ElementsAre("front", "muster-output-x", "muster-output-"));
}

TEST_F(FdStoreTest, AManagerIsAskedWhetherItHasAStore) {
  for (const bool keeps : {true, false}) {
    std::vector<Fd> store;
    std::thread answering([&] {
      for (;;) {
        Message message = receive();
        if (message.text.find("FDSTORE=1\n") != std::string::npos && keeps)
          for (Fd& fd : message.fds) store.push_back(std::move(fd));
        if (message.text.empty() || message.text.find("BARRIER=1") != std::string::npos) return;
      }
    });
    EXPECT_EQ(sd.has_store(Millis{20'000}), keeps);
    answering.join();
    EXPECT_EQ(receive().text, "FDSTOREREMOVE=1\nFDNAME=muster-question");
  }
}

TEST_F(FdStoreTest, WithoutAManagerThereIsNoStore) {
  SdNotify none;
  EXPECT_FALSE(none.has_store(Millis{20'000}));
  EXPECT_FALSE(sd.has_store(Millis{1})) << "one that does not answer";
}

}  // namespace
}  // namespace muster::supervisor
