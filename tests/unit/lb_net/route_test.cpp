// Routes of a listener: by host and path, by weight, without a replica.
#include <gtest/gtest.h>

#include <thread>

#include "rig.h"

namespace muster::lb::test {
namespace {

using namespace std::chrono_literals;

spec::Route route(std::string host, std::string path, std::string app, int weight = 1) {
  spec::Route made;
  made.host = std::move(host);
  made.path = std::move(path);
  made.app = std::move(app);
  made.weight = weight;
  made.timeout.connect = made.timeout.response = patience;
  return made;
}

class Routes : public testing::Test {
 protected:
  Routes() {
    rig.add_listener("web", "rest");
    rig.set_pool("api", {api.port()});
    rig.set_pool("img", {img.port()});
    rig.set_pool("rest", {rest.port()});
  }
  std::string body(const std::string& target, const std::string& host = "h") {
    Wire client = rig.client();
    client.send("GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n");
    const auto message = read_message(client);
    return message ? message->body : "(nothing)";
  }
  std::optional<Message> ask(Wire& client, const std::string& head, bool no_body = false) {
    client.send(head + "\r\n\r\n");
    return read_message(client, no_body);
  }
  std::vector<spec::Route>& routes() { return rig.listeners[0].routes; }

  Replica api{http_replica("api")};
  Replica img{http_replica("img")};
  Replica rest{http_replica("rest")};
  Rig rig{2};
};

TEST_F(Routes, HostAndPathChooseTheApp) {
  routes() = {route("", "/api", "api"), route("img.example.org", "/", "img")};
  rig.publish();
  EXPECT_EQ(body("/api/x?y"), "api");
  EXPECT_EQ(body("/apix"), "rest");
  EXPECT_EQ(body("/", "IMG.example.org:8080"), "img");
  EXPECT_EQ(body("/api", "img.example.org"), "img");
  EXPECT_EQ(body("http://img.example.org/api", "other"), "img");  // absolute-form says the host
}

TEST_F(Routes, OneConnectionGoesWhereEachRequestLeads) {
  routes() = {route("", "/api", "api"), route("", "/img", "img")};
  rig.publish();
  Wire client = rig.client();
  client.send(
      "GET /api HTTP/1.1\r\nHost: h\r\n\r\nGET /img HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: "
      "h\r\n\r\n");
  for (const char* wanted : {"api", "img", "rest"}) {
    const auto message = read_message(client);
    ASSERT_TRUE(message);
    EXPECT_EQ(message->body, wanted);
  }
}

TEST_F(Routes, WithoutAMatchItIs404AndTheConnectionGoesOn) {
  rig.listeners[0].app = "";
  routes() = {route("", "/api", "api")};
  rig.publish();
  Wire client = rig.client();
  const auto nothing = ask(client, "GET / HTTP/1.1\r\nHost: h");
  ASSERT_TRUE(nothing);
  EXPECT_EQ(nothing->status(), 404);
  const auto posted =
      ask(client, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcGET /api HTTP/1.1\r\nHost: h");
  ASSERT_TRUE(posted);
  EXPECT_EQ(posted->status(), 404);
  const auto found = read_message(client);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->body, "api");
}

TEST_F(Routes, RedirectKeepsHostAndUri) {
  spec::Route moved = route("", "/old", "");
  moved.redirect = spec::Template(std::vector<spec::Template::Part>{
      std::string("https://"), spec::TemplateVariable{.name = "host", .argument = ""},
      spec::TemplateVariable{.name = "uri", .argument = ""}});
  routes() = {moved};
  rig.publish();
  Wire client = rig.client();
  const auto answer = ask(client, "GET /old/a?b=c HTTP/1.1\r\nHost: example.org:8080");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status(), 308);
  EXPECT_EQ(answer->field("Location"), "https://example.org/old/a?b=c");
  const auto head = ask(client, "HEAD /old HTTP/1.1\r\nHost: h", true);
  ASSERT_TRUE(head);
  EXPECT_EQ(head->field("Location"), "https://h/old");
}

TEST_F(Routes, RespondIsByteForByte) {
  spec::Route fixed = route("", "/robots.txt", "");
  fixed.respond = spec::Respond{.status = 200, .body = "User-agent: *\nDisallow: /\n", .type = "text/plain"};
  spec::Route none = route("", "/none", "");
  none.respond = spec::Respond{.status = 204, .body = "", .type = "text/plain"};
  routes() = {fixed, none};
  rig.publish();
  Wire client = rig.client();
  const auto answer = ask(client, "GET /robots.txt HTTP/1.1\r\nHost: h");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status(), 200);
  EXPECT_EQ(answer->body, fixed.respond->body);
  EXPECT_EQ(answer->field("Content-Type"), "text/plain");
  const auto head = ask(client, "HEAD /robots.txt HTTP/1.1\r\nHost: h", true);
  ASSERT_TRUE(head);
  EXPECT_EQ(head->field("Content-Length"), std::to_string(fixed.respond->body.size()));
  const auto empty = ask(client, "GET /none HTTP/1.1\r\nHost: h", true);
  ASSERT_TRUE(empty);
  EXPECT_EQ(empty->status(), 204);
  EXPECT_FALSE(empty->has("Content-Length"));  // RFC 9110 8.6
  const auto after = ask(client, "GET / HTTP/1.1\r\nHost: h");
  ASSERT_TRUE(after);
  EXPECT_EQ(after->body, "rest");
}

TEST_F(Routes, WeightsAreExact) {
  routes() = {route("", "/", "api", 9), route("", "/", "img", 1)};
  rig.publish();
  std::map<std::string, int> count;
  for (int i = 0; i < 100; ++i) {
    ++count[body("/")];
    if (i % 10 == 5) rig.publish();  // a reload does not begin the count again
  }
  EXPECT_EQ(count, (std::map<std::string, int>{{"api", 90}, {"img", 10}}));
}

TEST_F(Routes, AnAppWithoutReplicasPassesItsTurnOn) {
  routes() = {route("", "/", "api", 1), route("", "/", "img", 1), route("", "/", "rest", 0)};
  rig.set_pool("img", {});
  rig.publish();
  for (int i = 0; i < 4; ++i) EXPECT_EQ(body("/"), "api");
  rig.set_pool("api", {});
  rig.listeners[0].queue_timeout = 50ms;
  rig.publish();
  EXPECT_EQ(rig.get("/")->status(), 503);  // not the one of weight 0
}

TEST_F(Routes, TimeoutOfARoute) {
  Replica silent([](Wire& wire) { static_cast<void>(wire.at_end()); });
  rig.set_pool("img", {silent.port()});
  spec::Route slow = route("", "/slow", "img");
  slow.timeout.response = 50ms;
  routes() = {slow};
  rig.publish();
  EXPECT_EQ(rig.get("/slow")->status(), 504);
  EXPECT_EQ(body("/"), "rest");
}

TEST_F(Routes, HeadersOfTheRequestAndTheAnswer) {
  Replica echo([](Wire& wire) {
    while (const auto head = wire.until("\r\n\r\n")) {
      wire.send("HTTP/1.1 200 OK\r\nX-Inner: 1\r\nContent-Length: " + std::to_string(head->size()) +
                "\r\n\r\n" + *head);
    }
  });
  rig.set_pool("rest", {echo.port()});
  spec::Listener& listener = rig.listeners[0];
  listener.headers.set = {{"X-Env", "prod"}};
  listener.response_headers.set = {{"X-Frame-Options", "DENY"}};
  listener.response_headers.remove = {"x-inner"};
  rig.publish();
  Wire client = rig.client();
  const auto stranger = ask(client, "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.1.1.1");
  ASSERT_TRUE(stranger);
  EXPECT_NE(stranger->body.find("X-Env: prod\r\n"), std::string::npos);
  EXPECT_NE(stranger->body.find("X-Forwarded-For: 127.0.0.1\r\n"), std::string::npos);
  EXPECT_EQ(stranger->field("X-Frame-Options"), "DENY");
  EXPECT_EQ(stranger->field("X-Inner"), "");
  // Two requests have two ids, of 32 digits.
  const auto id = [](const Message& message) {
    const std::size_t at = message.body.find("X-Request-Id: ");
    return at == std::string::npos ? "" : message.body.substr(at + 14, 32);
  };
  const auto again = ask(client, "GET / HTTP/1.1\r\nHost: h");
  ASSERT_TRUE(again);
  EXPECT_EQ(id(*stranger).size(), 32U);
  EXPECT_NE(id(*stranger), id(*again));
  // The same client as a trusted proxy, by a reload, on the same connection.
  spec::Network network;
  network.address[10] = network.address[11] = 0xff;
  network.address[12] = 127;
  network.bits = 96 + 8;
  listener.trusted_proxies = {network};
  rig.publish();
  const auto proxy = ask(client, "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.1.1.1");
  ASSERT_TRUE(proxy);
  EXPECT_NE(proxy->body.find("X-Forwarded-For: 1.1.1.1, 127.0.0.1\r\n"), std::string::npos);
}

// A request in the queue goes where the routes lead when its time has come.
TEST_F(Routes, AWaitingRequestFollowsAReload) {
  routes() = {route("", "/a", "later")};
  rig.publish();
  std::string answer;
  std::thread waiting([&] { answer = body("/a"); });
  EXPECT_TRUE(rig.wait_requests(0, 1));
  routes() = {route("", "/a", "img")};
  rig.publish();
  waiting.join();
  EXPECT_EQ(answer, "img");
}

}  // namespace
}  // namespace muster::lb::test
