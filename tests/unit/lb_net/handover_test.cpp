// One balancer gives up and another one takes over: nobody who is connected notices.
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <thread>

#include "http_pair.h"
#include "support/temp_folder.h"
#include "tls_client.h"

namespace muster::lb::test {
namespace {

using namespace std::chrono_literals;

// Says what it gets, until the client has ended its side; then says "bye".
void parrot(Wire& wire) {
  while (const auto piece = wire.some()) {
    if (piece->empty()) break;
    if (!wire.send(*piece)) return;
  }
  wire.send("bye");
}

struct TcpPair {
  explicit TcpPair(const Replica::Serve& serve, int threads = 1) : replica(serve), rig(threads) {
    rig.add_listener("db", "db", spec::ListenMode::tcp);
    rig.set_pool("db", {replica.port()});
    rig.publish();
  }
  Replica replica;
  Rig rig;
};

// Until the tunnel of each of these clients stands.
void shake_hands(std::vector<Wire>& clients) {
  for (Wire& client : clients) {
    ASSERT_TRUE(client.send("hello"));
    ASSERT_EQ(client.exactly(5), "hello");
  }
}

TEST(Handover, ATunnelGoesOnInBothDirections) {
  TcpPair pair(&parrot);
  std::vector<Wire> clients;
  clients.push_back(pair.rig.client());
  shake_hands(clients);
  for (int round = 0; round < 3; ++round) {
    Handover handover = pair.rig.give_up();
    EXPECT_EQ(handover.tunnels.size(), 1U);
    EXPECT_EQ(handover.losses.requests, 0U);
    ASSERT_TRUE(clients[0].send("while nobody is there"));
    pair.rig.take_over(std::move(handover));
    EXPECT_EQ(clients[0].exactly(21), "while nobody is there");
    EXPECT_EQ(pair.rig.in_flight(InstanceId{pair.replica.port()}), 1U);
    EXPECT_EQ(pair.rig.balancer->stats().listeners[0].connections, 1U);
  }
  clients[0].half_close();
  EXPECT_EQ(clients[0].rest(), "bye");
  EXPECT_TRUE(pair.rig.wait_in_flight(InstanceId{pair.replica.port()}, 0));
  EXPECT_EQ(pair.replica.connections(), 1);
}

// Numbers in order, so that one that is lost, doubled or moved is seen.
std::string numbers(std::size_t first, std::size_t count) {
  std::string text;
  for (std::size_t i = first; i < first + count; ++i) text += std::to_string(i) + "\n";
  return text;
}

TEST(Handover, NoByteOfABusyTunnelIsLost) {
  constexpr std::size_t pieces = 2000;  // more than all buffers of the kernel on the way
  constexpr std::size_t per_piece = 2000;
  // The replica sends as much as the client does, and nobody reads at first: buffers and pipes are full.
  const auto pump = [](const Wire& wire) {
    for (std::size_t i = 0; i < pieces; ++i) {
      if (!wire.send(numbers(i * per_piece, per_piece))) return;
    }
    wire.half_close();
  };
  std::promise<void> read_on;
  const std::shared_future<void> may_read = read_on.get_future().share();
  std::promise<std::string> heard;
  TcpPair pair([&](Wire& wire) {
    wire.send("!");
    std::thread sender([&] { pump(wire); });
    may_read.wait();
    heard.set_value(wire.rest().value_or("reset"));
    sender.join();
  });
  Wire client = pair.rig.client();
  ASSERT_EQ(client.exactly(1), "!");  // before there is a tunnel, the next balancer connects anew
  std::thread sender([&] { pump(client); });
  std::atomic<bool> over{false};
  std::string got;
  std::thread reader([&] {
    may_read.wait();
    got = client.rest().value_or("reset");
    over = true;
  });
  int rounds = 0;
  int read_rounds = 0;
  std::size_t to_client = 0;
  std::size_t to_replica = 0;
  const auto deadline = std::chrono::steady_clock::now() + patience;
  for (; read_rounds < 100 && !over; ++rounds) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
    Handover handover = pair.rig.give_up();
    for (const HandedTunnel& tunnel : handover.tunnels) {
      to_client += tunnel.to_client.size();
      to_replica += tunnel.to_replica.size();
    }
    pair.rig.take_over(std::move(handover), 1 + rounds % 3);
    const bool is_full = to_client > 0 && to_replica > 0;
    if (is_full && ++read_rounds == 1) read_on.set_value();
    for (std::uint64_t turn = 0; turn < 20; ++turn) {  // so that something moves between two
      pair.rig.balancer->ping(turn);
      ASSERT_TRUE(pair.rig.wait_pong(turn));
    }
  }
  sender.join();
  reader.join();
  const std::string all = numbers(0, pieces * per_piece);
  EXPECT_TRUE(got == all) << got.size() << " bytes of " << all.size() << " after " << rounds;
  EXPECT_TRUE(heard.get_future().get() == all);
  EXPECT_GT(read_rounds, 1);
}

TEST(Handover, AHalfClosedTunnelStaysHalfClosed) {
  // The client has ended, and the replica answers after the handover.
  std::promise<void> go;
  TcpPair pair([future = go.get_future().share()](Wire& wire) {
    const auto all = wire.rest();
    future.wait();
    wire.send("late " + all.value_or("a reset"));
  });
  const InstanceId replica{pair.replica.port()};
  Wire client = pair.rig.client();
  ASSERT_TRUE(client.send("question"));
  client.half_close();
  ASSERT_TRUE(pair.rig.wait_in_flight(replica, 1));
  Handover handover;
  for (bool ended = false; !ended;) {  // until its end has come through
    handover = pair.rig.give_up();
    ended = !handover.tunnels.empty() && handover.tunnels[0].client_ended;
    if (!ended) pair.rig.take_over(std::move(handover));
  }
  EXPECT_FALSE(handover.tunnels[0].replica_ended);
  pair.rig.take_over(std::move(handover));
  go.set_value();
  EXPECT_EQ(client.rest(), "late question");
  EXPECT_TRUE(pair.rig.wait_in_flight(replica, 0));
}

TEST(Handover, AResetInBetweenIsPassedOn) {
  TcpPair pair([](Wire& wire) {
    wire.send("a");
    EXPECT_FALSE(wire.rest());
  });
  Wire client = pair.rig.client();
  ASSERT_EQ(client.exactly(1), "a");
  Handover handover = pair.rig.give_up();
  client.reset();
  pair.rig.take_over(std::move(handover));
  EXPECT_TRUE(pair.rig.wait_in_flight(InstanceId{pair.replica.port()}, 0));
}

TEST(Handover, AnIdleClientKeepsItsConnection) {
  Pair pair(http_replica("ok"));
  Wire client = pair.start();
  for (int round = 0; round < 3; ++round) {
    client.send(plain_get);
    const auto answer = read_message(client);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->status(), 200);
    Handover handover = pair.rig.give_up();
    EXPECT_EQ(handover.clients.size(), 1U);
    EXPECT_EQ(handover.losses.upstreams, 1U);
    EXPECT_EQ(handover.losses.requests, 0U);
    pair.rig.take_over(std::move(handover));
  }
  client.send(plain_get);
  EXPECT_EQ(read_message(client)->status(), 200);
  EXPECT_EQ(pair.rig.balancer->stats().listeners[0].connections, 1U);
}

TEST(Handover, HalfAHeadIsCompletedByTheNext) {
  Pair pair(&echo);
  Wire client = pair.start();
  client.send("GET /half HTTP/1.1\r\nHost: te");
  Handover handover;
  for (bool was_read = false; !was_read;) {
    handover = pair.rig.give_up();
    ASSERT_EQ(handover.clients.size() + handover.listeners.size(), handover.clients.empty() ? 1U : 2U);
    was_read = !handover.clients.empty() && !handover.clients[0].unread.empty();
    if (!was_read) pair.rig.take_over(std::move(handover));
  }
  client.send("st\r\nX-Tail: 1\r\n\r\n");
  pair.rig.take_over(std::move(handover));
  const auto answer = read_message(client);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status(), 200);
  EXPECT_EQ(answer->body.find("GET /half HTTP/1.1\r\nHost: test\r\n"), 0U);
  EXPECT_NE(answer->body.find("X-Tail: 1"), std::string::npos);
}

TEST(Handover, APauseHoldsRequestsAndLosesNone) {
  Pair pair(&echo);
  Wire client = pair.start();
  client.send(plain_get);
  ASSERT_TRUE(read_message(client));
  EXPECT_EQ(pair.rig.quiesce(10ms), 0U);
  // On an old and on a new connection, and more than one at a time.
  client.send("GET /1 HTTP/1.1\r\nHost: test\r\n\r\nGET /2 HTTP/1.1\r\nHost: test\r\n\r\n");
  Wire other = pair.rig.client();
  ASSERT_TRUE(other.open());
  other.send("GET /3 HTTP/1.1\r\nHost: test\r\n\r\n");
  pair.rig.balancer->ping(7);
  ASSERT_TRUE(pair.rig.wait_pong(7));
  EXPECT_EQ(pair.rig.balancer->stats().listeners[0].requests, 1U);
  pair.rig.balancer->resume();
  EXPECT_EQ(read_message(client)->body.find("GET /1 "), 0U);
  EXPECT_EQ(read_message(client)->body.find("GET /2 "), 0U);
  EXPECT_EQ(read_message(other)->body.find("GET /3 "), 0U);
}

TEST(Handover, PipelinedRequestsAreAnsweredInOrderOverAHandover) {
  Pair pair(&echo);
  Wire client = pair.start();
  std::string all;
  constexpr int count = 500;
  for (int i = 0; i < count; ++i) all += "GET /" + std::to_string(i) + " HTTP/1.1\r\nHost: test\r\n\r\n";
  std::thread sender([&] { client.send(all); });
  std::atomic<int> answered{0};
  std::thread reader([&] {
    for (int i = 0; i < count; ++i) {
      const auto answer = read_message(client);
      ASSERT_TRUE(answer) << i;
      ASSERT_EQ(answer->body.find("GET /" + std::to_string(i) + " "), 0U) << answer->body;
      ++answered;
    }
  });
  std::uint64_t cut = 0;
  while (answered < count) {
    if (pair.rig.quiesce(1000ms) != 0) ADD_FAILURE() << "a request was held up";
    Handover handover = pair.rig.give_up();
    cut += handover.losses.requests;
    pair.rig.take_over(std::move(handover));
    if (::testing::Test::HasFailure()) break;
  }
  sender.join();
  reader.join();
  EXPECT_EQ(cut, 0U);
}

TEST(Handover, ARequestInFlightEndsWithinTheGraceOrIsCut) {
  std::promise<void> go;
  std::promise<void> asked;
  Pair pair([&, future = go.get_future().share()](Wire& wire) {
    while (read_message(wire)) {
      asked.set_value();
      future.wait();
      wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    }
  });
  Wire client = pair.start();
  client.send(plain_get);
  asked.get_future().wait();
  EXPECT_EQ(pair.rig.quiesce(1ms), 1U);
  pair.rig.balancer->resume();
  EXPECT_EQ(pair.rig.quiesce(1ms), 1U);
  std::thread answers([&] { go.set_value(); });
  EXPECT_EQ(pair.rig.quiesce(patience), 0U);
  answers.join();
  EXPECT_EQ(read_message(client)->body, "ok");
  const Handover handover = pair.rig.give_up();
  EXPECT_EQ(handover.losses.requests, 0U);
  EXPECT_EQ(handover.clients.size(), 1U);
}

TEST(Handover, WhatIsStillInFlightIsCutAndCounted) {
  std::promise<void> go;
  const std::shared_future<void> may_end = go.get_future().share();
  Replica silent([may_end](Wire& wire) {
    wire.until("\r\n\r\n");
    may_end.wait();
  });
  Replica half([may_end](Wire& wire) {
    wire.until("\r\n\r\n");
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    may_end.wait();
  });
  Rig rig(2);
  rig.add_listener("silent", "silent");
  rig.add_listener("half", "half");
  rig.set_pool("silent", {silent.port()});
  rig.set_pool("half", {half.port()});
  rig.publish();
  Wire unanswered = rig.client(0);
  unanswered.send(plain_get);
  Wire begun = rig.client(1);
  begun.send(plain_get);
  ASSERT_TRUE(begun.until("half"));
  ASSERT_TRUE(rig.wait_in_flight(InstanceId{silent.port()}, 1));
  EXPECT_EQ(rig.quiesce(5ms), 2U);
  Handover handover = rig.give_up();
  EXPECT_EQ(handover.losses.requests, 2U);
  EXPECT_TRUE(handover.clients.empty());
  EXPECT_EQ(read_message(unanswered)->status(), 503);
  EXPECT_NE(begun.rest(), "and more");  // never the rest
  go.set_value();
  rig.take_over(std::move(handover), 2);
  EXPECT_EQ(rig.failures(), 0U) << "it was not the replica's doing";
}

TEST(Handover, SomeListenersMayFollowTheOthers) {
  Replica web(http_replica("ok"));
  Rig rig;
  rig.add_listener("first", "web");
  rig.add_listener("second", "web");
  rig.set_pool("web", {web.port()});
  rig.publish();
  Handover handover = rig.give_up();
  EXPECT_EQ(handover.listeners.size(), 2U);
  EXPECT_EQ(handover.pools.size(), 1U);
  EXPECT_EQ(handover.pools.at(0).endpoints.at(0).port, web.port());
  const std::vector<spec::Listener> both = rig.listeners;
  rig.listeners.pop_back();
  rig.take_over(std::move(handover), 2, HandedSockets::keep);
  Wire early = Wire::to(both[1].bind[0].port);  // nobody accepts it, and nobody refuses it
  early.send(plain_get);
  EXPECT_EQ(rig.get()->status(), 200);
  rig.listeners = both;
  rig.publish();
  const auto answer = read_message(early);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status(), 200);
  handover = rig.give_up();  // nothing is held twice
  EXPECT_EQ(handover.listeners.size(), 2U);
}

TEST(Handover, WhoWaitsForAReplicaWaitsOn) {
  Rig rig;
  rig.add_listener("web", "web");
  rig.add_listener("db", "db", spec::ListenMode::tcp);
  rig.set_pool("web", {});
  rig.set_pool("db", {});
  rig.publish();
  Wire http = rig.client(0);
  http.send("POST /queued HTTP/1.1\r\nHost: test\r\nContent-Length: 8\r\n\r\nbody");
  Wire tcp = rig.client(1);
  tcp.send("hello");
  ASSERT_TRUE(rig.wait_requests(0, 1));
  ASSERT_TRUE(rig.wait_requests(1, 1));
  EXPECT_EQ(rig.quiesce(10ms), 0U);
  Handover handover = rig.give_up();
  EXPECT_EQ(handover.clients.size(), 2U);
  EXPECT_EQ(handover.losses.requests, 0U);
  Replica web(&echo);
  Replica db(&parrot);
  rig.set_pool("web", {web.port()});
  rig.set_pool("db", {db.port()});
  rig.take_over(std::move(handover));
  http.send("tail");
  const auto answer = read_message(http);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->body.find("POST /queued "), 0U);
  EXPECT_NE(answer->body.find("|bodytail|"), std::string::npos);
  EXPECT_EQ(tcp.exactly(5), "hello");
}

TEST(Handover, AnUpgradedConnectionGoesOn) {
  Pair pair([](Wire& wire) {
    if (!read_message(wire)) return;
    wire.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\nwelcome");
    parrot(wire);
  });
  pair.listener().access_log = spec::AccessLogFormat::json;
  Wire client = pair.start();
  client.send("GET /chat HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n");
  ASSERT_TRUE(client.until("welcome"));
  client.send("one");
  ASSERT_EQ(client.exactly(3), "one");
  EXPECT_EQ(pair.rig.quiesce(10ms), 0U);
  Handover handover = pair.rig.give_up();
  ASSERT_EQ(handover.tunnels.size(), 1U);
  pair.rig.take_over(std::move(handover));
  client.send("two");
  ASSERT_EQ(client.exactly(3), "two");
  client.half_close();
  EXPECT_EQ(client.rest(), "bye");
  const auto lines = pair.rig.access_lines(1);
  ASSERT_EQ(lines.size(), 1U);  // one for all of it
  EXPECT_NE(lines[0].find("/chat"), std::string::npos) << lines[0];
  EXPECT_NE(lines[0].find("101"), std::string::npos) << lines[0];
}

TEST(Handover, ThreadsMayBecomeMoreOrFewer) {
  Replica replica(http_replica("ok"));
  Rig rig(4);
  rig.add_listener("web", "web");
  rig.set_pool("web", {replica.port()});
  rig.publish();
  std::vector<Wire> clients;
  for (int i = 0; i < 16; ++i) clients.push_back(rig.client());
  for (const int threads : {1, 3, 8, 2}) {
    EXPECT_EQ(rig.quiesce(100ms), 0U);
    // They lie in the backlogs of all sockets while nobody accepts.
    std::vector<Wire> waiting;
    for (int i = 0; i < 32; ++i) {
      waiting.push_back(rig.client());
      ASSERT_TRUE(waiting.back().open());
      waiting.back().send(plain_get);
    }
    rig.take_over(rig.give_up(), threads);
    for (Wire& wire : waiting) {
      const auto answer = read_message(wire);
      ASSERT_TRUE(answer);
      EXPECT_EQ(answer->status(), 200);
    }
    for (Wire& wire : clients) {
      wire.send(plain_get);
      const auto answer = read_message(wire);
      ASSERT_TRUE(answer);
      EXPECT_EQ(answer->status(), 200);
    }
  }
}

TEST(Handover, AListenerThatIsGoneIsClosed) {
  Replica replica(http_replica("ok"));
  Rig rig(2);
  rig.add_listener("web", "web");
  rig.add_listener("old", "web");
  rig.set_pool("web", {replica.port()});
  rig.publish();
  Wire kept = rig.client(0);
  kept.send(plain_get);
  ASSERT_TRUE(read_message(kept));
  Wire gone = rig.client(1);
  gone.send(plain_get);
  ASSERT_TRUE(read_message(gone));
  const std::uint16_t old_port = rig.port(1);
  Handover handover = rig.give_up();
  rig.listeners.pop_back();
  rig.take_over(std::move(handover), 2);
  EXPECT_TRUE(gone.at_end());
  EXPECT_FALSE(Wire::to(old_port).open());
  kept.send(plain_get);
  EXPECT_EQ(read_message(kept)->status(), 200);
}

TEST(Handover, ATunnelToAReplicaThatLeavesIsWaitedFor) {
  TcpPair pair(&parrot);
  Replica next(&parrot);
  std::vector<Wire> clients;
  clients.push_back(pair.rig.client());
  shake_hands(clients);
  Handover handover = pair.rig.give_up();
  pair.rig.set_pool("db", {next.port()});
  pair.rig.take_over(std::move(handover));
  const InstanceId old{pair.replica.port()};
  EXPECT_EQ(pair.rig.in_flight(old), 1U);
  pair.rig.balancer->watch_idle(old);
  pair.rig.balancer->ping(1);
  ASSERT_TRUE(pair.rig.wait_pong(1));
  EXPECT_FALSE(pair.rig.is_idle(old));
  shake_hands(clients);
  clients[0].half_close();
  EXPECT_EQ(clients[0].rest(), "bye");
  EXPECT_TRUE(pair.rig.wait_idle(old));
}

TEST(Handover, PlacesThatAreTakenStayTaken) {
  TcpPair pair(&parrot, 2);
  pair.rig.listeners[0].max_conns = 2;
  pair.rig.publish();
  std::vector<Wire> clients;
  for (int i = 0; i < 2; ++i) clients.push_back(pair.rig.client());
  shake_hands(clients);
  pair.rig.take_over(pair.rig.give_up(), 2);
  Wire third = pair.rig.client();
  third.send("third");
  pair.rig.balancer->ping(1);
  ASSERT_TRUE(pair.rig.wait_pong(1));
  EXPECT_EQ(pair.rig.balancer->stats().listeners[0].connections, 2U);
  clients.pop_back();
  EXPECT_EQ(third.exactly(5), "third");
}

TEST(Handover, AUnixListenerKeepsItsFile) {
  const testing_support::TempFolder folder;
  Replica replica(http_replica("ok"));
  Rig rig(2);
  spec::BindAddress bind;
  bind.kind = spec::BindAddress::Kind::unix_path;
  bind.path = folder.path() + "/web.sock";
  bind.text = "unix:" + bind.path;
  rig.add_listener("web", "web").bind = {bind};
  rig.set_pool("web", {replica.port()});
  rig.publish();
  Wire client = Wire::to_unix(bind.path);
  client.send(plain_get);
  ASSERT_TRUE(read_message(client));
  for (const int threads : {1, 3}) {
    Handover handover = rig.give_up();
    Wire early = Wire::to_unix(bind.path);
    ASSERT_TRUE(early.open());
    early.send(plain_get);
    rig.take_over(std::move(handover), threads);
    EXPECT_EQ(read_message(early)->status(), 200);
    client.send(plain_get);
    EXPECT_EQ(read_message(client)->status(), 200);
  }
  rig.balancer.reset();
  EXPECT_FALSE(Wire::to_unix(bind.path).open());
}

TEST(Handover, AProxiedClientKeepsItsAddress) {
  Pair pair(&echo);
  pair.listener().proxy_protocol.in = true;
  Wire client = pair.start();
  client.send("PROXY TCP4 192.0.2.7 192.0.2.1 4000 80\r\n" + plain_get);
  ASSERT_TRUE(read_message(client));
  Wire fresh = pair.rig.client();
  fresh.send("PROXY TCP4 192.0.2.8 ");
  pair.rig.take_over(pair.rig.give_up());
  client.send(plain_get);
  EXPECT_NE(read_message(client)->body.find("192.0.2.7"), std::string::npos);
  fresh.send("192.0.2.1 4001 80\r\n" + plain_get);
  EXPECT_NE(read_message(fresh)->body.find("192.0.2.8"), std::string::npos);
}

TEST(Handover, TlsIsClosedInOrderAndCounted) {
  const CertificateText certificate = make_certificate({.names = {"localhost"}, .common_name = "localhost"});
  Replica web(http_replica("ok"));
  Replica db(&parrot);
  Rig rig;
  rig.add_listener("web", "web").tls = tls_of({certificate});
  rig.add_listener("db", "db", spec::ListenMode::tcp).tls = tls_of({certificate});
  rig.set_pool("web", {web.port()});
  rig.set_pool("db", {db.port()});
  rig.publish();
  TlsWire idle(rig.port(0), {});
  idle.send(plain_get);
  ASSERT_TRUE(read_answer(idle));
  TlsWire tunnel(rig.port(1), {});
  tunnel.send("hello");
  ASSERT_EQ(tunnel.exactly(5), "hello");
  Wire silent = rig.client(0);  // has not begun
  EXPECT_EQ(rig.quiesce(100ms), 0U);
  Handover handover = rig.give_up();
  EXPECT_EQ(handover.losses.tls_connections, 1U);
  EXPECT_EQ(handover.losses.tls_tunnels, 1U);
  EXPECT_EQ(handover.losses.requests, 0U);
  EXPECT_EQ(idle.rest(), "");  // close_notify
  EXPECT_EQ(tunnel.rest(), "");
  rig.take_over(std::move(handover));
  TlsWire begins(std::move(silent), {});
  begins.send(plain_get);
  EXPECT_EQ(read_answer(begins)->status(), 200);
}

TEST(Handover, GivenBackUnusedItIsWhole) {
  Pair pair(http_replica("ok"));
  Wire client = pair.start();
  client.send(plain_get);
  ASSERT_TRUE(read_message(client));
  // One that takes it and ends before it has published anything.
  Options options;
  options.handover = pair.rig.give_up();
  auto between = Balancer::start(std::move(options));
  ASSERT_TRUE(between.ok());
  auto prepared = between.value()->prepare(pair.rig.listeners);
  ASSERT_TRUE(prepared.ok());
  Handover again = between.value()->give_up();
  EXPECT_EQ(again.clients.size(), 1U);
  EXPECT_EQ(again.listeners.size(), 1U);
  pair.rig.take_over(std::move(again));
  client.send(plain_get);
  EXPECT_EQ(read_message(client)->status(), 200);
}

// Clients of all kinds while one balancer follows the other.
TEST(Handover, UnderLoadNoRequestFailsAndNoConnectIsRefused) {
  Replica replica(http_replica("ok"));
  Rig rig(2);
  rig.add_listener("web", "web");
  rig.set_pool("web", {replica.port()});
  rig.publish();
  std::atomic<bool> over{false};
  std::atomic<int> failed{0};
  std::atomic<int> good{0};
  const std::uint16_t port = rig.port();
  std::vector<std::thread> clients;
  for (int i = 0; i < 6; ++i) {
    clients.emplace_back([&, keeps = i % 2 == 0] {
      Wire wire = Wire::to(port);
      while (!over) {
        if (!keeps) wire = Wire::to(port);
        const bool sent = wire.send(plain_get);
        const auto answer = sent ? read_message(wire) : std::nullopt;
        const bool is_good = answer && answer->status() == 200;
        ++(is_good ? good : failed);
        if (!is_good) return;
      }
    });
  }
  std::uint64_t cut = 0;
  for (int round = 0; round < 20; ++round) {
    const int before = good;
    while (good < before + 50 && failed == 0) std::this_thread::yield();
    EXPECT_EQ(rig.quiesce(patience), 0U);
    Handover handover = rig.give_up();
    cut += handover.losses.requests;
    rig.take_over(std::move(handover), 1 + round % 3);
  }
  over = true;
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(cut, 0U);
}

}  // namespace
}  // namespace muster::lb::test
