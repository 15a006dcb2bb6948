// `max_in_flight`: no replica ever has more than it may have, and whoever waits for one is served in turn.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "http_pair.h"

namespace muster::lb::test {
namespace {

using namespace std::chrono_literals;

// Holds each request until it is let go, and says how many it had at once at most.
class Gate {
 public:
  Replica::Serve serve() {
    return [this](Wire& wire) {
      while (const auto request = read_message(wire)) {
        {
          std::unique_lock lock(mutex_);
          most_ = std::max(most_, ++held_);
          ++seen_;
          changed_.notify_all();
          EXPECT_TRUE(changed_.wait_for(lock, patience, [this] { return tickets_ > 0; }));
          --tickets_;
          --held_;
        }
        const std::string target = request->head.substr(4, request->head.find(' ', 4) - 4);
        if (!wire.send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(target.size()) + "\r\n\r\n" +
                       target))
          return;
      }
    };
  }
  void let_go(int count) {
    const std::lock_guard lock(mutex_);
    tickets_ += count;
    changed_.notify_all();
  }
  bool wait_seen(int count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, patience, [&] { return seen_ >= count; });
  }
  int seen() {
    const std::lock_guard lock(mutex_);
    return seen_;
  }
  int most() {
    const std::lock_guard lock(mutex_);
    return most_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int held_ = 0;
  int most_ = 0;
  int seen_ = 0;
  int tickets_ = 0;
};

bool wait_queued(const Rig& rig, std::uint64_t count) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (rig.balancer->stats().listeners[0].queued < count) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

struct GatedRig : Rig {
  explicit GatedRig(int threads, int max) : Rig(threads) {
    add_listener("web", "web").max_in_flight = max;
    set_pool("web", {replica.port()});
  }
  Wire asks(const std::string& target) const {
    Wire wire = client();
    wire.send("GET " + target + " HTTP/1.1\r\nHost: test\r\n\r\n");
    return wire;
  }
  Gate gate;
  Replica replica{gate.serve()};
};

std::string answer_of(Wire& wire) {
  const auto answer = read_message(wire);
  return answer ? answer->body : "no answer";
}

TEST(MaxInFlight, TheNextWaitsForAnAnswerAndInTurn) {
  GatedRig rig(1, 1);
  rig.publish();
  std::vector<Wire> wires;
  for (const char* target : {"/0", "/1", "/2", "/3"}) {
    wires.push_back(rig.asks(target));
    ASSERT_TRUE(wires.size() == 1 ? rig.gate.wait_seen(1) : wait_queued(rig, wires.size() - 1));
  }
  EXPECT_EQ(rig.gate.seen(), 1);
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(rig.gate.wait_seen(i + 1));
    EXPECT_EQ(rig.gate.seen(), i + 1);
    rig.gate.let_go(1);
    EXPECT_EQ(answer_of(wires[static_cast<std::size_t>(i)]), "/" + std::to_string(i));
  }
  EXPECT_EQ(rig.gate.most(), 1);
}

TEST(MaxInFlight, HoldsOverAllThreadsAndNobodyIsForgotten) {
  Gate a;
  Gate b;
  Replica one(a.serve());
  Replica two(b.serve());
  Rig rig(4);
  rig.add_listener("web", "web").max_in_flight = 2;
  rig.set_pool("web", {one.port(), two.port()});
  rig.publish();
  a.let_go(10000);
  b.let_go(10000);
  std::atomic<int> served{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 16; ++i) {
    clients.emplace_back([&] {
      for (int round = 0; round < 5; ++round) {  // each on a thread by chance
        Wire wire = rig.client();
        for (int request = 0; request < 10; ++request) {
          wire.send(plain_get);
          const auto answer = read_message(wire);
          if (answer && answer->status() == 200) ++served;
        }
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(served, 16 * 50);
  EXPECT_LE(a.most(), 2);
  EXPECT_LE(b.most(), 2);
  EXPECT_TRUE(rig.wait_in_flight(InstanceId{one.port()}, 0));
}

TEST(MaxInFlight, WhoLeavesWhenItIsItsTurnHoldsUpNobody) {
  Gate gate;
  Replica replica(gate.serve());
  Rig rig(4);
  rig.add_listener("web", "web").max_in_flight = 1;
  rig.set_pool("web", {replica.port()});
  rig.publish();
  gate.let_go(100000);
  std::atomic<int> served{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 12; ++i) {
    clients.emplace_back([&, leaves = i % 3 == 0] {
      for (int round = 0; round < 50; ++round) {
        Wire wire = rig.client();
        wire.send(plain_get);
        if (leaves) continue;
        if (read_message(wire)) ++served;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(served, 8 * 50);
  EXPECT_EQ(gate.most(), 1);
  EXPECT_TRUE(rig.wait_in_flight(InstanceId{replica.port()}, 0));
  EXPECT_TRUE(rig.get());
}

TEST(MaxInFlight, OneThatIsFreeIsTaken) {
  GatedRig rig(2, 1);
  Replica other(http_replica("other"));
  rig.publish();
  Wire held = rig.asks("/held");
  ASSERT_TRUE(rig.gate.wait_seen(1));
  rig.set_pool("web", {rig.replica.port(), other.port()});
  rig.publish();
  for (int i = 0; i < 6; ++i) EXPECT_EQ(rig.get()->body, "other");
  rig.gate.let_go(1);
  EXPECT_EQ(answer_of(held), "/held");
}

TEST(MaxInFlight, TheQueueIsBoundedInTimeAndRoom) {
  GatedRig rig(1, 1);
  rig.listeners[0].queue_timeout = 50ms;
  rig.publish();
  Wire held = rig.asks("/held");
  ASSERT_TRUE(rig.gate.wait_seen(1));
  const auto late = rig.get();
  ASSERT_TRUE(late);
  EXPECT_EQ(late->status(), 503);
  EXPECT_EQ(late->field("retry-after"), "1");
  EXPECT_EQ(late->body, "all replicas are busy\n");
  rig.listeners[0].queue_timeout = patience;
  rig.listeners[0].queue_size = 0;
  rig.publish();
  EXPECT_EQ(rig.get()->status(), 503);
  rig.gate.let_go(1);
  EXPECT_EQ(answer_of(held), "/held");
  EXPECT_EQ(rig.gate.seen(), 1);
}

TEST(MaxInFlight, IsLive) {
  GatedRig rig(2, 1);
  rig.publish();
  std::vector<Wire> wires;
  for (int i = 0; i < 4; ++i) wires.push_back(rig.asks("/"));
  ASSERT_TRUE(wait_queued(rig, 3));
  rig.listeners[0].max_in_flight = 3;
  rig.publish();
  ASSERT_TRUE(rig.gate.wait_seen(3));
  EXPECT_TRUE(rig.wait_in_flight(InstanceId{rig.replica.port()}, 3));
  rig.listeners[0].max_in_flight = std::nullopt;
  rig.publish();
  ASSERT_TRUE(rig.gate.wait_seen(4));
  rig.gate.let_go(4);
  for (Wire& wire : wires) EXPECT_EQ(answer_of(wire), "/");
}

TEST(MaxInFlight, ALimitThatComesWhileRequestsAreInFlight) {
  GatedRig rig(2, 1);
  rig.listeners[0].max_in_flight = std::nullopt;
  rig.publish();
  std::vector<Wire> wires;
  for (int i = 0; i < 3; ++i) wires.push_back(rig.asks("/"));
  ASSERT_TRUE(rig.gate.wait_seen(3));
  rig.listeners[0].max_in_flight = 1;
  rig.publish();
  wires.push_back(rig.asks("/"));
  ASSERT_TRUE(wait_queued(rig, 1));
  rig.gate.let_go(4);
  for (Wire& wire : wires) EXPECT_EQ(answer_of(wire), "/");
}

TEST(MaxInFlight, CountsConnectionsOfStreams) {
  Replica replica([](Wire& wire) {
    wire.send("a");
    wire.until("bye");
  });
  Rig rig(2);
  rig.add_listener("db", "db", spec::ListenMode::tcp).max_in_flight = 1;
  rig.set_pool("db", {replica.port()});
  rig.publish();
  Wire one = rig.client();
  EXPECT_EQ(one.exactly(1), "a");
  Wire two = rig.client();
  ASSERT_TRUE(wait_queued(rig, 1));
  Wire three = rig.client();
  ASSERT_TRUE(wait_queued(rig, 2));
  EXPECT_EQ(replica.connections(), 1);
  two.half_close();  // that is no going away of a stream
  one.close();
  EXPECT_EQ(two.exactly(1), "a");
  two.close();
  EXPECT_EQ(three.exactly(1), "a");
  three.send("bye");
}

// The ends of the lines of an access log, in any order: "status end".
std::vector<std::string> ends_of(Rig& rig, std::size_t count) {
  EXPECT_TRUE(rig.wait_access_flush());
  std::vector<std::string> ends;
  for (const std::string& line : rig.access_lines(count)) {
    const std::size_t status = line.find("\"status\":") + 9;
    const std::size_t end = line.find("\"end\":\"") + 7;
    ends.push_back(line.substr(status, line.find(',', status) - status) + " " +
                   line.substr(end, line.find('"', end) - end));
  }
  return ends;
}

bool wait_connections(const Rig& rig, std::uint64_t count) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (rig.balancer->stats().listeners[0].connections != count) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

TEST(Leaving, NoReplicaSeesARequestWhoseClientWentAwayInTheQueue) {
  for (const bool by_reset : {false, true}) {
    GatedRig rig(2, 1);
    rig.listeners[0].access_log = spec::AccessLogFormat::json;
    rig.publish();
    Wire held = rig.asks("/held");
    ASSERT_TRUE(rig.gate.wait_seen(1));
    Wire leaves = rig.asks("/leaves");
    ASSERT_TRUE(wait_queued(rig, 1));
    Wire stays = rig.asks("/stays");
    ASSERT_TRUE(wait_queued(rig, 2));
    if (by_reset) {
      leaves.reset();
    } else {
      leaves.close();
    }
    ASSERT_TRUE(wait_connections(rig, 2)) << "at once, not when it is its turn";
    EXPECT_EQ(ends_of(rig, 1), std::vector<std::string>{"499 client_closed"});
    rig.gate.let_go(2);
    EXPECT_EQ(answer_of(held), "/held");
    EXPECT_EQ(answer_of(stays), "/stays");
    EXPECT_EQ(rig.gate.seen(), 2);
  }
}

TEST(Leaving, WhileNoReplicaIsReady) {
  Replica replica(http_replica("ok"));
  Rig rig(2);
  rig.add_listener("web", "web").access_log = spec::AccessLogFormat::json;
  rig.set_pool("web", {});
  rig.publish();
  Wire leaves = rig.client();
  leaves.send(plain_get);
  Wire stays = rig.client();
  stays.send(plain_get + plain_get);  // a second request that waits behind it is no going away
  ASSERT_TRUE(wait_queued(rig, 2));
  leaves.close();
  ASSERT_TRUE(wait_connections(rig, 1));
  stays.send(plain_get);
  rig.set_pool("web", {replica.port()});
  rig.publish();
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(read_message(stays)) << i;
  EXPECT_EQ(replica.connections(), 1);
  EXPECT_EQ(std::ranges::count(ends_of(rig, 4), "499 client_closed"), 1);
}

TEST(Leaving, AStreamThatIsReset) {
  Rig rig;
  rig.add_listener("db", "db", spec::ListenMode::tcp);
  rig.set_pool("db", {});
  rig.publish();
  Wire leaves = rig.client();
  Wire stays = rig.client();
  ASSERT_TRUE(wait_queued(rig, 2));
  stays.half_close();
  leaves.reset();
  ASSERT_TRUE(wait_connections(rig, 1));
  Replica replica([](Wire& wire) { wire.send("here"); });
  rig.set_pool("db", {replica.port()});
  rig.publish();
  EXPECT_EQ(stays.rest(), "here");
  EXPECT_EQ(replica.connections(), 1);
}

}  // namespace
}  // namespace muster::lb::test
