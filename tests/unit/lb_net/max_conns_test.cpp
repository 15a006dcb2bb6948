// `max_conns`: what does not fit waits in the backlog, and nobody in it is forgotten.
#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <thread>
#include <vector>

#include "http_pair.h"
#include "support/temp_folder.h"

namespace muster::lb::test {
namespace {

using namespace std::chrono_literals;

struct LimitedRig : Rig {
  explicit LimitedRig(int threads, int max, spec::ListenMode mode = spec::ListenMode::http) : Rig(threads) {
    add_listener("web", "web", mode).max_conns = max;
    set_pool("web", {replica.port()});
  }
  Replica replica{http_replica("ok")};

  [[nodiscard]] std::uint64_t connections() const { return balancer->stats().listeners[0].connections; }
  bool wait_connections(std::uint64_t count) const {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (connections() != count) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::yield();
    }
    return true;
  }
  // A client with a request that was answered.
  Wire served() const {
    Wire wire = client();
    wire.send(plain_get);
    EXPECT_TRUE(read_message(wire));
    return wire;
  }
  // Whatever the threads could have done by now is done.
  void let_work() {
    for (int round = 0; round < 3; ++round) {
      balancer->ping(++token_);
      EXPECT_TRUE(wait_pong(token_));
    }
  }

 private:
  std::uint64_t token_ = 0;
};

bool has_answer(const Wire& wire) {
  pollfd about{.fd = wire.fd(), .events = POLLIN, .revents = 0};
  return ::poll(&about, 1, 0) > 0;
}

TEST(MaxConns, TheNextIsServedWhenOneCloses) {
  for (const int threads : {1, 3}) {
    LimitedRig rig(threads, 2);
    rig.publish();
    Wire one = rig.served();
    Wire two = rig.served();
    Wire three = rig.client();
    Wire four = rig.client();
    three.send(plain_get);
    four.send(plain_get);
    rig.let_work();
    EXPECT_EQ(rig.connections(), 2U);
    EXPECT_FALSE(has_answer(three));
    EXPECT_FALSE(has_answer(four));
    one.send(plain_get);
    EXPECT_TRUE(read_message(one)) << "those that are there go on";
    one.close();
    two.close();
    EXPECT_TRUE(read_message(three));
    EXPECT_TRUE(read_message(four));
  }
}

TEST(MaxConns, NobodyIsForgottenAndNoneIsTooMany) {
  constexpr int max = 3;
  Replica replica([](Wire& wire) {
    while (const auto piece = wire.some()) {
      if (piece->empty() || !wire.send(*piece)) break;
    }
  });
  Rig rig(4);
  rig.add_listener("db", "db", spec::ListenMode::tcp).max_conns = max;
  rig.set_pool("db", {replica.port()});
  rig.publish();
  std::vector<std::thread> clients;
  std::atomic<int> served{0};
  std::atomic<int> holding{0};  // clients whose connection has a place for certain
  for (int i = 0; i < 12; ++i) {
    clients.emplace_back([&] {
      for (int round = 0; round < 25; ++round) {
        Wire wire = rig.client();
        if (!wire.send("x") || wire.exactly(1) != "x") return;
        EXPECT_LE(++holding, max);
        ++served;
        --holding;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(served, 12 * 25);
  EXPECT_TRUE(replica.wait_open(0));
}

TEST(MaxConns, OfASocketThatAllThreadsShare) {
  const testing_support::TempFolder folder;
  LimitedRig rig(3, 1);
  const std::string path = folder.path() + "/web";
  rig.listeners[0].bind[0] = {
      .text = "unix:" + path, .kind = spec::BindAddress::Kind::unix_path, .host = {}, .path = path};
  rig.publish();
  for (int round = 0; round < 20; ++round) {
    Wire one = Wire::to_unix(path);
    Wire two = Wire::to_unix(path);
    one.send(plain_get);
    two.send(plain_get);
    ASSERT_TRUE(read_message(one)) << round;
    one.close();
    ASSERT_TRUE(read_message(two)) << round;
  }
}

TEST(MaxConns, IsLiveInEachDirection) {
  LimitedRig rig(2, 1);
  rig.publish();
  Wire one = rig.served();
  Wire two = rig.client();
  Wire three = rig.client();
  two.send(plain_get);
  three.send(plain_get);
  rig.let_work();
  EXPECT_EQ(rig.connections(), 1U);
  rig.listeners[0].max_conns = 2;
  rig.publish();
  EXPECT_TRUE(rig.wait_connections(2));
  rig.listeners[0].max_conns = std::nullopt;
  rig.publish();
  EXPECT_TRUE(read_message(two));
  EXPECT_TRUE(read_message(three));
  rig.listeners[0].max_conns = 2;
  rig.publish();
  Wire four = rig.client();
  four.send(plain_get);
  rig.let_work();
  EXPECT_FALSE(has_answer(four)) << "three are open from before";
  one.close();
  EXPECT_TRUE(rig.wait_connections(2));
  rig.let_work();
  EXPECT_FALSE(has_answer(four));
  two.close();
  EXPECT_TRUE(read_message(four));
}

TEST(MaxConns, AStopDoesNotWaitForAPlace) {
  LimitedRig rig(2, 1);
  rig.publish();
  Wire one = rig.served();
  Wire two = rig.client();
  two.send(plain_get);
  rig.let_work();
  rig.balancer->stop(patience);
  EXPECT_TRUE(one.at_end());
  rig.balancer.reset();  // the listening sockets
  EXPECT_TRUE(two.at_end());
}

TEST(MaxConns, AnAddressThatMovesToAnotherListenerTakesItsLimit) {
  LimitedRig rig(2, 1);
  rig.publish();
  Wire one = rig.served();
  Wire two = rig.client();
  two.send(plain_get);
  rig.let_work();
  EXPECT_FALSE(has_answer(two));
  rig.listeners[0].name = "other";
  rig.publish();
  EXPECT_TRUE(read_message(two)) << "that has no connection yet";
}

}  // namespace
}  // namespace muster::lb::test
