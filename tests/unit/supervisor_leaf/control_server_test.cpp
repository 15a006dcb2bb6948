#include "supervisor/control_server.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>

#include "base/limits.h"
#include "control_client.h"
#include "leaf_rig.h"

namespace muster::supervisor {
namespace {

using Reply = std::shared_ptr<ControlReply>;

class ControlServerTest : public testing::Test {
 protected:
  void serve(ControlHandler handler, ControlTimes times = {}) {
    ControlServerOptions options;
    options.path = path();
    options.times = times;
    auto listening = ControlServer::listen(loop.get(), std::move(options), std::move(handler));
    ASSERT_TRUE(listening.ok()) << listening.error().message;
    server = std::move(listening).value();
  }
  // Answers with what was asked.
  void serve_echo(ControlTimes times = {}) {
    serve(
        [this](const ControlRequest& request, const Reply& reply) {
          last = request;
          ++asked;
          reply->send(200, "{\"path\":\"" + request.path +
                               "\",\"bytes\":" + std::to_string(request.body.size()) + "}");
        },
        times);
  }
  [[nodiscard]] std::string path() const { return folder / "m.sock"; }
  // A new client gets an answer.
  void expect_alive() {
    ControlClient client(loop, path());
    client.send("GET /alive HTTP/1.1\r\n\r\n");
    EXPECT_TRUE(client.receives("\"/alive\"")) << client.received();
  }

  Loop loop;
  TempFolder folder;
  ControlRequest last;
  int asked = 0;
  std::unique_ptr<ControlServer> server;
};

constexpr const char* get_a = "GET /a HTTP/1.1\r\n\r\n";

TEST_F(ControlServerTest, AnswersAndKeepsTheConnection) {
  serve_echo();
  ControlClient client(loop, path());
  client.send("POST /v1/x?a=1 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc");
  ASSERT_TRUE(client.receives("{\"path\":\"/v1/x\",\"bytes\":3}\n")) << client.received();
  EXPECT_EQ(client.received().find("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"), 0U);
  EXPECT_EQ(last.method, "POST");
  EXPECT_EQ(last.query.at("a"), "1");
  EXPECT_EQ(last.peer_pid, getpid());
  EXPECT_EQ(last.peer_uid, geteuid());
  client.forget();
  client.send(get_a);
  ASSERT_TRUE(client.receives("\"/a\""));
  EXPECT_FALSE(client.ended());
  client.send("GET /b HTTP/1.1\r\nConnection: close\r\n\r\n");
  ASSERT_TRUE(client.receives("\"/b\""));
  EXPECT_TRUE(client.sees_end());
}

TEST_F(ControlServerTest, AnswersInOrderWhatComesAtOnce) {
  serve_echo();
  ControlClient client(loop, path());
  std::string all;
  for (int i = 0; i < 3000; ++i) all += "GET /" + std::to_string(i) + " HTTP/1.1\r\n\r\n";
  client.send(all);
  ASSERT_TRUE(client.receives("\"/2999\""));
  std::size_t at = 0;
  for (int i = 0; i < 3000; ++i) {
    at = client.received().find("\"/" + std::to_string(i) + "\"", at);
    ASSERT_NE(at, std::string::npos) << i;
  }
  EXPECT_EQ(asked, 3000);
}

TEST_F(ControlServerTest, AnswersLater) {
  Reply kept;
  serve([&](const ControlRequest&, const Reply& reply) { kept = reply; });
  ControlClient client(loop, path());
  client.send(get_a);
  ASSERT_TRUE(loop.until([&] { return kept != nullptr; }));
  EXPECT_EQ(client.received(), "");
  kept->send(409, "{}");
  kept->send(200, "{\"twice\":1}");  // once is enough
  ASSERT_TRUE(client.receives("409 Conflict"));
  ASSERT_TRUE(client.receives("{}\n"));
  EXPECT_EQ(client.received().find("twice"), std::string::npos);
}

TEST_F(ControlServerTest, AReplyThatIsDroppedIsAnError) {
  serve([](const ControlRequest&, const Reply&) {});
  ControlClient client(loop, path());
  client.send(get_a);
  EXPECT_TRUE(client.receives("500 Internal Server Error"));
  EXPECT_TRUE(client.receives("dropped"));
}

TEST_F(ControlServerTest, HeadHasNoBodyAndOldClientsGetNoChunks) {
  serve_echo();
  ControlClient client(loop, path());
  client.send("HEAD /a HTTP/1.1\r\n\r\nGET /b HTTP/1.0\r\n\r\n");
  ASSERT_TRUE(client.sees_end());
  EXPECT_EQ(client.received().find("\"/a\""), std::string::npos);
  EXPECT_NE(client.received().find("\"/b\""), std::string::npos);
}

TEST_F(ControlServerTest, RefusesByStatusAndCloses) {
  serve_echo();
  struct Case {
    std::string text;
    const char* status;
  };
  for (const Case& c :
       {Case{"GET / HTTP/2.0\r\n\r\n", "400 Bad Request"}, Case{"\x16\x03\x01\r\n\r\n", "400 Bad Request"},
        Case{"GET /" + std::string(100'000, 'x'), "431 "}}) {
    ControlClient client(loop, path());
    client.send(c.text);
    EXPECT_TRUE(client.receives(c.status)) << client.received();
    EXPECT_TRUE(client.sees_end());
  }
  EXPECT_EQ(asked, 0);
  expect_alive();
}

// The client sends on and on: it must still be able to read why, and cost nothing.
TEST_F(ControlServerTest, AGiantRequestIsRefusedWhileItComes) {
  serve_echo();
  ControlClient client(loop, path());
  client.send("POST /a HTTP/1.1\r\nContent-Length: 50000000\r\n\r\n" + std::string(5'000'000, 'x'));
  EXPECT_TRUE(client.receives("413 ")) << client.received();
  EXPECT_TRUE(client.sees_end());
  EXPECT_EQ(asked, 0);
  expect_alive();
}

TEST_F(ControlServerTest, SaysContinueToWhoWaitsForIt) {
  serve_echo();
  ControlClient client(loop, path());
  client.send("POST /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  ASSERT_TRUE(client.receives("HTTP/1.1 100 Continue\r\n\r\n"));
  client.send("hi");
  EXPECT_TRUE(client.receives("\"bytes\":2"));
}

TEST_F(ControlServerTest, AHalfRequestIsNotWaitedForForEver) {
  ControlTimes times;
  times.request = Millis{30};
  serve_echo(times);
  ControlClient silent(loop, path());
  ControlClient half(loop, path());
  half.send("GET /a HT");
  EXPECT_TRUE(half.receives("408 Request Timeout"));
  EXPECT_TRUE(half.sees_end());
  EXPECT_TRUE(silent.sees_end());
  EXPECT_EQ(silent.received(), "");
  EXPECT_EQ(asked, 0);
}

TEST_F(ControlServerTest, AnIdleConnectionEnds) {
  ControlTimes times;
  times.idle = Millis{30};
  serve_echo(times);
  ControlClient client(loop, path());
  client.send(get_a);
  ASSERT_TRUE(client.receives("\"/a\""));
  EXPECT_TRUE(client.sees_end());
}

TEST_F(ControlServerTest, WhoOnlyShutsDownItsSideGetsTheAnswer) {
  Reply kept;
  serve([&](const ControlRequest&, const Reply& reply) { kept = reply; });
  ControlClient client(loop, path());
  client.send(get_a);
  client.end_of_input();
  ASSERT_TRUE(loop.until([&] { return kept != nullptr; }));
  loop.turn();
  kept->send(200, "{}");
  EXPECT_TRUE(client.receives("{}\n"));
  EXPECT_TRUE(client.sees_end());
}

TEST_F(ControlServerTest, TellsWhenTheClientIsGone) {
  Reply kept;
  int gone = 0;
  serve([&](const ControlRequest&, const Reply& reply) {
    kept = reply;
    reply->on_gone([&] { ++gone; });
  });
  ControlClient client(loop, path());
  client.send(get_a);
  ASSERT_TRUE(loop.until([&] { return kept != nullptr; }));
  client.hang_up();
  EXPECT_TRUE(loop.until([&] { return gone == 1; }));
  kept->send(200, "{}");
  kept->wake();
  int late = 0;
  kept->on_gone([&] { ++late; });  // who asks too late is told at once
  EXPECT_EQ(late, 1);
}

TEST_F(ControlServerTest, ToldOnlyWhileTheAnswerIsNotWhole) {
  int gone = 0;
  serve([&](const ControlRequest&, const Reply& reply) {
    reply->on_gone([&] { ++gone; });
    reply->send(200, "{}");
  });
  {
    ControlClient client(loop, path());
    client.send(get_a);
    ASSERT_TRUE(client.receives("{}"));
  }
  loop.turn();
  loop.turn();
  EXPECT_EQ(gone, 0);
}

TEST_F(ControlServerTest, StreamsWhatTheSourceHas) {
  Reply kept;
  std::vector<std::string> lines{"one\n", "two\n"};
  bool over = false;
  std::weak_ptr<ControlReply> weak;
  serve([&](const ControlRequest&, const Reply& reply) {
    weak = reply;
    reply->stream([&](std::string& to) {
      for (const std::string& line : lines) to += line;
      lines.clear();
      return !over;
    });
  });
  ControlClient client(loop, path());
  client.send("GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n");
  ASSERT_TRUE(client.receives("8\r\none\ntwo\n\r\n")) << client.received();
  EXPECT_NE(client.received().find("Transfer-Encoding: chunked"), std::string::npos);
  lines = {"three\n"};
  weak.lock()->wake();
  ASSERT_TRUE(client.receives("6\r\nthree\n\r\n"));
  over = true;
  lines = {"end\n"};
  weak.lock()->wake();
  ASSERT_TRUE(client.receives("4\r\nend\n\r\n0\r\n\r\nHTTP/1.1 200 OK")) << "then the next request";
}

TEST_F(ControlServerTest, ASourceMayAskToBeCalledAgain) {
  std::weak_ptr<ControlReply> weak;
  int calls = 0;
  serve([&](const ControlRequest&, const Reply& reply) {
    weak = reply;
    reply->stream([&](std::string& to) {
      if (++calls < 50) {
        weak.lock()->wake();
        return true;
      }
      to = "done\n";
      return false;
    });
  });
  ControlClient client(loop, path());
  client.send(get_a);
  EXPECT_TRUE(client.receives("done\n"));
  EXPECT_EQ(calls, 50);
}

TEST_F(ControlServerTest, AnOldClientsStreamEndsWithTheConnection) {
  serve([&](const ControlRequest&, const Reply& reply) {
    reply->stream([](std::string& to) {
      to = "x\n";
      return false;
    });
  });
  ControlClient client(loop, path());
  client.send("GET /a HTTP/1.0\r\n\r\n");
  ASSERT_TRUE(client.sees_end());
  EXPECT_TRUE(client.received().ends_with("\r\n\r\nx\n")) << client.received();
}

TEST_F(ControlServerTest, ASlowReaderIsPulledFromAndNotBufferedFor) {
  std::size_t made = 0;
  serve([&](const ControlRequest& request, const Reply& reply) {
    if (request.path == "/alive") return reply->send(200, "\"/alive\"");
    reply->stream([&](std::string& to) {
      to = std::string(10'000, 'x') + "\n";
      made += to.size();
      return made < 30'000'000;
    });
  });
  ControlClient slow(loop, path());
  slow.listen_no_more();
  slow.send(get_a);
  std::size_t before = 1;
  ASSERT_TRUE(loop.until([&] { return made == std::exchange(before, made) && made > 0; }));
  for (int i = 0; i < 100; ++i) loop.turn();
  EXPECT_LT(made, 2'000'000U);  // what a socket holds
  expect_alive();
  slow.listen_again();
  ASSERT_TRUE(slow.receives("0\r\n\r\n"));
  EXPECT_GE(made, 30'000'000U);
  EXPECT_GE(slow.received().size(), made);
}

TEST_F(ControlServerTest, AReaderThatTakesNothingIsLetGo) {
  ControlTimes times;
  times.progress = Millis{50};
  int gone = 0;
  serve(
      [&](const ControlRequest& request, const Reply& reply) {
        reply->on_gone([&] { ++gone; });
        if (request.path == "/big") return reply->send(200, std::string(5'000'000, 'x'));
        reply->stream([&](std::string& to) {
          to = std::string(10'000, 'x');
          return true;
        });
      },
      times);
  ControlClient stuck(loop, path());
  stuck.listen_no_more();
  stuck.send(get_a);
  EXPECT_TRUE(loop.until([&] { return gone == 1; }));
  ControlClient big(loop, path());
  big.listen_no_more();
  big.send("GET /big HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(loop.until([&] { return gone >= 1 && uv_loop_alive(loop.get()) != 0; }));
}

TEST_F(ControlServerTest, AStreamEndsWithItsClient) {
  std::weak_ptr<ControlReply> weak;
  int gone = 0;
  auto token = std::make_shared<int>(1);
  serve([&](const ControlRequest&, const Reply& reply) {
    weak = reply;
    reply->on_gone([&] { ++gone; });
    reply->stream([held = token](std::string&) { return true; });
  });
  ControlClient client(loop, path());
  client.send(get_a);
  ASSERT_TRUE(client.receives("\r\n\r\n"));
  EXPECT_EQ(token.use_count(), 2);
  client.hang_up();
  ASSERT_TRUE(loop.until([&] { return gone == 1; }));
  loop.turn();
  EXPECT_EQ(token.use_count(), 1);
  EXPECT_TRUE(weak.expired());
}

TEST_F(ControlServerTest, FiveHundredIdleClientsAreTurnedAwayButSixtyFour) {
  serve_echo();
  std::vector<std::unique_ptr<ControlClient>> clients;
  for (int i = 0; i < 500; ++i) {
    clients.push_back(std::make_unique<ControlClient>(loop, path()));
    if (!clients.back()->connected()) clients.pop_back();  // the backlog is full for a moment
    loop.turn();
  }
  ASSERT_EQ(clients.size(), 500U);
  ASSERT_TRUE(loop.until([&] {
    return std::count_if(clients.begin(), clients.end(), [](const auto& c) { return c->ended(); }) == 436;
  }));
  std::size_t told = 0;
  for (const auto& client : clients)
    told += client->received().find("503 Service Unavailable") != std::string::npos ? 1U : 0U;
  EXPECT_GE(told, limits::control_clients_max);
  const auto kept = std::find_if(clients.begin(), clients.end(), [](const auto& c) { return !c->ended(); });
  (*kept)->send(get_a);
  EXPECT_TRUE((*kept)->receives("\"/a\""));
  clients.clear();
  // Their places are free again.
  ASSERT_TRUE(loop.until([&] {
    ControlClient client(loop, path());
    client.send("GET /alive HTTP/1.1\r\n\r\n");
    return client.receives("HTTP/1.1") && client.received().find("\"/alive\"") != std::string::npos;
  }));
}

// Whoever has something to say gets a place among any number of those that begin and do not end.
TEST_F(ControlServerTest, WhoStallsGivesWay) {
  serve_echo();
  std::vector<std::unique_ptr<ControlClient>> stalled;
  for (std::size_t i = 0; i < 3 * limits::control_clients_max; ++i) {
    stalled.push_back(std::make_unique<ControlClient>(loop, path()));
    if (!stalled.back()->connected()) stalled.pop_back();  // the backlog is full for a moment
    if (!stalled.empty()) stalled.back()->send("GET /stalled HTT");
    loop.turn();
  }
  for (int i = 0; i < 20; ++i) {
    ControlClient client(loop, path());
    client.send(get_a);
    ASSERT_TRUE(client.receives("\"/a\"")) << client.received();
  }
}

// Has connected, asks when it is told to, and exits with 0 when it is answered.
class OtherProcess {
 public:
  OtherProcess(Loop& loop, const std::string& path) {
    std::array<int, 2> ends{-1, -1};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    ours_.reset(ends[0]);
    Fd its(ends[1]);
    pid_ = fork();
    if (pid_ == 0) be_it(its.get(), path);
    its.reset();
    char connected = 0;
    EXPECT_EQ(read(ours_.get(), &connected, 1), 1);
    EXPECT_EQ(poll_.start(loop.get(), ours_.get(), UV_READABLE, [this] { ended_ = true; }), 0);
  }
  OtherProcess(const OtherProcess&) = delete;
  OtherProcess& operator=(const OtherProcess&) = delete;
  ~OtherProcess() {
    if (pid_ > 0) static_cast<void>(exit_code());
  }
  void ask() { EXPECT_EQ(write(ours_.get(), "!", 1), 1); }
  [[nodiscard]] bool ended() const { return ended_; }
  int exit_code() {
    int status = 0;
    if (!ended_) kill(pid_, SIGKILL);
    waitpid(std::exchange(pid_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  [[noreturn]] static void be_it(int told, const std::string& path) {
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    std::array<char, 12> answer{};
    const std::string_view question = get_a;
    if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) _exit(99);
    if (write(told, "c", 1) != 1 || read(told, answer.data(), 1) != 1) _exit(98);
    if (write(fd, question.data(), question.size()) < 0) _exit(97);
    if (recv(fd, answer.data(), answer.size(), MSG_WAITALL) != static_cast<ssize_t>(answer.size())) _exit(96);
    _exit(std::string_view(answer.data(), answer.size()) == "HTTP/1.1 200" ? 0 : 95);
  }

  Fd ours_;
  UvPoll poll_;
  pid_t pid_ = -1;
  bool ended_ = false;
};

// A client that does not run for a while between connect(2) and its question.
TEST_F(ControlServerTest, ACrowdOfOneProcessGivesWayToAnother) {
  serve_echo();
  OtherProcess slow(loop, path());
  std::vector<std::unique_ptr<ControlClient>> crowd;
  for (std::size_t i = 0; i < 4 * limits::control_clients_max; ++i) {
    auto stalled = std::make_unique<ControlClient>(loop, path());
    if (!stalled->connected()) continue;  // the backlog is full for a moment
    stalled->send("GET /stalled HTT");
    crowd.push_back(std::move(stalled));
    loop.turn();
  }
  const auto gave_way = std::ranges::count_if(crowd, [](const auto& client) { return client->ended(); });
  ASSERT_GT(static_cast<std::size_t>(gave_way), limits::control_clients_max);
  slow.ask();
  ASSERT_TRUE(loop.until([&] { return slow.ended(); }));
  EXPECT_EQ(slow.exit_code(), 0);
}

// … also among so many that come in the same moment.
TEST_F(ControlServerTest, WhoHasAskedIsReadBeforeItGivesWay) {
  serve_echo();
  for (int i = 0; i < 5; ++i) {
    ControlClient client(loop, path());
    client.send(get_a);
    std::vector<std::unique_ptr<ControlClient>> crowd;
    for (std::size_t k = 0; k < 100; ++k) {
      auto stalled = std::make_unique<ControlClient>(loop, path());
      if (!stalled->connected()) break;  // the backlog is full of those of before
      stalled->send("GET /stalled HTT");
      crowd.push_back(std::move(stalled));
    }
    EXPECT_TRUE(i > 0 || crowd.size() > limits::control_clients_max);
    EXPECT_TRUE(client.receives("\"/a\"")) << client.received();
  }
}

TEST_F(ControlServerTest, EndsWithClientsInEveryState) {
  Reply kept;
  serve([&](const ControlRequest& request, const Reply& reply) {
    if (request.path == "/wait") kept = reply;
    if (request.path == "/stream") reply->stream([](std::string&) { return true; });
    if (request.path == "/big") reply->send(200, std::string(5'000'000, 'x'));
  });
  ControlClient idle(loop, path()), half(loop, path()), waits(loop, path()), streams(loop, path()),
      big(loop, path());
  big.listen_no_more();
  half.send("GET /");
  waits.send("GET /wait HTTP/1.1\r\n\r\n");
  big.send("GET /big HTTP/1.1\r\n\r\n");
  streams.send("GET /stream HTTP/1.1\r\n\r\n");
  ASSERT_TRUE(streams.receives("\r\n\r\n"));
  ASSERT_TRUE(loop.until([&] { return kept != nullptr; }));
  server.reset();
  EXPECT_FALSE(exists(path()));
  for (ControlClient* client : {&idle, &half, &waits, &streams}) EXPECT_TRUE(client->sees_end());
  kept->send(200, "{}");  // nobody is there
}

TEST_F(ControlServerTest, TheFileIsNoticedAndMadeAgain) {
  serve_echo();
  EXPECT_TRUE(server->still_there());
  ControlClient old(loop, path());
  unlink(path().c_str());
  EXPECT_FALSE(server->still_there());
  ASSERT_TRUE(server->reopen().ok());
  EXPECT_TRUE(server->still_there());
  expect_alive();
  unlink(path().c_str());
  write_file(path(), "somebody else's");
  EXPECT_FALSE(server->still_there());
  EXPECT_FALSE(server->reopen().ok());
  server->close_listener();
  EXPECT_EQ(read_file(path()), "somebody else's");
}

TEST_F(ControlServerTest, ConnectionsOutliveTheListener) {
  serve_echo();
  ControlClient client(loop, path());
  client.send(get_a);
  ASSERT_TRUE(client.receives("\"/a\""));
  server->close_listener();
  EXPECT_FALSE(exists(path()));
  client.send("GET /b HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(client.receives("\"/b\""));
}

}  // namespace
}  // namespace muster::supervisor
