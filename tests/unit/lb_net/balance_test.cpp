// Which replica gets a request, other than in turn: on real sockets.
#include <gtest/gtest.h>

#include <map>

#include "http_pair.h"

namespace muster::lb::test {
namespace {

using Kind = spec::Balance::Kind;

// Three replicas that answer with their letter.
struct Three {
  Three() {
    rig.add_listener("web", "web");
    std::vector<std::uint16_t> ports;
    for (const char* name : {"a", "b", "c"}) {
      replicas.push_back(std::make_unique<Replica>(http_replica(name)));
      ports.push_back(replicas.back()->port());
    }
    rig.set_pool("web", ports);
  }
  spec::Listener& listener() { return rig.listeners[0]; }
  std::optional<Message> ask(const std::string& fields, const std::string& target = "/") {
    Wire client = rig.client();
    client.send("GET " + target + " HTTP/1.1\r\nHost: test\r\n" + fields + "\r\n");
    return read_message(client);
  }
  std::string who(const std::string& fields = "", const std::string& target = "/") {
    const auto answer = ask(fields, target);
    return answer ? answer->body : "nobody";
  }
  void leave(std::size_t replica) {
    auto& endpoints = rig.pools["web"].endpoints;
    endpoints.erase(endpoints.begin() + static_cast<std::ptrdiff_t>(replica));
    rig.publish();
  }
  std::vector<std::unique_ptr<Replica>> replicas;
  Rig rig;
};

std::string cookie_of(const Message& answer) {
  const std::string line = answer.field("Set-Cookie");
  return line.substr(0, line.find(';'));
}

TEST(Sticky, AClientStaysWithItsReplica) {
  Three three;
  three.listener().sticky_cookie = "id";
  three.rig.publish();
  const auto first = three.ask("");
  ASSERT_TRUE(first);
  const std::string cookie = cookie_of(*first);
  ASSERT_TRUE(cookie.starts_with("id=")) << first->head;
  for (int i = 0; i < 7; ++i) {
    const auto again = three.ask("Cookie: x=1; " + cookie + "\r\n");
    ASSERT_TRUE(again);
    EXPECT_EQ(again->body, first->body);
    EXPECT_EQ(again->field("Set-Cookie"), "");
  }
}

TEST(Sticky, AClientWhoseReplicaLeftGetsAnother) {
  Three three;
  three.listener().sticky_cookie = "id";
  three.rig.publish();
  const auto first = three.ask("");
  ASSERT_TRUE(first);
  const std::string cookie = cookie_of(*first);
  three.leave(static_cast<std::size_t>(first->body[0] - 'a'));
  const auto next = three.ask("Cookie: " + cookie + "\r\n");
  ASSERT_TRUE(next);
  EXPECT_NE(next->body, first->body);
  EXPECT_TRUE(cookie_of(*next).starts_with("id="));
  EXPECT_NE(cookie_of(*next), cookie);
}

TEST(Sticky, ClientsWithoutACookieTakeTurns) {
  Three three;
  three.listener().sticky_cookie = "id";
  three.rig.publish();
  std::map<std::string, int> counts;
  for (int i = 0; i < 9; ++i) ++counts[three.who("Cookie: id=nonsense\r\n")];
  EXPECT_EQ(counts, (std::map<std::string, int>{{"a", 3}, {"b", 3}, {"c", 3}}));
}

TEST(HashBalance, OneKeyOneReplica) {
  Three three;
  three.listener().balance = {.kind = Kind::hash, .key = spec::Balance::Key::header, .name = "X-User"};
  three.rig.publish();
  std::map<std::string, int> owners;
  for (int user = 0; user < 40; ++user) {
    const std::string field = "X-User: " + std::to_string(user) + "\r\n";
    const std::string owner = three.who(field);
    EXPECT_EQ(three.who(field), owner);
    ++owners[owner];
  }
  EXPECT_EQ(owners.size(), 3U);
  std::map<std::string, int> turns;  // of those without a key
  for (int i = 0; i < 6; ++i) ++turns[three.who()];
  EXPECT_EQ(turns, (std::map<std::string, int>{{"a", 2}, {"b", 2}, {"c", 2}}));
}

TEST(HashBalance, AnotherReplicaTakesOverOnlyWhatTheLeavingOneHad) {
  Three three;
  three.listener().balance = {.kind = Kind::hash, .key = spec::Balance::Key::path};
  three.rig.publish();
  std::map<std::string, std::string> before;
  for (int i = 0; i < 30; ++i) {
    const std::string path = "/" + std::to_string(i);
    before[path] = three.who("", path + "?query=" + std::to_string(i * 7));
  }
  three.leave(1);
  for (const auto& [path, owner] : before) {
    if (owner == "b") {
      EXPECT_NE(three.who("", path), "b");
    } else {
      EXPECT_EQ(three.who("", path), owner);
    }
  }
}

TEST(LeastConn, WhoIsBusyGetsNothingNew) {
  // Holds each request that asks for it until the connection ends.
  const auto holds = [](std::string name) -> Replica::Serve {
    return [name = std::move(name)](Wire& wire) {
      while (const auto request = read_message(wire)) {
        if (request->has("/hold")) {
          wire.at_end();
          return;
        }
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + name);
      }
    };
  };
  Replica a(holds("a"));
  Replica b(holds("b"));
  Rig rig;
  rig.add_listener("web", "web");
  rig.listeners[0].balance.kind = Kind::least_conn;
  rig.set_pool("web", {a.port(), b.port()});
  rig.publish();
  Wire held = rig.client();
  held.send("GET /hold HTTP/1.1\r\nHost: test\r\n\r\n");
  ASSERT_TRUE(rig.wait_in_flight(InstanceId{a.port()}, 1));
  for (int i = 0; i < 5; ++i) {
    const auto answer = rig.get();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->body, "b");
  }
  held.reset();
}

TEST(PowerOfTwo, EveryReplicaGetsItsShare) {
  Three three;
  three.listener().balance.kind = Kind::p2c;
  three.rig.publish();
  std::map<std::string, int> counts;
  for (int i = 0; i < 150; ++i) ++counts[three.who()];
  EXPECT_EQ(counts.size(), 3U);
  for (const auto& [name, count] : counts) EXPECT_GT(count, 20) << name;
}

// Reads requests and ends the connection.
void hangs_up(Wire& wire) {
  static_cast<void>(read_message(wire));
}

TEST(Eject, AReplicaThatFailsAgainAndAgainIsLeftOut) {
  Replica good(http_replica("good"));
  Replica bad(hangs_up);
  Rig rig;
  rig.add_listener("web", "web");
  rig.listeners[0].eject = spec::Eject{.fails = 3, .time = Millis{3600000}};
  rig.set_pool("web", {good.port(), bad.port()});
  rig.publish();
  for (int i = 0; i < 20; ++i) {
    const auto answer = rig.get();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->body, "good");
  }
  EXPECT_EQ(bad.connections(), 3);
}

TEST(Eject, IsNotWhatAnswersOfTheAppLeadTo) {
  Replica good(http_replica("good"));
  Replica bad(says("HTTP/1.1 500 Oh\r\nContent-Length: 3\r\n\r\nbad"));
  Replica full(says("HTTP/1.1 503 Full\r\nContent-Length: 4\r\n\r\nfull"));
  Rig rig;
  rig.add_listener("web", "web");
  rig.listeners[0].eject = spec::Eject{.fails = 2, .time = Millis{3600000}};
  rig.set_pool("web", {good.port(), bad.port(), full.port()});
  rig.publish();
  std::map<std::string, int> counts;
  for (int i = 0; i < 24; ++i) ++counts[rig.get()->body];
  EXPECT_EQ(counts["full"], 2);
  EXPECT_EQ(counts["bad"], counts["good"]);
}

TEST(Eject, TheLastOneIsAskedAllTheSame) {
  Replica full(says("HTTP/1.1 503 Full\r\nContent-Length: 4\r\n\r\nfull"));
  Rig rig;
  rig.add_listener("web", "web");
  rig.listeners[0].eject = spec::Eject{.fails = 2, .time = Millis{3600000}};
  rig.set_pool("web", {full.port()});
  rig.publish();
  for (int i = 0; i < 6; ++i) EXPECT_EQ(rig.get()->body, "full");
}

TEST(Eject, EndsWithItsTime) {
  Replica good(http_replica("good"));
  Replica full(says("HTTP/1.1 503 Full\r\nContent-Length: 4\r\n\r\nfull"));
  Rig rig;
  rig.add_listener("web", "web");
  rig.listeners[0].eject = spec::Eject{.fails = 1, .time = Millis{50}};
  rig.set_pool("web", {good.port(), full.port()});
  rig.publish();
  int times = 0;
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (times < 2 && std::chrono::steady_clock::now() < deadline) times += rig.get()->body == "full" ? 1 : 0;
  EXPECT_EQ(times, 2);
}

TEST(Pause, RequestsWaitAndGoOn) {
  Three three;
  three.listener().queue_timeout = Millis{90000};
  three.rig.pools["web"].paused = true;
  three.rig.publish();
  Wire client = three.rig.client();
  client.send(plain_get);
  ASSERT_TRUE(three.rig.wait_requests(0, 1));
  three.rig.publish();  // another snapshot wakes it, and it waits on
  EXPECT_EQ(
      three.replicas[0]->connections() + three.replicas[1]->connections() + three.replicas[2]->connections(),
      0);
  three.rig.pools["web"].paused = false;
  three.rig.publish();
  const auto answer = read_message(client);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status(), 200);
}

TEST(Pause, OverTheQueuesTimeTheAnswerIs503) {
  Three three;
  three.listener().queue_timeout = Millis{1};
  three.rig.pools["web"].paused = true;
  three.rig.publish();
  const auto answer = three.rig.get();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status(), 503);
}

TEST(OnDemand, WhoeverWaitsCallsTheApp) {
  for (const spec::ListenMode mode : {spec::ListenMode::http, spec::ListenMode::tcp}) {
    Rig rig;
    Replica replica([](Wire& wire) { wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); });
    rig.add_listener("web", "web", mode);
    rig.listeners[0].queue_timeout = Millis{90000};
    rig.set_pool("web", {});
    rig.publish();
    Wire early = rig.client();
    early.send(plain_get);
    ASSERT_TRUE(rig.wait_requests(0, 1));
    EXPECT_EQ(rig.demands("web"), 0U);  // it is not on demand
    rig.pools["web"].on_demand = true;
    rig.publish();
    ASSERT_TRUE(rig.wait_demands("web", 1));  // who waits already
    Wire client = rig.client();
    client.send(plain_get);
    ASSERT_TRUE(rig.wait_requests(0, 2));
    rig.set_pool("web", {replica.port()});
    rig.pools["web"].on_demand = true;
    rig.publish();
    for (Wire* each : {&early, &client}) {
      const auto answer = read_message(*each);
      ASSERT_TRUE(answer);
      EXPECT_EQ(answer->body, "ok");
    }
    const std::size_t before = rig.demands("web");
    EXPECT_EQ(rig.get()->body, "ok");
    EXPECT_EQ(rig.demands("web"), before);
  }
}

TEST(Tcp, HashesTheClientsAddress) {
  Rig rig;
  rig.add_listener("db", "db", spec::ListenMode::tcp);
  rig.listeners[0].balance = {.kind = Kind::hash, .key = spec::Balance::Key::client};
  const auto names = [](const char* name) -> Replica::Serve {
    return [name](Wire& wire) { wire.send(name); };
  };
  Replica a(names("a"));
  Replica b(names("b"));
  rig.set_pool("db", {a.port(), b.port()});
  rig.publish();
  const auto first = rig.client().rest();
  ASSERT_TRUE(first);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(rig.client().rest(), first);
}

}  // namespace
}  // namespace muster::lb::test
