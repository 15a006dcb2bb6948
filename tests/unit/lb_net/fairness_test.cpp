// One client, or one connection's odd end, must not take what belongs to the others.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <semaphore>
#include <thread>

#include "rig.h"

namespace muster::lb::test {
namespace {

using namespace std::chrono_literals;

const std::string plain_get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

spec::Route fixed_answer() {
  spec::Route route;
  route.respond = spec::Respond{.status = 200, .body = "x", .type = "text/plain"};
  return route;
}

// Muster's own answers suspend nothing: without turns this client would have the thread until it stops.
TEST(Fairness, AFloodOfPipelinedRequestsLeavesTurnsToOthers) {
  Replica replica(http_replica("other"));
  Rig rig(1);
  rig.add_listener("own", "web").routes = {fixed_answer()};
  rig.add_listener("web", "web");
  rig.set_pool("web", {replica.port()});
  rig.publish();
  std::string many;
  for (int i = 0; i < 500; ++i) many += plain_get;
  std::atomic<bool> over{false};
  Wire flood = rig.client(0);
  std::thread writer([&] {
    while (!over && flood.send(many)) {
    }
  });
  std::thread reader([&] {
    while (!over && flood.some()) {
    }
  });
  for (int i = 0; i < 20; ++i) {
    const auto answer = rig.get("/", 1);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->body, "other");
  }
  over = true;
  ::shutdown(flood.fd(), SHUT_RDWR);
  writer.join();
  reader.join();
}

TEST(Fairness, AnUploadWithoutEndLeavesTurnsToOthers) {
  Replica sink([](Wire& wire) {
    while (true) {
      const auto some = wire.some();
      if (!some || some->empty()) return;
    }
  });
  Replica replica(http_replica("other"));
  Rig rig(1);
  rig.add_listener("up", "sink");
  rig.add_listener("web", "web");
  rig.set_pool("sink", {sink.port()});
  rig.set_pool("web", {replica.port()});
  rig.publish();
  std::atomic<bool> over{false};
  Wire client = rig.client(0);
  client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000000\r\n\r\n");
  std::thread writer([&] {
    const std::string much(1 << 20, 'x');
    while (!over && client.send(much)) {
    }
  });
  for (int i = 0; i < 20; ++i) {
    const auto answer = rig.get("/", 1);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->body, "other");
  }
  over = true;
  ::shutdown(client.fd(), SHUT_RDWR);
  writer.join();
}

// Connections that keep coming while a listener is closed are not all served first.
TEST(Fairness, AListenerCloses) {
  Replica replica(http_replica("x"));
  Rig rig(1);
  rig.add_listener("web", "web");
  rig.add_listener("closing", "web");
  rig.set_pool("web", {replica.port()});
  rig.publish();
  const std::uint16_t port = rig.port(1);
  std::atomic<bool> over{false};
  std::vector<std::thread> clients;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([&] {
      while (!over) Wire::to(port).reset();
    });
  }
  rig.listeners.pop_back();
  rig.publish();  // waits until every thread has done it
  EXPECT_TRUE(rig.get("/", 0));
  over = true;
  for (auto& client : clients) client.join();
}

// A read from a unix socket stops short at a message with descriptors; what follows raises no event of its own.
TEST(UnixListener, BytesBehindPassedDescriptorsAreRead) {
  Replica replica(http_replica("unix"));
  Rig rig(1);
  rig.add_listener("web", "web");
  const std::string path = testing::TempDir() + "muster-scm-" + std::to_string(getpid());
  std::filesystem::remove(path);
  spec::BindAddress bind;
  bind.kind = spec::BindAddress::Kind::unix_path;
  bind.path = path;
  bind.text = "unix:" + path;
  rig.listeners[0].bind = {bind};
  rig.set_pool("web", {replica.port()});
  rig.publish();
  Wire client = Wire::to_unix(path);
  const auto send_with_descriptor = [&](std::string text) {
    iovec part{text.data(), text.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))]{};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    *reinterpret_cast<int*>(CMSG_DATA(header)) = STDERR_FILENO;
    EXPECT_EQ(::sendmsg(client.fd(), &message, 0), static_cast<ssize_t>(text.size()));
  };
  send_with_descriptor("GET / HTTP/1.1\r\n");
  send_with_descriptor("Host: h\r\n");
  send_with_descriptor("\r\n");
  const auto answer = read_message(client);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->body, "unix");
  std::filesystem::remove(path);
}

// Its bytes have ended, so nobody reads it any more; the reset must be seen all the same.
TEST(Tunnel, AResetAfterAHalfCloseEndsIt) {
  std::binary_semaphore over{0};
  Replica replica([&over](Wire& wire) {
    wire.send("hello");
    static_cast<void>(wire.rest());
    over.acquire();  // silent: a write would find out
  });
  Rig rig(1);
  rig.add_listener("raw", "raw", spec::ListenMode::tcp);
  rig.set_pool("raw", {replica.port()});
  rig.publish();
  Wire client = rig.client();
  ASSERT_TRUE(client.exactly(5));
  client.half_close();
  EXPECT_TRUE(rig.wait_in_flight(InstanceId{replica.port()}, 1));
  client.reset();
  EXPECT_TRUE(rig.wait_in_flight(InstanceId{replica.port()}, 0));
  over.release();
}

}  // namespace
}  // namespace muster::lb::test
