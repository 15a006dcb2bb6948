// Snapshots, drain, reloads and listeners: what the control thread relies on.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "rig.h"

namespace muster::lb::test {
namespace {

using namespace std::chrono_literals;

const std::string plain_get = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

spec::BindAddress special(spec::BindAddress::Kind kind, const std::string& text, const std::string& path) {
  spec::BindAddress address;
  address.text = text;
  address.kind = kind;
  address.path = path;
  return address;
}

int spread(const std::map<std::string, std::atomic<int>>& counts) {
  int least = 1 << 30;
  int most = 0;
  for (const auto& [name, count] : counts) {
    least = std::min(least, count.load());
    most = std::max(most, count.load());
  }
  return most - least;
}

// The first promise: 4,000 requests over 50 mixed connections on 2 threads, with reloads between.
TEST(RoundRobin, IsExactOverThreadsConnectionsAndReloads) {
  std::map<std::string, std::atomic<int>> counts;
  for (const char* name : {"a", "b", "c"}) counts[name] = 0;
  std::vector<std::unique_ptr<Replica>> replicas;
  std::vector<std::uint16_t> ports;
  Rig rig(2);
  rig.add_listener("web", "web");
  for (const auto& [name, count] : counts) {
    replicas.push_back(std::make_unique<Replica>(http_replica(name)));
    ports.push_back(replicas.back()->port());
  }
  rig.set_pool("web", ports);
  rig.publish();
  std::atomic<int> failed{0};
  std::vector<std::thread> clients;
  for (int c = 0; c < 50; ++c) {
    clients.emplace_back([&, keeps = c % 2 == 0] {
      Wire client = rig.client();
      for (int i = 0; i < 80; ++i) {
        if (!keeps && i % 4 == 0) client = rig.client();
        client.send(plain_get);
        const auto answer = read_message(client);
        if (!answer || answer->status() != 200) {
          ++failed;
          return;
        }
        ++counts.at(answer->body);
      }
    });
  }
  for (int i = 0; i < 20; ++i) rig.publish();
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(rig.failures(), 0U);
  EXPECT_EQ(counts["a"] + counts["b"] + counts["c"], 4000);
  EXPECT_LE(spread(counts), 1);
}

TEST(RoundRobin, GoesOnWhereItWasWhenAReplicaLeavesAndComesBack) {
  Replica a(http_replica("a"));
  Replica b(http_replica("b"));
  Rig rig;
  rig.add_listener("web", "web");
  rig.set_pool("web", {a.port(), b.port()});
  rig.publish();
  EXPECT_EQ(rig.get()->body, "a");
  rig.set_pool("web", {b.port()});
  rig.publish();
  EXPECT_EQ(rig.get()->body, "b");
  EXPECT_EQ(rig.get()->body, "b");
  rig.set_pool("web", {a.port(), b.port()});
  rig.publish();
  EXPECT_EQ(rig.get()->body, "b");
  EXPECT_EQ(rig.get()->body, "a");
}

TEST(Drain, AReplicaGetsNothingOnceItsSnapshotIsInUse) {
  std::atomic<int> asked{0};
  Replica leaving([&](Wire& wire) {
    while (read_message(wire)) {
      ++asked;
      wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }
  });
  Replica staying(http_replica("b"));
  Rig rig(2);
  rig.add_listener("web", "web");
  rig.set_pool("web", {leaving.port(), staying.port()});
  rig.publish();
  std::atomic<bool> over{false};
  std::atomic<int> failed{0};
  std::vector<std::thread> clients;
  for (int c = 0; c < 6; ++c) {
    clients.emplace_back([&] {
      Wire client = rig.client();
      while (!over) {
        client.send(plain_get);
        if (!read_message(client)) ++failed;
      }
    });
  }
  for (int round = 0; round < 20; ++round) {
    rig.set_pool("web", {leaving.port(), staying.port()});
    rig.publish();
    rig.forget_idle();
    rig.set_pool("web", {staying.port()});
    rig.publish();
    rig.balancer->watch_idle(InstanceId{leaving.port()});
    ASSERT_TRUE(rig.wait_idle(InstanceId{leaving.port()}));
    const int then = asked;
    for (std::uint64_t token = 1; token <= 5; ++token) {
      rig.balancer->ping(static_cast<std::uint64_t>(round) * 10 + token);
      ASSERT_TRUE(rig.wait_pong(static_cast<std::uint64_t>(round) * 10 + token));
    }
    EXPECT_EQ(asked, then) << "acknowledged and idle: nothing may come any more";
    EXPECT_EQ(rig.in_flight(InstanceId{leaving.port()}), 0U);
  }
  over = true;
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(failed, 0);
}

TEST(Drain, WaitsForTheRequestInFlight) {
  std::atomic<bool> answer{false};
  Replica slow([&](Wire& wire) {
    if (!read_message(wire)) return;
    while (!answer) std::this_thread::yield();
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast");
  });
  Rig rig;
  rig.add_listener("web", "web");
  rig.set_pool("web", {slow.port()});
  rig.publish();
  const InstanceId id{slow.port()};
  Wire client = rig.client();
  client.send(plain_get);
  ASSERT_TRUE(rig.wait_in_flight(id, 1));
  rig.set_pool("web", {});
  rig.publish();
  rig.balancer->watch_idle(id);
  rig.balancer->ping(1);
  ASSERT_TRUE(rig.wait_pong(1));
  EXPECT_FALSE(rig.is_idle(id));
  answer = true;
  const auto last = read_message(client);
  ASSERT_TRUE(last);
  EXPECT_EQ(last->body, "last");
  EXPECT_TRUE(rig.wait_idle(id));
}

TEST(Drain, AnInstanceNeverSeenIsIdle) {
  Rig rig(2);
  rig.publish();
  rig.balancer->watch_idle(InstanceId{4711});
  EXPECT_TRUE(rig.wait_idle(InstanceId{4711}));
}

TEST(Drain, ParkedConnectionsOfALeavingReplicaAreClosed) {
  Replica a(http_replica("a"));
  Rig rig;
  rig.add_listener("web", "web");
  rig.set_pool("web", {a.port()});
  rig.publish();
  ASSERT_TRUE(rig.get());
  rig.set_pool("web", {});
  rig.publish();
  EXPECT_TRUE(a.wait_open(0));
}

TEST(Listeners, AnAddressInUseIsNamedAndNothingChanges) {
  Rig rig;
  rig.add_listener("web", "web");
  Replica a(http_replica("a"));
  rig.set_pool("web", {a.port()});
  rig.publish();
  rig.add_listener("other", "web");
  rig.listeners[1].bind[0].port = a.port();
  rig.listeners[1].bind[0].text = "127.0.0.1:" + std::to_string(a.port());
  const Status status = rig.prepare_only();
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().errno_value, EADDRINUSE);
  EXPECT_NE(status.error().message.find(rig.listeners[1].bind[0].text), std::string::npos);
  rig.listeners.pop_back();
  EXPECT_TRUE(rig.get());
}

// Connections without end while listeners come and go around the one that stays: none is refused or reset.
TEST(Listeners, OneThatStaysIsNeverClosed) {
  Replica a(http_replica("a"));
  Rig rig(2);
  rig.add_listener("web", "web");
  rig.set_pool("web", {a.port()});
  rig.publish();
  const std::uint16_t port = rig.port();
  std::atomic<bool> over{false};
  std::atomic<int> failed{0};
  std::atomic<int> answered{0};
  std::vector<std::thread> clients;
  for (int c = 0; c < 3; ++c) {
    clients.emplace_back([&] {
      while (!over) {
        Wire client = Wire::to(port);
        client.send(plain_get);
        ++(read_message(client) ? answered : failed);
      }
    });
  }
  for (int i = 0; i < 30; ++i) {
    rig.add_listener("extra", "web");
    rig.publish();
    EXPECT_TRUE(rig.get("/", 1));
    rig.listeners.pop_back();
    rig.listeners[0].timeout.idle += 1ms;  // live settings change, the socket stays
    rig.publish();
  }
  over = true;
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(failed, 0);
  EXPECT_GT(answered, 0);
}

TEST(Listeners, OneThatIsGoneRefusesAndEndsIdleConnections) {
  Replica a(http_replica("a"));
  Rig rig(2);
  rig.add_listener("web", "web");
  rig.set_pool("web", {a.port()});
  rig.publish();
  const std::uint16_t port = rig.port();
  Wire idle = rig.client();
  idle.send(plain_get);
  ASSERT_TRUE(read_message(idle));
  rig.listeners.clear();
  rig.publish();
  EXPECT_EQ(idle.rest(), "");
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (Wire::to(port).open() && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  EXPECT_FALSE(Wire::to(port).open());
}

TEST(Listeners, OneMovesToAnotherAppWithoutClosing) {
  Replica a(http_replica("a"));
  Replica b(http_replica("b"));
  Rig rig;
  rig.add_listener("web", "one");
  rig.set_pool("one", {a.port()});
  rig.set_pool("two", {b.port()});
  rig.publish();
  Wire client = rig.client();
  client.send(plain_get);
  EXPECT_EQ(read_message(client)->body, "a");
  rig.listeners[0].app = "two";
  rig.publish();
  client.send(plain_get);
  EXPECT_EQ(read_message(client)->body, "b") << "the same connection";
}

TEST(Listeners, OneMovesToTheWildcardWithItsPort) {
  Replica a(http_replica("a"));
  Rig rig(2);
  rig.add_listener("web", "web");
  rig.set_pool("web", {a.port()});
  rig.publish();
  rig.listeners[0].bind[0].host = "0.0.0.0";
  rig.listeners[0].bind[0].text = "0.0.0.0:" + std::to_string(rig.port());
  rig.publish();
  EXPECT_TRUE(rig.get());
}

TEST(Listeners, AUnixSocketReplacesAStaleFileAndTakesItsOwnAway) {
  const std::string path = testing::TempDir() + "lb-" + std::to_string(::getpid()) + ".sock";
  std::filesystem::remove(path);
  Replica a(http_replica("a"));
  for (int i = 0; i < 2; ++i) {
    Rig rig(2);
    auto& bind = rig.add_listener("web", "web").bind[0];
    bind = special(spec::BindAddress::Kind::unix_path, "unix:" + path, path);
    rig.set_pool("web", {a.port()});
    rig.publish();
    struct stat info {};
    ASSERT_EQ(::stat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777U, 0660U);
    Wire client = Wire::to_unix(path);
    client.send(plain_get);
    const auto answer = read_message(client);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->body, "a");
    Rig second;
    second.listeners = rig.listeners;
    EXPECT_FALSE(second.prepare_only().ok()) << "it is in use";
    rig.balancer.reset();
    EXPECT_FALSE(std::filesystem::exists(path));
    const Fd stale(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));  // what a killed owner leaves
    sockaddr_un where{};
    where.sun_family = AF_UNIX;
    path.copy(where.sun_path, path.size());
    ASSERT_EQ(::bind(stale.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where), 0);
  }
  std::filesystem::remove(path);
}

TEST(Listeners, ASocketOfTheServiceManagerIsUsed) {
  const Fd passed(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof where;
  ASSERT_EQ(::bind(passed.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where), 0);
  ASSERT_EQ(::listen(passed.get(), 16), 0);
  ::getsockname(passed.get(), reinterpret_cast<sockaddr*>(&where), &length);
  Replica a(http_replica("a"));
  Rig rig(2, {{"front", passed.get()}});
  rig.add_listener("web", "web").bind[0] =
      special(spec::BindAddress::Kind::systemd, "systemd:front", "front");
  rig.set_pool("web", {a.port()});
  rig.publish();
  Wire client = Wire::to(ntohs(where.sin_port));
  client.send(plain_get);
  EXPECT_TRUE(read_message(client));
  rig.listeners[0].bind[0] = special(spec::BindAddress::Kind::systemd, "systemd:back", "back");
  EXPECT_FALSE(rig.prepare_only().ok());
}

TEST(Limits, AcceptPausesWithoutDescriptors) {
  Replica a(http_replica("a"));
  Rig rig;
  rig.add_listener("web", "web");
  rig.set_pool("web", {a.port()});
  rig.publish();
  ASSERT_TRUE(rig.get());
  std::vector<Wire> clients;
  for (int i = 0; i < 8; ++i) clients.push_back(Wire::socket_only());
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const Fd next(::dup(clients[0].fd()));
  rlimit low = limit;
  low.rlim_cur = static_cast<rlim_t>(next.get());  // no further descriptor can be had
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  for (Wire& client : clients) {
    client.connect(rig.port());
    client.send(plain_get);
  }
  rig.balancer->ping(1);
  EXPECT_TRUE(rig.wait_pong(1)) << "the thread goes on";
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  for (Wire& client : clients) EXPECT_TRUE(read_message(client));
}

TEST(Limits, FiveThousandIdleConnectionsHoldNoBuffer) {
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  if (limit.rlim_max < 12000) GTEST_SKIP() << "the hard limit of open files is " << limit.rlim_max;
  rlimit high = limit;
  high.rlim_cur = 12000;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &high), 0);
  Replica a(http_replica("a"));
  Rig rig;
  rig.add_listener("web", "web");
  rig.set_pool("web", {a.port()});
  rig.publish();
  std::vector<Wire> clients;
  const auto open = [&](int count) {
    for (int i = 0; i < count; ++i) {
      clients.push_back(rig.client());
      clients.back().send(plain_get);
      if (!read_message(clients.back())) return false;
    }
    return true;
  };
  ASSERT_TRUE(open(500));  // what is made once is made
  const std::size_t before = heap_bytes();
  ASSERT_TRUE(open(5000));
  const std::size_t each = (heap_bytes() - before) / 5000;
  RecordProperty("bytes_per_connection", static_cast<int>(each));
  EXPECT_LT(each, 3000U);
  for (Wire& client : clients) {
    client.send(plain_get);
    ASSERT_TRUE(read_message(client));
  }
  clients.clear();
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

TEST(Stop, LetsWhatIsInFlightFinish) {
  std::atomic<bool> answer{false};
  Replica slow([&](Wire& wire) {
    if (!read_message(wire)) return;
    while (!answer) std::this_thread::yield();
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast");
  });
  Rig rig(2);
  rig.add_listener("web", "web");
  rig.set_pool("web", {slow.port()});
  rig.publish();
  Wire idle = rig.client();
  Wire client = rig.client();
  client.send(plain_get);
  ASSERT_TRUE(rig.wait_in_flight(InstanceId{slow.port()}, 1));
  std::thread stopper([&] { rig.balancer->stop(Millis(patience)); });
  EXPECT_EQ(idle.rest(), "") << "idle ones are closed at once";
  answer = true;
  const auto last = read_message(client);
  stopper.join();
  ASSERT_TRUE(last);
  EXPECT_EQ(last->body, "last");
  EXPECT_EQ(last->field("connection"), "close");
}

TEST(Stop, ClosesEverythingAfterTheGrace) {
  Replica mute([](Wire& wire) { wire.rest(); });
  Rig rig(2);
  rig.add_listener("web", "web");
  rig.add_listener("db", "db", spec::ListenMode::tcp);
  rig.add_listener("empty", "nobody");
  rig.set_pool("web", {mute.port()});
  rig.set_pool("db", {mute.port()});
  rig.publish();
  Wire http = rig.client(0);
  http.send(plain_get);
  Wire tcp = rig.client(1);
  Wire queued = rig.client(2);
  queued.send(plain_get);
  ASSERT_TRUE(rig.wait_in_flight(InstanceId{mute.port()}, 2));
  ASSERT_TRUE(rig.wait_requests(2, 1));
  rig.balancer->stop(50ms);
  EXPECT_TRUE(http.at_end());
  EXPECT_TRUE(tcp.at_end());
  EXPECT_TRUE(queued.at_end());
}

TEST(Ping, ComesBackThroughEveryThread) {
  Rig rig(3);
  for (std::uint64_t token = 1; token <= 100; ++token) rig.balancer->ping(token);
  EXPECT_TRUE(rig.wait_pong(100));
}

}  // namespace
}  // namespace muster::lb::test
