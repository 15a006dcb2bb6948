// TCP through the balancer: one replica per connection.
#include <gtest/gtest.h>

#include <map>
#include <thread>

#include "rig.h"

namespace muster::lb::test {
namespace {

using namespace std::chrono_literals;

// Says its name, then echoes until the client has ended its side, then says "bye".
Replica::Serve talker(const std::string& name) {
  return [name](Wire& wire) {
    wire.send(name);
    while (const auto piece = wire.some()) {
      if (piece->empty()) break;
      if (!wire.send(*piece)) return;
    }
    wire.send("bye");
  };
}

struct TcpRig : Rig {
  explicit TcpRig(int threads = 1) : Rig(threads) { add_listener("db", "db", spec::ListenMode::tcp); }
};

TEST(Tcp, EachConnectionGoesToTheNextReplica) {
  Replica a(talker("a"));
  Replica b(talker("b"));
  Replica c(talker("c"));
  TcpRig rig(2);
  rig.set_pool("db", {a.port(), b.port(), c.port()});
  rig.publish();
  std::map<std::string, int> counts;
  for (int i = 0; i < 30; ++i) {
    Wire client = rig.client();
    const auto name = client.exactly(1);
    ASSERT_TRUE(name);
    ++counts[*name];
  }
  EXPECT_EQ(counts["a"], 10);
  EXPECT_EQ(counts["b"], 10);
  EXPECT_EQ(counts["c"], 10);
}

TEST(Tcp, AHalfCloseIsPassedOnAndTheOtherDirectionGoesOn) {
  Replica a(talker("a"));
  TcpRig rig;
  rig.set_pool("db", {a.port()});
  rig.publish();
  Wire client = rig.client();
  client.send("hello");
  client.half_close();
  EXPECT_EQ(client.rest(), "ahellobye");
  EXPECT_TRUE(rig.wait_in_flight(InstanceId{a.port()}, 0));
}

TEST(Tcp, TheReplicasEndIsPassedOn) {
  Replica a([](Wire& wire) {
    wire.send("done");
    wire.half_close();
    wire.until("client is done");
  });
  TcpRig rig;
  rig.set_pool("db", {a.port()});
  rig.publish();
  Wire client = rig.client();
  EXPECT_EQ(client.rest(), "done");
  EXPECT_TRUE(client.send("client is done"));
  client.half_close();
  EXPECT_TRUE(rig.wait_in_flight(InstanceId{a.port()}, 0));
}

TEST(Tcp, AResetIsPassedOnAsAReset) {
  Replica a([](Wire& wire) {
    wire.send("a");
    wire.some(1);
    wire.reset();
  });
  TcpRig rig;
  rig.set_pool("db", {a.port()});
  rig.publish();
  Wire client = rig.client();
  EXPECT_EQ(client.exactly(1), "a");
  client.send("x");
  EXPECT_FALSE(client.rest());
}

TEST(Tcp, CarriesMuchBothWays) {
  Replica a(talker(""));
  TcpRig rig;
  rig.set_pool("db", {a.port()});
  rig.publish();
  Wire client = rig.client();
  std::string bytes(20'000'000, '\0');
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 2654435761U >> 11U);
  std::thread sender([&] {
    client.send(bytes);
    client.half_close();
  });
  Wire& reader = client;
  const auto back = reader.rest();
  sender.join();
  ASSERT_TRUE(back);
  EXPECT_TRUE(*back == bytes + "bye");
}

// More than a read takes at once, again and again: it goes through a pipe.
std::string bulk(std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 2654435761U >> 13U);
  return bytes;
}

TEST(Tcp, BulkIsWholeBehindAReaderThatDawdles) {
  const std::string bytes = bulk(24'000'000);
  Replica a([&bytes](Wire& wire) {
    wire.send(bytes);
    wire.send("bye");
  });
  TcpRig rig;
  rig.set_pool("db", {a.port()});
  rig.publish();
  Wire client = rig.client();
  std::string got;
  for (int i = 0; i < 2000; ++i) got += client.some(i % 2 == 0 ? 7 : 3000).value_or("");
  for (;;) {
    const auto piece = client.some();
    ASSERT_TRUE(piece) << "after " << got.size();
    if (piece->empty()) break;
    got += *piece;
  }
  EXPECT_TRUE(got == bytes + "bye") << got.size();
  client.close();
  EXPECT_TRUE(rig.wait_in_flight(InstanceId{a.port()}, 0));
  EXPECT_EQ(rig.balancer->stats().instances.at(0).bytes_from, bytes.size() + 3);
}

TEST(Tcp, AResetInTheMiddleOfBulkIsPassedOn) {
  const std::string bytes = bulk(16'000'000);
  Replica a([&bytes](Wire& wire) {
    wire.send(bytes);
    wire.reset();
  });
  TcpRig rig;
  rig.set_pool("db", {a.port()});
  rig.publish();
  Wire client = rig.client();
  std::string got;
  std::optional<std::string> piece;
  while ((piece = client.some()) && !piece->empty()) got += *piece;
  EXPECT_FALSE(piece) << "an end that looks whole after " << got.size();
  EXPECT_TRUE(bytes.starts_with(got));
  EXPECT_TRUE(rig.wait_in_flight(InstanceId{a.port()}, 0));
}

TEST(Tcp, ABulkUploadEndsWhenTheClientIsReset) {
  Replica a([](Wire& wire) {
    while (const auto piece = wire.some()) {
      if (piece->empty()) break;
    }
  });
  TcpRig rig;
  rig.set_pool("db", {a.port()});
  rig.publish();
  Wire client = rig.client();
  EXPECT_TRUE(client.send(bulk(8'000'000)));
  client.reset();
  EXPECT_TRUE(rig.wait_in_flight(InstanceId{a.port()}, 0));
}

TEST(Tcp, ARefusedConnectGoesToAnotherReplica) {
  Replica a(talker("a"));
  TcpRig rig;
  rig.set_pool("db", {free_port(), a.port()});
  rig.publish();
  for (int i = 0; i < 6; ++i) EXPECT_EQ(rig.client().exactly(1), "a");
}

TEST(Tcp, WithoutAReplicaItWaitsThenResets) {
  TcpRig rig;
  rig.listeners[0].queue_timeout = 100ms;
  rig.set_pool("db", {});
  rig.publish();
  Wire client = rig.client();
  EXPECT_FALSE(client.rest()) << "RST";
  rig.listeners[0].queue_timeout = patience;
  rig.publish();
  Wire waiting = rig.client();
  ASSERT_TRUE(rig.wait_requests(0, 2));
  Replica late(talker("late"));
  rig.set_pool("db", {late.port()});
  rig.publish();
  EXPECT_EQ(waiting.exactly(4), "late");
}

TEST(Tcp, AnIdleTunnelEnds) {
  Replica a(talker("a"));
  TcpRig rig;
  rig.listeners[0].timeout.tunnel = 100ms;
  rig.set_pool("db", {a.port()});
  rig.publish();
  Wire client = rig.client();
  EXPECT_EQ(client.exactly(1), "a");
  EXPECT_FALSE(client.rest());
}

TEST(Tcp, AConnectionOutlivesAReload) {
  Replica a(talker("a"));
  Replica b(talker("b"));
  TcpRig rig;
  rig.set_pool("db", {a.port()});
  rig.publish();
  Wire client = rig.client();
  EXPECT_EQ(client.exactly(1), "a");
  rig.set_pool("db", {b.port()});
  rig.publish();
  rig.balancer->watch_idle(InstanceId{a.port()});
  client.send("still here");
  EXPECT_EQ(client.exactly(10), "still here");
  EXPECT_FALSE(rig.is_idle(InstanceId{a.port()}));
  client.half_close();
  EXPECT_EQ(client.rest(), "bye");
  EXPECT_TRUE(rig.wait_idle(InstanceId{a.port()}));
}

}  // namespace
}  // namespace muster::lb::test
