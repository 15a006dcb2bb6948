// Replicas that fail: what is tried again, where, and what never is.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "rig.h"

namespace muster::lb::test {
namespace {

using namespace std::chrono_literals;

const std::string plain_get = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

std::string request(const std::string& method, const std::string& body = "") {
  return method + " / HTTP/1.1\r\nHost: h\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
         body;
}

std::optional<Message> ask(const Rig& rig, const std::string& bytes) {
  Wire client = rig.client();
  client.send(bytes);
  return read_message(client);
}

// Counts the requests that it reads to their end, and gives each connection up without an answer.
struct Dropper {
  std::atomic<int> whole{0};
  Replica replica;
  explicit Dropper(bool by_reset = false)
      : replica([this, by_reset](Wire& wire) {
          if (read_message(wire)) ++whole;
          if (by_reset) wire.reset();
        }) {}
};

TEST(Retry, ARefusedConnectGoesToAnotherReplica) {
  Replica good(http_replica("good"));
  Rig rig;
  rig.add_listener("web", "web");
  const std::uint16_t dead = free_port();
  rig.set_pool("web", {dead, good.port()});
  rig.publish();
  for (int i = 0; i < 10; ++i) {
    const auto answer = ask(rig, request("POST", "body"));
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->body, "good") << "no byte was sent, so any method may be tried again";
  }
  EXPECT_TRUE(rig.wait_failure(InstanceId{dead}));
}

// As if none was ready: a refusal is no try, however few of them there may be.
TEST(Retry, WhileAllRefuseTheRequestWaits) {
  Replica good(http_replica("good"));
  Rig rig;
  rig.add_listener("web", "web").retries = 0;
  const std::uint16_t dead = free_port();
  rig.set_pool("web", {dead});
  rig.publish();
  Wire client = rig.client();
  client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_TRUE(rig.wait_failure(InstanceId{dead}));
  rig.set_pool("web", {dead, good.port()});
  rig.publish();
  const auto answer = read_message(client);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->body, "good");
}

TEST(Retry, AllRefusedIs502AfterTheQueuesTime) {
  Rig rig;
  rig.add_listener("web", "web").queue_timeout = std::chrono::milliseconds(50);
  rig.set_pool("web", {free_port(), free_port()});
  rig.publish();
  const auto answer = rig.get();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status(), 502);
}

TEST(Retry, AnIdempotentRequestIsSentAgainWithItsBody) {
  for (const bool by_reset : {false, true}) {
    Dropper dropper(by_reset);
    Replica good([](Wire& wire) {
      while (const auto got = read_message(wire)) {
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(got->body.size()) + "\r\n\r\n" +
                  got->body);
      }
    });
    Rig rig;
    rig.add_listener("web", "web");
    rig.set_pool("web", {dropper.replica.port(), good.port()});
    rig.publish();
    const std::string body(50000, 'b');
    for (int i = 0; i < 6; ++i) {
      const auto answer = ask(rig, request("PUT", body));
      ASSERT_TRUE(answer);
      EXPECT_EQ(answer->status(), 200);
      EXPECT_EQ(answer->body.size(), body.size());
    }
    EXPECT_GE(dropper.whole, 1) << "it was asked";
  }
}

TEST(Retry, APostIsNeverSentTwice) {
  Dropper a;
  Dropper b;
  Rig rig;
  rig.add_listener("web", "web");
  rig.set_pool("web", {a.replica.port(), b.replica.port()});
  rig.publish();
  for (int i = 1; i <= 4; ++i) {
    const auto answer = ask(rig, request("POST", "once"));
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->status(), 502);
    EXPECT_EQ(a.whole + b.whole, i);
  }
}

TEST(Retry, ABodyBeyondTheReplayBufferIsNotSentTwice) {
  Dropper a;
  Dropper b;
  Rig rig;
  rig.add_listener("web", "web");
  rig.set_pool("web", {a.replica.port(), b.replica.port()});
  rig.publish();
  const auto answer = ask(rig, request("PUT", std::string(300000, 'x')));
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status(), 502);
  EXPECT_EQ(a.whole + b.whole, 1);
}

TEST(Retry, TriesAreLimited) {
  Dropper a;
  Dropper b;
  Dropper c;
  Dropper d;
  Rig rig;
  rig.add_listener("web", "web").retries = 1;
  rig.set_pool("web", {a.replica.port(), b.replica.port(), c.replica.port(), d.replica.port()});
  rig.publish();
  const auto answer = ask(rig, plain_get);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status(), 502);
  EXPECT_EQ(a.whole + b.whole + c.whole + d.whole, 2);
}

// Half a head was passed to nobody, so the request may be asked again.
TEST(Retry, HalfAHeadIsNoAnswer) {
  Replica half([](Wire& wire) {
    if (read_message(wire)) wire.send("HTTP/1.1 200 OK\r\nContent-Le");
  });
  Replica good(http_replica("good"));
  Rig rig;
  rig.add_listener("web", "web");
  rig.set_pool("web", {half.port(), good.port()});
  rig.publish();
  for (int i = 0; i < 4; ++i) {
    const auto answer = ask(rig, plain_get);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->body, "good");
  }
}

TEST(Retry, AnAnswerThatHasBegunIsNotReplaced) {
  Replica cut([](Wire& wire) {
    if (read_message(wire)) wire.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
  });
  Rig rig;
  rig.add_listener("web", "web");
  rig.set_pool("web", {cut.port(), cut.port()});
  rig.publish();
  EXPECT_FALSE(ask(rig, plain_get));
  EXPECT_EQ(cut.connections(), 1);
}

// The replica closes each connection behind its second answer, at the very moment that the next request is on its way.
TEST(Retry, AStaleConnectionCostsNothing) {
  std::atomic<int> answered{0};
  Replica closing([&](Wire& wire) {
    for (int i = 0; i < 2 && read_message(wire); ++i) {
      ++answered;
      wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    }
  });
  Rig rig;
  rig.add_listener("web", "web").retries = 0;
  rig.set_pool("web", {closing.port()});
  rig.publish();
  Wire client = rig.client();
  for (int i = 0; i < 300; ++i) {
    client.send(plain_get);
    const auto answer = read_message(client);
    ASSERT_TRUE(answer);
    ASSERT_EQ(answer->status(), 200) << i;
  }
  EXPECT_EQ(answered, 300);
}

// A replica that closes after 300 ms of idleness, under POSTs that come after 200 ms and more: with keepalive = 100 ms
// none ever meets a closed connection.
TEST(Retry, APostNeverRidesAnOldConnection) {
  Replica replica([](Wire& wire) {
    if (read_message(wire)) wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    wire.some();  // takes the next request on this connection without an answer
  });
  Rig rig;
  rig.add_listener("web", "web").timeout.keepalive = 100ms;
  rig.set_pool("web", {replica.port()});
  rig.publish();
  Wire client = rig.client();
  for (int i = 1; i <= 3; ++i) {
    client.send(request("POST", "x"));
    const auto answer = read_message(client);
    ASSERT_TRUE(answer);
    ASSERT_EQ(answer->status(), 200);
    ASSERT_EQ(replica.connections(), i);
    ASSERT_TRUE(replica.wait_open(0));  // the balancer has closed it for its age
  }
}

// Its age counts from its last request, however often it was used before.
TEST(Retry, AConnectionThatWasUsedAgainIsClosedForItsAge) {
  Replica replica(http_replica("ok"));
  Rig rig;
  rig.add_listener("web", "web").timeout.keepalive = 200ms;
  rig.set_pool("web", {replica.port()});
  rig.publish();
  Wire client = rig.client();
  for (int i = 0; i < 5; ++i) {
    client.send(request("GET"));
    const auto answer = read_message(client);
    ASSERT_TRUE(answer);
    ASSERT_EQ(answer->status(), 200);
  }
  EXPECT_TRUE(replica.wait_open(0));
}

// The promise under load: 4 replicas, one is killed; no GET fails.
TEST(Retry, AKilledReplicaFailsNoGet) {
  std::vector<std::unique_ptr<Replica>> replicas;
  Rig rig(2);
  rig.add_listener("web", "web");
  std::vector<std::uint16_t> ports;
  for (int i = 0; i < 4; ++i) {
    replicas.push_back(std::make_unique<Replica>(http_replica("ok")));
    ports.push_back(replicas.back()->port());
  }
  rig.set_pool("web", ports);
  rig.publish();
  std::atomic<int> failed{0};
  std::atomic<int> answered{0};
  std::atomic<bool> over{false};
  std::vector<std::thread> clients;
  for (int c = 0; c < 8; ++c) {
    clients.emplace_back([&, keeps = c % 2 == 0] {
      Wire client = rig.client();
      while (!over) {
        if (!keeps) client = rig.client();
        client.send(plain_get);
        const auto answer = read_message(client);
        ++(answer && answer->status() == 200 ? answered : failed);
        if (!answer) client = rig.client();
      }
    });
  }
  const auto until = [&](int count) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (answered < count && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  };
  until(200);
  replicas[1]->kill();
  until(answered + 400);  // it is still in rotation
  ports.erase(ports.begin() + 1);
  rig.set_pool("web", ports);
  rig.publish();
  until(answered + 200);
  over = true;
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(failed, 0);
  EXPECT_GE(answered, 800);
}

TEST(Queue, HoldsRequestsUntilAReplicaIsReady) {
  Replica late(http_replica("late"));
  Rig rig(2);
  rig.add_listener("web", "web");
  rig.set_pool("web", {});
  rig.publish();
  std::vector<Wire> clients;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(rig.client());
    clients.back().send(plain_get);
  }
  ASSERT_TRUE(rig.wait_requests(0, 20));
  rig.set_pool("web", {late.port()});
  rig.publish();
  for (Wire& client : clients) {
    const auto answer = read_message(client);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->body, "late");
  }
}

TEST(Queue, EndsWith503AndRetryAfter) {
  Rig rig;
  rig.add_listener("web", "web").queue_timeout = 100ms;
  rig.set_pool("web", {});
  rig.publish();
  Wire client = rig.client();
  client.send(plain_get);
  const auto answer = read_message(client);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status(), 503);
  EXPECT_EQ(answer->field("retry-after"), "1");
  EXPECT_EQ(answer->field("connection"), "");
  client.send(plain_get);
  EXPECT_TRUE(read_message(client)) << "the connection goes on";
}

TEST(Queue, IsFullAtItsSize) {
  Rig rig;
  auto& listener = rig.add_listener("web", "web");
  listener.queue_size = 2;
  rig.publish();  // not even a pool for the app
  Wire first = rig.client();
  Wire second = rig.client();
  first.send(plain_get);
  second.send(plain_get);
  ASSERT_TRUE(rig.wait_requests(0, 2));
  const auto refused = rig.get();  // at once, not after the queue's time
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->status(), 503);
  Replica late(http_replica("late"));
  rig.set_pool("web", {late.port()});
  rig.publish();
  EXPECT_TRUE(read_message(first));
  EXPECT_TRUE(read_message(second));
}

}  // namespace
}  // namespace muster::lb::test
