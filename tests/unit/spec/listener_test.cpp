#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rig.h"
#include "spec/draft.h"

namespace muster::spec {
namespace {

using testing::ElementsAre;

TEST(Bind, CanonicalForms) {
  struct Case {
    const char* written;
    const char* text;
  };
  for (const auto& [written, text] :
       {Case{"127.0.0.1:80", "127.0.0.1:80"}, Case{"[::1]:80", "[::1]:80"}, Case{"[0::0:1]:080", "[::1]:80"},
        Case{"0.0.0.0:65535", "0.0.0.0:65535"}, Case{"unix:/run/x.sock", "unix:/run/x.sock"},
        Case{"unix:run/x.sock", "unix:/spec/run/x.sock"}, Case{"systemd:web", "systemd:web"}}) {
    const auto bind = parse_bind(written, "/spec");
    ASSERT_TRUE(bind.ok()) << written;
    EXPECT_EQ(bind.value().text, text);
  }
  EXPECT_EQ(parse_bind("[::1]:80", "/").value().host, "::1");
  EXPECT_EQ(parse_bind("unix:x", "/").value().path, "/x");
}

TEST(Bind, OthersAreRefused) {
  for (const char* written : {"",
                              "80",
                              ":80",
                              "*:80",
                              "localhost:80",
                              "::1:80",
                              "[::1]",
                              "127.0.0.1",
                              "127.0.0.1:",
                              "127.0.0.1:0",
                              "127.0.0.1:65536",
                              "127.0.0.1:+1",
                              "127.1:80",
                              "[127.0.0.1]:80",
                              "[]:80",
                              "1.2.3.4.5:80",
                              "unix:",
                              "unix:/x/",
                              "systemd:",
                              "systemd:a:b",
                              "example.org:80",
                              "127.0.0.1:80 "})
    EXPECT_FALSE(parse_bind(written, "/spec").ok()) << written;
  EXPECT_FALSE(parse_bind("unix:/" + std::string(107, 'x'), "/spec").ok());
  EXPECT_TRUE(parse_bind("unix:/" + std::string(106, 'x'), "/spec").ok());
}

TEST(Listener, AccessLogOfAnyMode) {
  const auto read = [](const std::string& key) {
    return good("[app.web]\nrun='x'\n[listen.web-2]\nbind='127.0.0.1:80'\nto='web'\n" + key)
        .listeners.at(0)
        .access_log;
  };
  EXPECT_EQ(read(""), AccessLogFormat::off);
  EXPECT_EQ(read("access_log = 'off'"), AccessLogFormat::off);
  EXPECT_EQ(read("access_log = 'common'"), AccessLogFormat::common);
  EXPECT_EQ(read("access_log = 'combined'"), AccessLogFormat::combined);
  EXPECT_EQ(read("access_log = 'json'\nmode = 'tcp'"), AccessLogFormat::json);
  EXPECT_FALSE(good("[app.web]\nrun='x'\n[listen.web]\nbind='127.0.0.1:80'\nto='web'\naccess_log='json'")
                   .listeners.at(0) ==
               good("[app.web]\nrun='x'\n[listen.web]\nbind='127.0.0.1:80'\nto='web'").listeners.at(0));
}

TEST(Listener, AnAccessLogIsNoReplicasLog) {
  const std::string text =
      "[app.access-web]\nrun='x'\n[listen.web-2]\nbind='127.0.0.1:80'\nto='access-web'\n";
  EXPECT_EQ(good(text).listeners.size(), 1U);
  EXPECT_EQ(good(text + "access_log = 'off'").listeners.size(), 1U);
  EXPECT_THAT(
      complaints(text + "access_log = 'json'"),
      ElementsAre("6:14 access-web-2.log is also the log of access-web/2 | another name for the listener or "
                  "the app keeps them apart"));
}

TEST(ShortListen, EachFormAndItsName) {
  const Spec spec = good("[app.web]\nrun='x'\nlisten = [8080, 'tcp://[::1]:81', 'unix:s', '0.0.0.0:82']");
  ASSERT_EQ(spec.listeners.size(), 4U);
  EXPECT_EQ(spec.listeners[0].name, "web");
  EXPECT_EQ(spec.listeners[0].bind[0].text, "127.0.0.1:8080");
  EXPECT_EQ(spec.listeners[0].mode, ListenMode::http);
  EXPECT_EQ(spec.listeners[1].name, "web-2");
  EXPECT_EQ(spec.listeners[1].mode, ListenMode::tcp);
  EXPECT_EQ(spec.listeners[1].bind[0].text, "[::1]:81");
  EXPECT_EQ(spec.listeners[2].bind[0].path, "/spec/s");
  EXPECT_EQ(spec.listeners[3].name, "web-4");
  EXPECT_EQ(spec.apps[0].port.kind, PortKind::automatic);
}

TEST(Listener, EveryKeyReachesTheModel) {
  const Spec spec = good(R"([app.web]
run = 'x'
[listen.front]
bind = ['127.0.0.1:80', 'systemd:http']
mode = 'tcp'
to = 'web'
balance = 'round-robin'
retries = 0
timeout = { connect = '1ms', head = '2ms', idle = '3ms', keepalive = '4ms', response = '5ms', tunnel = '6ms', send = '7ms' }
queue = { size = 5, timeout = '0s' }
proxy_protocol = { in = true, out = 'v2' }
max_conns = 7
max_in_flight = 8
)");
  const Listener& front = *spec.find_listener("front");
  EXPECT_EQ(front.bind.size(), 2U);
  EXPECT_EQ(front.mode, ListenMode::tcp);
  EXPECT_EQ(front.retries, 0);
  EXPECT_EQ(front.timeout,
            (ListenTimeouts{Millis(1), Millis(2), Millis(3), Millis(4), Millis(5), Millis(6), Millis(7)}));
  EXPECT_EQ(front.proxy_protocol, (ProxyProtocol{.in = true, .out = ProxyProtocol::Version::v2}));
  EXPECT_EQ(front.max_conns, 7);
  EXPECT_EQ(front.max_in_flight, 8);
  EXPECT_EQ(front.queue_size, 5);
  EXPECT_EQ(front.queue_timeout, Millis(0));
  EXPECT_EQ(spec.apps[0].port.kind, PortKind::automatic);
  const Spec http = good("[app.web]\nrun='x'\n[listen.f]\nbind='127.0.0.1:80'\nto='web'\nbody_max='1MiB'");
  EXPECT_EQ(http.listeners[0].body_max, 1048576U);
  EXPECT_EQ(http.listeners[0].timeout, ListenTimeouts{});
  EXPECT_EQ(http.listeners[0].queue_size, 1024);
  EXPECT_EQ(http.listeners[0].retries, 2);
}

struct Wrong {
  const char* keys;
  const char* complaint;
};

TEST(Listener, Routes) {
  const Spec spec = good(
      "[app.web]\nrun='x'\n[app.api]\nrun='y'\n[listen.f]\nbind='127.0.0.1:80'\ntimeout={response='7s',send='"
      "8s'}\n"
      "[[listen.f.route]]\nhost='Example.ORG.'\npath='/api/'\nto='api'\nweight=9\ntimeout='3s'\n"
      "[[listen.f.route]]\nhost='*.example.org'\nredirect='https://{host}{uri}'\n"
      "[[listen.f.route]]\nhost='*'\nrespond={status=404,body='no'}\n"
      "[[listen.f.route]]\npath='/x'\nto='web'\ntimeout={connect='5s'}\n");
  const Listener& front = spec.listeners[0];
  EXPECT_EQ(front.app, "");
  EXPECT_THAT(front.apps(), ElementsAre("api", "web"));
  ASSERT_EQ(front.routes.size(), 4U);
  EXPECT_EQ(front.routes[0].host, "example.org");
  EXPECT_EQ(front.routes[0].path, "/api");
  EXPECT_EQ(front.routes[0].weight, 9);
  EXPECT_EQ(front.routes[0].timeout.response, Millis(3000));
  EXPECT_EQ(front.routes[0].timeout.send, Millis(8000));
  EXPECT_EQ(front.routes[1].redirect->text(), "https://{host}{uri}");
  EXPECT_EQ(front.routes[1].path, "/");
  EXPECT_EQ(front.routes[2].host, "");
  EXPECT_EQ(front.routes[2].respond->status, 404);
  EXPECT_EQ(front.routes[2].respond->type, "text/plain; charset=utf-8");
  EXPECT_EQ(front.routes[3].timeout.connect, Millis(5000));
  EXPECT_EQ(front.routes[3].timeout.response, Millis(7000));
  // An app that only a route leads to needs a port like any other.
  EXPECT_EQ(spec.find_app("api")->port.kind, PortKind::automatic);
}

TEST(Listener, HeadersAndTrustedProxies) {
  const Spec spec = good(
      "[app.web]\nrun='x'\n[listen.f]\nbind='127.0.0.1:80'\nto='web'\ntrusted_proxies=['10.0.0.0/8','::1']\n"
      "headers={set={Host='inner',X-A='b'},add={X-C=['d','e']},remove=['X-F','Cookie']}\n"
      "response_headers={add={Set-Cookie='a=b'}}\n");
  const Listener& front = spec.listeners[0];
  EXPECT_THAT(front.headers.set, ElementsAre(HeaderField{"Host", "inner"}, HeaderField{"X-A", "b"}));
  EXPECT_THAT(front.headers.add, ElementsAre(HeaderField{"X-C", "d"}, HeaderField{"X-C", "e"}));
  EXPECT_THAT(front.headers.remove, ElementsAre("x-f", "cookie"));
  EXPECT_THAT(front.response_headers.add, ElementsAre(HeaderField{"Set-Cookie", "a=b"}));
  ASSERT_EQ(front.trusted_proxies.size(), 2U);
  std::array<std::uint8_t, 16> ten{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 2, 3};
  EXPECT_TRUE(front.trusted_proxies[0].contains(ten));
  ten[12] = 11;
  EXPECT_FALSE(front.trusted_proxies[0].contains(ten));
  EXPECT_EQ(front.trusted_proxies[1].bits, 128);
}

TEST(Listener, BalanceStickyAndEject) {
  const auto front = [](const std::string& keys) {
    return good("[app.web]\nrun='x'\n[listen.f]\nbind='127.0.0.1:80'\nto='web'\n" + keys).listeners[0];
  };
  using Kind = Balance::Kind;
  using Key = Balance::Key;
  EXPECT_EQ(front("").balance, Balance{});
  EXPECT_EQ(front("").eject, Eject{});
  EXPECT_EQ(front("").sticky_cookie, "");
  EXPECT_EQ(front("balance='round-robin'").balance.kind, Kind::round_robin);
  EXPECT_EQ(front("balance='least-conn'").balance.kind, Kind::least_conn);
  EXPECT_EQ(front("balance='p2c'").balance.kind, Kind::p2c);
  EXPECT_EQ(front("balance='hash:client'").balance, (Balance{.kind = Kind::hash, .key = Key::client}));
  EXPECT_EQ(front("balance='hash:client'\nmode='tcp'").balance,
            (Balance{.kind = Kind::hash, .key = Key::client}));
  EXPECT_EQ(front("balance='hash:path'").balance, (Balance{.kind = Kind::hash, .key = Key::path}));
  EXPECT_EQ(front("balance='hash:header:X-User'").balance,
            (Balance{.kind = Kind::hash, .key = Key::header, .name = "X-User"}));
  EXPECT_EQ(front("balance='hash:cookie:id'").balance,
            (Balance{.kind = Kind::hash, .key = Key::cookie, .name = "id"}));
  EXPECT_EQ(front("sticky={cookie='id'}").sticky_cookie, "id");
  EXPECT_EQ(front("eject=false").eject, std::nullopt);
  EXPECT_EQ(front("eject={}").eject, Eject{});
  EXPECT_EQ(front("eject={fails=2,time='5s'}").eject, (Eject{.fails = 2, .time = Millis(5000)}));
}

TEST(Listener, WrongValues) {
  const std::string head = "[app.web]\nrun='x'\n[listen.f]\nbind='127.0.0.1:80'\nto='web'\n";
  for (const auto& [keys, complaint] : {
           Wrong{"mode = 'direct'", "6:8 'direct' is not in this version"},
           Wrong{"mode = 'udp'", "6:8 'udp' is not one of \"http\", \"tcp\""},
           Wrong{"balance = 'least-time'", "6:11 'least-time' is not in this version"},
           Wrong{"balance = 'random'",
                 "6:11 'random' is not one of \"round-robin\", \"least-conn\", \"p2c\", \"hash:client\""},
           Wrong{"balance = 'hash:ip'",
                 "6:11 'ip' is nothing to hash by | hash:client, hash:path, hash:header:NAME or "
                 "hash:cookie:NAME"},
           Wrong{"balance = 'hash:header:'", "6:11 '' is no name of a header field or cookie"},
           Wrong{"balance = 'hash:cookie:a b'", "6:11 'a b' is no name of a header field or cookie"},
           Wrong{"mode = 'tcp'\nbalance = 'hash:path'",
                 "7:11 'hash:path' is for mode \"http\": a tcp stream has no requests"},
           Wrong{"http2 = true", "6:1 'http2' is not in this version"},
           Wrong{"route = {}", "6:9 expected a list of tables: [[listen.NAME.route]], found a table"},
           Wrong{"route = [{}]", "6:10 the route has none of `to`, `redirect` and `respond`"},
           Wrong{"sticky = {}", "6:10 `sticky` has no `cookie`"},
           Wrong{"sticky = { cookie = 'a;b' }", "6:21 'a;b' is no name of a cookie"},
           Wrong{"mode = 'tcp'\nsticky = { cookie = 'a' }",
                 "7:10 'sticky' is for mode \"http\": a tcp stream has no requests"},
           Wrong{"eject = true", "6:9 `eject` is a table { fails, time } or false"},
           Wrong{"eject = { fails = 0 }", "6:19 0 is not in 1..1000"},
           Wrong{"headers = { set = { 'a b' = 'x' } }", "6:21 'a b' is no name of a header field"},
           Wrong{"headers = { set = { Connection = 'x' } }",
                 "6:21 'Connection' is muster's own: it follows from the message and the connection"},
           Wrong{"headers = { remove = 'Host' }", "6:22 a request has one Host field: `set` changes it"},
           Wrong{"headers = { set = { A = 'x', a = 'y' } }", "6:30 'a' is there twice"},
           Wrong{"headers = { add = { A = \"x\\ny\" } }", "6:25 a header field's value has no control bytes"},
           Wrong{"headers = { add = { A = ' x' } }", "6:25 a header field's value has no blanks at its ends"},
           Wrong{"headers = { set = { A = ['x'] } }", "6:25 expected a string, found a list"},
           Wrong{"headers = { sett = {} }", "6:13 unknown key 'sett' | did you mean 'set'?"},
           Wrong{"trusted_proxies = '10.0.0.0/33'", "6:19 '10.0.0.0/33': the number of bits is 0 to 32"},
           Wrong{"trusted_proxies = ['10.0.0.1/8']", "6:20 '10.0.0.1/8' has bits behind the first 8"},
           Wrong{"mode = 'tcp'\nresponse_headers = {}",
                 "7:20 'response_headers' is for mode \"http\": a tcp stream has no requests"},
           Wrong{
               "access_log = 'jsn'",
               "6:14 'jsn' is not one of \"off\", \"common\", \"combined\", \"json\" | did you mean 'json'?"},
           Wrong{"access_log = true", "6:14 expected a string, found true or false"},
           Wrong{"max_conns = 0", "6:13 0 is not in 1..10000000"},
           Wrong{"rate = {}", "6:1 'rate' is not in this version"},
           Wrong{"proxy_protocol = true", "6:18 expected a table { in, out }, found true or false"},
           Wrong{"proxy_protocol = { in = 'v1' }", "6:25 expected true or false, found a string"},
           Wrong{"proxy_protocol = { out = 'v3' }",
                 "6:26 'v3' is not one of \"v1\", \"v2\" | did you mean 'v1'?"},
           Wrong{"retries = 11", "6:11 11 is not in 0..10"},
           Wrong{"timeout = '5s'", "6:11 expected a table, found a string"},
           Wrong{"timeout = { head = '0s' }", "6:20 '0s' is too short: at least 1ms"},
           Wrong{"timeout = { haed = '1s' }", "6:13 unknown key 'haed' | did you mean 'head'?"},
           Wrong{"queue = { size = -1 }", "6:18 -1 is not in 0..1000000"},
           Wrong{"mode = 'tcp'\nbody_max = '1MiB'",
                 "7:12 'body_max' is for mode \"http\": a tcp stream has no requests"},
           Wrong{"body_max = 100", "6:12 a size needs a unit | did you mean \"100MiB\" or \"100B\"?"},
           Wrong{"[listen.g]\nbind = []\nto = 'web'", "7:8 a listener needs an address"},
           Wrong{"[listen.g]\nto = 'web'", "6:9 listener 'g' has no `bind`"},
           Wrong{"[listen.g]\nbind = '127.0.0.1:81'", "6:9 listener 'g' has neither `to` nor `route`"},
           Wrong{"[listen.g]\nbind = '127.0.0.1:81'\nto = 'wbe'",
                 "8:6 there is no app 'wbe' | did you mean 'web'?"},
           Wrong{"[listen.g]\nbind = '127.0.0.1:80'\nto = 'web'",
                 "7:8 127.0.0.1:80 is already defined at /spec/muster.toml:4:6"},
       })
    EXPECT_THAT(complaints(head + keys), ElementsAre(complaint)) << keys;
}

TEST(ShortListen, WrongValues) {
  for (const auto& [keys, complaint] : {
           Wrong{"listen = ':80'",
                 "3:10 ':80' does not say which address | write 80 or \"127.0.0.1:80\" for this host alone, "
                 "\"0.0.0.0:80\" for everybody"},
           Wrong{"listen = 'localhost:80'",
                 "3:10 'localhost' is no numeric address | did you mean \"127.0.0.1:80\"?"},
           Wrong{"listen = '*:80'", "3:10 '*' is no numeric address | did you mean \"0.0.0.0:80\"?"},
           Wrong{"listen = '::1:80'", "3:10 '::1' is no numeric address | did you mean \"[::1]:80\"?"},
           Wrong{"listen = 'http://127.0.0.1:80'",
                 "3:10 'http://127.0.0.1:80' is no address | did you mean \"127.0.0.1:80\"? A bare address "
                 "means HTTP"},
           Wrong{"listen = 'https://127.0.0.1:80'",
                 "3:10 the short form has no place for a certificate | write a [listen.NAME] with `tls = { "
                 "cert, key }`"},
           Wrong{"listen = '8080'",
                 "3:10 '8080' does not say which address | did you mean 8080, without quotes, or "
                 "\"127.0.0.1:8080\"?"},
           Wrong{"listen = 0", "3:10 0 is not in 1..65535"},
           Wrong{"listen = true", "3:10 expected an address or a port, found true or false"},
           Wrong{"listen = 80\nport = 'none'",
                 "4:8 a listener leads to app 'a', which then needs a port | port = \"auto\""},
           Wrong{"listen = [80, 80]", "3:15 127.0.0.1:80 is already defined at /spec/muster.toml:3:11"},
           Wrong{"listen = 80\n[listen.a]\nbind = 81\nto = 'a'", "5:8 expected a string, found an integer"},
       })
    EXPECT_THAT(app_complaints(keys), testing::Contains(complaint)) << keys;
}

TEST(ShortListen, ANameInTwoPlacesNamesBoth) {
  EXPECT_THAT(app_complaints("listen = 80\n[listen.a]\nbind = '127.0.0.1:81'\nto = 'a'"),
              ElementsAre("4:9 listener 'a' is already defined at /spec/muster.toml:3:10"));
}

}  // namespace
}  // namespace muster::spec
