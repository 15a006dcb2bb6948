// Replicas that listen on a unix socket.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "http_pair.h"
#include "support/temp_folder.h"

namespace muster::lb::test {
namespace {

using namespace std::chrono_literals;

struct SocketRig : Rig {
  explicit SocketRig(spec::ListenMode mode = spec::ListenMode::http) {
    add_listener("web", "web", mode);
    set_pool("web", {1});
    pools["web"].endpoints[0].address = path;
    pools["web"].endpoints[0].port = 0;
  }
  testing_support::TempFolder folder;
  std::string path = folder.path() + "/sock";
};

TEST(ReplicaSocket, CarriesRequestsOverOneConnection) {
  SocketRig rig;
  Replica replica(echo, rig.path);
  rig.publish();
  Wire client = rig.client();
  for (int i = 0; i < 3; ++i) {
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nbody");
    const auto answer = read_message(client);
    ASSERT_TRUE(answer);
    EXPECT_NE(answer->body.find("|body|"), std::string::npos);
  }
  EXPECT_EQ(replica.connections(), 1);
  EXPECT_TRUE(rig.wait_in_flight(InstanceId{1}, 0));
}

// The app's user may put a link there, to a socket that answers muster more than it.
TEST(ReplicaSocket, OfAnotherUserThanItsFolderGetsNothing) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root: gives a folder to another user";
  SocketRig rig;
  const testing_support::TempFolder mighty;
  std::atomic<bool> heard = false;
  Replica replica([&](Wire& wire) { heard = heard || !wire.some().value_or("").empty(); },
                  mighty.path() + "/sock");
  ASSERT_EQ(symlink((mighty.path() + "/sock").c_str(), rig.path.c_str()), 0);
  constexpr uid_t nobody = 65534;
  ASSERT_EQ(chown(rig.folder.path().c_str(), nobody, static_cast<gid_t>(-1)), 0);
  rig.publish();
  const auto answer = rig.get();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status(), 502);
  EXPECT_FALSE(heard);
}

TEST(ReplicaSocket, CarriesALargeAnswer) {
  SocketRig rig;
  const std::string body(4 << 20, 'x');
  Replica replica(http_replica(body), rig.path);
  rig.publish();
  const auto answer = rig.get();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->body.size(), body.size());
}

TEST(ReplicaSocket, CarriesStreams) {
  SocketRig rig(spec::ListenMode::tcp);
  Replica replica(
      [](Wire& wire) {
        while (const auto piece = wire.some()) {
          if (piece->empty()) break;
          if (!wire.send(*piece)) return;
        }
        wire.send("bye");
      },
      rig.path);
  rig.publish();
  Wire client = rig.client();
  client.send("hello");
  client.half_close();
  EXPECT_EQ(client.rest(), "hellobye");
}

TEST(ReplicaSocket, CarriesBulkBothWays) {
  SocketRig rig(spec::ListenMode::tcp);
  Replica replica(
      [](Wire& wire) {
        const auto all = wire.rest();
        if (all) wire.send(*all);
      },
      rig.path);
  rig.publish();
  std::string bytes(12'000'000, '\0');
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 2654435761U >> 13U);
  Wire client = rig.client();
  EXPECT_TRUE(client.send(bytes));
  client.half_close();
  const auto back = client.rest();
  ASSERT_TRUE(back);
  EXPECT_TRUE(*back == bytes) << back->size();
}

TEST(ReplicaSocket, AMissingOneIsAsIfNobodyListened) {
  SocketRig rig;
  rig.listeners[0].queue_timeout = 100ms;
  rig.publish();
  const auto answer = rig.get();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status(), 502);
  EXPECT_TRUE(rig.wait_failure(InstanceId{1}));
}

TEST(ReplicaSocket, AFullQueueOfConnectionsIsWaitedFor) {
  SocketRig rig;
  // Nobody accepts, and one connection fills it.
  Fd listening(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  rig.path.copy(static_cast<char*>(at.sun_path), sizeof at.sun_path - 1);
  ASSERT_EQ(::bind(listening.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at), 0);
  ASSERT_EQ(::listen(listening.get(), 0), 0);
  const Wire filling = Wire::to_unix(rig.path);
  rig.publish();
  Wire client = rig.client();
  client.send(plain_get);
  ASSERT_TRUE(rig.wait_in_flight(InstanceId{1}, 1));
  Wire first{Fd(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC))};
  Wire second{Fd(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC))};
  ASSERT_TRUE(read_message(second));
  second.send("HTTP/1.1 204 No Content\r\n\r\n");
  const auto answer = read_message(client);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status(), 204);
}

}  // namespace
}  // namespace muster::lb::test
