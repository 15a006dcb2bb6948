// Access logs and counters: a line for each request, however it ends.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <ostream>
#include <utility>

#include "http_pair.h"

namespace muster::lb::test {
namespace {

using namespace std::chrono_literals;
using spec::AccessLogFormat;
using testing::HasSubstr;
using testing::MatchesRegex;

// The value of a member as it stands in the JSON: `"GET"`, `200`, `null`.
std::string member(const std::string& line, const std::string& name) {
  const std::string key = "\"" + name + "\":";
  const std::size_t begin = line.find(key);
  if (begin == std::string::npos) return "no " + name;
  const std::size_t from = begin + key.size();
  const bool text = line[from] == '"';
  const std::size_t end = text ? line.find('"', from + 1) + 1 : line.find_first_of(",}", from);
  return line.substr(from, end - from);
}

double milliseconds(const std::string& line, const std::string& name) {
  return std::stod(member(line, name));
}

struct Logged : Pair {
  explicit Logged(Replica::Serve serve, AccessLogFormat format = AccessLogFormat::json)
      : Pair(std::move(serve)) {
    listener().access_log = format;
  }
  // The only line.
  std::string line() {
    const auto lines = rig.access_lines(1);
    EXPECT_EQ(lines.size(), 1U);
    return lines.empty() ? "" : lines[0];
  }
};

TEST(AccessLog, SaysWhatARequestWas) {
  Logged pair(says("HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\nhello"));
  Wire client = pair.start();
  client.send(
      "POST http://test:80/a?b=%20 HTTP/1.1\r\nHost: test:80\r\nUser-Agent: me\r\nreferer: there\r\n"
      "X-Request-Id: id-7\r\nContent-Length: 3\r\n\r\nabc");
  ASSERT_TRUE(read_message(client));
  const std::string line = pair.line();
  EXPECT_THAT(line, MatchesRegex(R"(\{"time":"[-0-9]+T[:0-9]+\.[0-9][0-9][0-9]Z","listener":"web",.*\})"));
  for (const auto& [name, value] : {std::pair{"client", R"("127.0.0.1")"},
                                    {"method", R"("POST")"},
                                    {"host", R"("test:80")"},
                                    {"path", R"("http://test:80/a?b=%20")"},
                                    {"protocol", R"("HTTP/1.1")"},
                                    {"status", "201"},
                                    {"bytes_in", "3"},
                                    {"bytes_out", "5"},
                                    {"replica", R"("web/0")"},
                                    {"tries", "1"},
                                    {"queued_ms", "0.000"},
                                    {"request_id", R"("id-7")"},
                                    {"user_agent", R"("me")"},
                                    {"referer", R"("there")"},
                                    {"end", R"("complete")"}})
    EXPECT_EQ(member(line, name), value);
  EXPECT_GT(milliseconds(line, "first_byte_ms"), 0);
  EXPECT_GE(milliseconds(line, "total_ms"), milliseconds(line, "first_byte_ms"));
}

TEST(AccessLog, CommonAndCombined) {
  Logged pair(says("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), AccessLogFormat::common);
  Wire client = pair.start();
  const std::string get = "GET /x HTTP/1.1\r\nHost: test\r\nUser-Agent: \"me\"\r\n\r\n";
  client.send(get);
  ASSERT_TRUE(read_message(client));
  EXPECT_THAT(pair.rig.access_lines(1)[0],
              MatchesRegex(R"(127\.0\.0\.1 - - \[../.../....:..:..:.. \+0000\] "GET /x HTTP/1\.1" 200 5)"));
  pair.listener().access_log = AccessLogFormat::combined;
  pair.rig.publish();
  client.send(get);
  ASSERT_TRUE(read_message(client));
  EXPECT_THAT(pair.rig.access_lines(2)[1], HasSubstr(R"("GET /x HTTP/1.1" 200 5 "-" "\x22me\x22")"));
}

TEST(AccessLog, HasALineForEachRequestOfAConnectionInOrder) {
  Logged pair(echo);
  Wire client = pair.start();
  std::string requests;
  for (int i = 0; i < 20; ++i) requests += "GET /" + std::to_string(i) + " HTTP/1.1\r\nHost: test\r\n\r\n";
  client.send(requests);
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(read_message(client));
  const auto lines = pair.rig.access_lines(20);
  ASSERT_EQ(lines.size(), 20U);
  for (int i = 0; i < 20; ++i)
    EXPECT_EQ(member(lines[static_cast<std::size_t>(i)], "path"), "\"/" + std::to_string(i) + "\"");
}

TEST(AccessLog, ChangesByReloadUnderTheSameConnection) {
  Logged pair(echo, AccessLogFormat::off);
  Wire client = pair.start();
  const auto get = [&client](const std::string& path) {
    client.send("GET " + path + " HTTP/1.1\r\nHost: test\r\n\r\n");
    ASSERT_TRUE(read_message(client));
  };
  get("/unseen");
  pair.listener().access_log = AccessLogFormat::json;
  pair.rig.publish();
  get("/json");
  pair.listener().access_log = AccessLogFormat::common;
  pair.rig.publish();
  get("/common");
  pair.listener().access_log = AccessLogFormat::off;
  pair.rig.publish();
  get("/unseen");
  ASSERT_TRUE(pair.rig.wait_access_flush());
  const auto lines = pair.rig.access_lines(2);
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(member(lines[0], "path"), R"("/json")");
  EXPECT_THAT(lines[1], HasSubstr("\"GET /common HTTP/1.1\""));
}

TEST(AccessLog, AListenerThatGoesStillLogsWhatItCarries) {
  std::promise<void> gone;
  Logged pair([&gone](Wire& wire) {
    while (read_message(wire)) {
      gone.get_future().wait();
      wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }
  });
  Wire client = pair.start();
  client.send(plain_get);
  ASSERT_TRUE(pair.rig.wait_in_flight(InstanceId{pair.replica.port()}, 1));
  const std::vector<spec::Listener> listeners = std::exchange(pair.rig.listeners, {});
  pair.rig.publish();
  gone.set_value();
  ASSERT_TRUE(read_message(client));
  EXPECT_EQ(member(pair.line(), "status"), "200");
}

TEST(AccessLog, NothingIsLeftBehindByAStop) {
  Logged pair(echo);
  Wire client = pair.start();
  for (int i = 0; i < 7; ++i) {
    client.send(plain_get);
    ASSERT_TRUE(read_message(client));
  }
  pair.rig.balancer->stop(patience);
  EXPECT_EQ(pair.rig.access_lines(0).size(), 7U);
}

TEST(AccessLog, WhatCannotBeHandedOverIsCountedAndTold) {
  Logged pair(echo);
  Wire client = pair.start();
  const auto get = [&client] {
    client.send(plain_get);
    ASSERT_TRUE(read_message(client));
  };
  pair.rig.refuse_access_lines = true;
  for (int i = 0; i < 3; ++i) get();
  ASSERT_TRUE(pair.rig.wait_access_flush());
  get();
  ASSERT_TRUE(pair.rig.wait_access_flush());
  EXPECT_TRUE(pair.rig.access_lines(0).empty());
  pair.rig.refuse_access_lines = false;
  EXPECT_TRUE(pair.rig.wait_lost_lines(4));  // without another request
  get();
  EXPECT_EQ(pair.rig.access_lines(1).size(), 1U);
}

struct Case {
  const char* name;
  std::string request;
  const char* status;
  const char* end;
  const char* path;
};
std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.name;
}
class BadHeads : public testing::TestWithParam<Case> {};

TEST_P(BadHeads, AreLogged) {
  Logged pair(echo);
  pair.listener().timeout.head = GetParam().end == std::string("client_timeout") ? 100ms : Millis(patience);
  Wire client = pair.start();
  client.send(GetParam().request);
  if (GetParam().end == std::string("client_closed")) {
    client.close();
  } else {
    EXPECT_TRUE(read_message(client));
  }
  const std::string line = pair.line();
  EXPECT_EQ(member(line, "status"), GetParam().status);
  EXPECT_EQ(member(line, "end"), '"' + std::string(GetParam().end) + '"');
  EXPECT_EQ(member(line, "path"), GetParam().path);
  EXPECT_EQ(member(line, "replica"), "null");
  EXPECT_EQ(member(line, "tries"), "0");
}

INSTANTIATE_TEST_SUITE_P(
    Each, BadHeads,
    testing::Values(
        Case{"not HTTP", "hello\r\n\r\n", "400", "muster_refused", R"("hello")"},
        Case{"a control byte", "GET /\x01 HTTP/1.1\r\nHost: h\r\n\r\n", "400", "muster_refused",
             R"("/\u0001")"},
        Case{"a long head", "GET / HTTP/1.1\r\nHost: h\r\nX: " + std::string(40000, 'a') + "\r\n\r\n", "431",
             "muster_refused", R"("/")"},
        Case{"half a head that stays", "GET /half HTTP/1.1\r\nHost", "408", "client_timeout", R"("/half")"},
        Case{"half a head and the end", "GET /half", "499", "client_closed", R"("GET /half")"}));

TEST(AccessLog, AConnectionWithoutAByteIsNoRequest) {
  Logged pair(echo);
  pair.start().close();
  Wire client = pair.rig.client();
  client.send(plain_get);
  ASSERT_TRUE(read_message(client));
  EXPECT_EQ(member(pair.line(), "status"), "200");
}

TEST(AccessLog, ARequestWithoutAReplicaWaited) {
  Logged pair(echo);
  pair.rig.set_pool("web", {});
  pair.listener().queue_timeout = 60ms;
  Wire client = pair.start();
  client.send(plain_get);
  ASSERT_TRUE(read_message(client));
  const std::string line = pair.line();
  EXPECT_EQ(member(line, "status"), "503");
  EXPECT_EQ(member(line, "end"), R"("muster_refused")");
  EXPECT_GE(milliseconds(line, "queued_ms"), 60);
  EXPECT_GE(milliseconds(line, "total_ms"), milliseconds(line, "queued_ms"));
  const ListenerStats stats = pair.rig.balancer->stats().listeners[0];
  EXPECT_EQ(stats.queued, 1U);
  EXPECT_EQ(stats.refused, 1U);
  EXPECT_EQ(stats.responses, (StatusClasses{0, 0, 0, 0, 1}));
  EXPECT_GE(*stats.total.quantile(0.5), 50ms);
}

TEST(AccessLog, AnotherTryIsCounted) {
  Logged pair([](Wire& wire) { read_message(wire); });
  Replica other(http_replica("other"));
  pair.rig.set_pool("web", {pair.replica.port(), other.port()});
  Wire client = pair.start();
  for (int i = 0; i < 2; ++i) {
    client.send(plain_get);
    ASSERT_TRUE(read_message(client));
  }
  const auto lines = pair.rig.access_lines(2);
  EXPECT_EQ(member(lines[0], "tries") == "2" ? 1 : 0, 1) << lines[0];
  EXPECT_EQ(member(lines[0], "replica"), R"("web/1")");
  const Stats stats = pair.rig.balancer->stats();
  EXPECT_GE(stats.listeners[0].retries, 1U);
  EXPECT_EQ(stats.listeners[0].retries, stats.instances[0].retries + stats.instances[1].retries);
}

TEST(AccessLog, AReplicaThatEndsWithoutAnAnswer) {
  Logged pair([](Wire& wire) { read_message(wire); });
  pair.listener().retries = 0;
  Wire client = pair.start();
  client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nab");
  ASSERT_TRUE(read_message(client));
  const std::string line = pair.line();
  EXPECT_EQ(member(line, "status"), "502");
  EXPECT_EQ(member(line, "end"), R"("replica_failed")");
  EXPECT_EQ(member(line, "replica"), R"("web/0")");
  EXPECT_EQ(member(line, "bytes_in"), "2");
}

TEST(AccessLog, AnAnswerThatBreaksOff) {
  Logged pair(says("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello", true));
  Wire client = pair.start();
  client.send(plain_get);
  EXPECT_FALSE(read_message(client));
  const std::string line = pair.line();
  EXPECT_EQ(member(line, "status"), "200");
  EXPECT_EQ(member(line, "bytes_out"), "5");
  EXPECT_EQ(member(line, "end"), R"("replica_failed")");
}

TEST(AccessLog, AnAnswerThatDoesNotCome) {
  Logged pair([](Wire& wire) {
    read_message(wire);
    wire.at_end();
  });
  pair.listener().timeout.response = 100ms;
  Wire client = pair.start();
  client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
  ASSERT_TRUE(read_message(client));
  const std::string line = pair.line();
  EXPECT_EQ(member(line, "status"), "504");
  EXPECT_EQ(member(line, "end"), R"("timeout")");
  EXPECT_GE(milliseconds(line, "total_ms"), 100);
}

TEST(AccessLog, AClientThatClosesInTheMiddleOfItsBody) {
  Logged pair(echo);
  Wire client = pair.start();
  client.send("POST /up HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nabc");
  ASSERT_TRUE(pair.rig.wait_in_flight(InstanceId{pair.replica.port()}, 1));
  client.reset();
  const std::string line = pair.line();
  EXPECT_EQ(member(line, "status"), "499");
  EXPECT_EQ(member(line, "end"), R"("client_closed")");
  EXPECT_EQ(member(line, "path"), R"("/up")");
  EXPECT_EQ(member(line, "bytes_in"), "3");
}

TEST(AccessLog, AClientThatClosesInTheMiddleOfItsAnswer) {
  Logged pair([](Wire& wire) {
    read_message(wire);
    wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    const std::string chunk = "1000\r\n" + std::string(0x1000, 'x') + "\r\n";
    while (wire.send(chunk)) {
    }
  });
  Wire client = pair.start();
  client.send(plain_get);
  ASSERT_TRUE(client.exactly(10000));
  client.reset();
  const std::string line = pair.line();
  EXPECT_EQ(member(line, "status"), "200");
  EXPECT_EQ(member(line, "end"), R"("client_closed")");
  EXPECT_GE(std::stoll(member(line, "bytes_out")), 4096);
}

TEST(AccessLog, ATunnelIsOneLineWithItsBytes) {
  Logged pair([](Wire& wire) {
    read_message(wire);
    wire.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
    const auto got = wire.exactly(4);
    wire.send(*got + *got);
    wire.rest();
  });
  Wire client = pair.start();
  client.send("GET /ws HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
  ASSERT_TRUE(client.until("\r\n\r\n"));
  client.send("ping");
  EXPECT_EQ(client.exactly(8), "pingping");
  client.half_close();
  EXPECT_EQ(client.rest(), "");
  const std::string line = pair.line();
  EXPECT_EQ(member(line, "status"), "101");
  EXPECT_EQ(member(line, "bytes_in"), "4");
  EXPECT_EQ(member(line, "bytes_out"), "8");
  EXPECT_EQ(member(line, "end"), R"("complete")");
}

TEST(AccessLog, WhatIsSaidWithoutAReplica) {
  Logged pair(echo);
  spec::Route route;
  route.path = "/fixed";
  route.respond = spec::Respond{.status = 418, .body = "tea", .type = "text/plain"};
  pair.listener().routes = {route};
  pair.listener().app = "";
  Wire client = pair.start();
  for (const std::string path : {"/fixed", "/nowhere"}) {
    client.send("GET " + path + " HTTP/1.1\r\nHost: test\r\n\r\n");
    ASSERT_TRUE(read_message(client));
  }
  const auto lines = pair.rig.access_lines(2);
  EXPECT_EQ(member(lines[0], "status"), "418");
  EXPECT_EQ(member(lines[0], "bytes_out"), "3");
  EXPECT_EQ(member(lines[0], "end"), R"("complete")");
  EXPECT_EQ(member(lines[1], "status"), "404");
  EXPECT_EQ(member(lines[1], "end"), R"("muster_refused")");
}

TEST(AccessLog, AStreamIsOneLine) {
  Replica replica([](Wire& wire) {
    const auto got = wire.exactly(4);
    if (got) wire.send(*got + *got + *got);
    wire.rest();
  });
  Rig rig;
  rig.add_listener("db", "db", spec::ListenMode::tcp).access_log = AccessLogFormat::json;
  rig.set_pool("db", {replica.port()});
  rig.publish();
  Wire client = rig.client();
  client.send("ping");
  EXPECT_EQ(client.exactly(12), "pingpingping");
  client.half_close();
  EXPECT_EQ(client.rest(), "");
  const std::string line = rig.access_lines(1)[0];
  for (const auto& [name, value] : {std::pair{"listener", R"("db")"},
                                    {"client", R"("127.0.0.1")"},
                                    {"method", "null"},
                                    {"protocol", R"("TCP")"},
                                    {"status", "null"},
                                    {"bytes_in", "4"},
                                    {"bytes_out", "12"},
                                    {"replica", R"("db/0")"},
                                    {"tries", "1"},
                                    {"end", R"("complete")"}})
    EXPECT_EQ(member(line, name), value);
  const ListenerStats stats = rig.balancer->stats().listeners[0];
  EXPECT_EQ(stats.bytes_in, 4U);
  EXPECT_EQ(stats.bytes_out, 12U);
  EXPECT_EQ(stats.total.count(), 0U);
}

TEST(AccessLog, AStreamWithoutAReplica) {
  const std::uint16_t nobody = free_port();
  Rig rig;
  auto& listener = rig.add_listener("db", "db", spec::ListenMode::tcp);
  listener.access_log = AccessLogFormat::common;
  listener.queue_timeout = 60ms;
  rig.set_pool("db", {nobody});
  rig.publish();
  Wire client = rig.client();
  EXPECT_TRUE(client.at_end());
  EXPECT_THAT(rig.access_lines(1)[0], HasSubstr("] \"TCP db/0\" - -"));
}

TEST(Counters, OfAListenerAndItsReplica) {
  Pair pair([](Wire& wire) {
    while (const auto request = read_message(wire)) {
      const bool bad = request->has("/bad");
      wire.send(bad ? "HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno"
                    : "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes");
    }
  });
  Wire client = pair.start();
  for (const std::string path : {"/", "/bad", "/"}) {
    client.send("PUT " + path + " HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n0123456789");
    ASSERT_TRUE(read_message(client));
  }
  client.send("nonsense\r\n\r\n");
  EXPECT_EQ(read_message(client)->status(), 400);
  client.rest();
  const Stats stats = pair.rig.balancer->stats();
  const ListenerStats& listener = stats.listeners[0];
  EXPECT_EQ(listener.requests, 3U);
  EXPECT_EQ(listener.responses, (StatusClasses{0, 2, 0, 1, 1}));
  EXPECT_EQ(listener.bytes_in, 30U);
  EXPECT_GE(listener.bytes_out, 8U);
  EXPECT_EQ(listener.refused, 1U);
  EXPECT_EQ(listener.retries, 0U);
  EXPECT_EQ(listener.total.count(), 3U);
  EXPECT_EQ(listener.first_byte.count(), 3U);
  EXPECT_LE(listener.first_byte.sum(), listener.total.sum());
  EXPECT_GT(listener.first_byte.sum(), Nanos::zero());
  const InstanceStats& instance = stats.instances[0];
  EXPECT_EQ(instance.responses, (StatusClasses{0, 2, 0, 0, 1}));
  EXPECT_EQ(instance.total.count(), 3U);
  EXPECT_EQ(instance.total.sum(), listener.total.sum());
}

}  // namespace
}  // namespace muster::lb::test
