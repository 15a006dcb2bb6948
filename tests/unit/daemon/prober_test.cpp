#include "health/prober.h"

#include <sys/un.h>
#include <unistd.h>

#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "support/tcp.h"
#include "support/temp_folder.h"
#include "support/uv_loop.h"

namespace muster::health {
namespace {

using testing::HasSubstr;
using testing_support::listen_on;
using testing_support::UvLoop;

// Serves one connection: takes what comes, sends `answer`, and closes (or holds on until the end when `hold`).
class OneAnswer {
 public:
  OneAnswer(Fd listening, std::string answer, bool hold = false)
      : thread_([fd = std::move(listening), text = std::move(answer), hold, this] {
          fd_set readable;
          FD_ZERO(&readable);
          FD_SET(fd.get(), &readable);
          timeval deadline{.tv_sec = 20, .tv_usec = 0};
          if (::select(fd.get() + 1, &readable, nullptr, nullptr, &deadline) != 1) return;
          const Fd client(::accept4(fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
          char buffer[2048];
          const auto got = ::recv(client.get(), buffer, sizeof buffer, 0);
          if (got > 0) request_.assign(buffer, static_cast<std::size_t>(got));
          ::send(client.get(), text.data(), text.size(), MSG_NOSIGNAL);
          if (hold) ::recv(client.get(), buffer, sizeof buffer, 0);  // until the other side closes
        }) {}
  ~OneAnswer() { join(); }
  OneAnswer(const OneAnswer&) = delete;
  OneAnswer& operator=(const OneAnswer&) = delete;
  void join() {
    if (thread_.joinable()) thread_.join();
  }
  const std::string& request() {
    join();
    return request_;
  }

 private:
  std::string request_;
  std::thread thread_;
};

struct Probing {
  UvLoop loop;
  Prober prober{loop.get()};
  std::optional<Outcome> outcome;

  Outcome run(NetworkProbe probe) {
    outcome.reset();
    prober.start(std::move(probe), [this](Outcome found) { outcome = std::move(found); });
    EXPECT_FALSE(outcome) << "answered inside the call";
    EXPECT_TRUE(loop.run_until([this] { return outcome.has_value(); }));
    return outcome.value_or(Outcome{});
  }
};

NetworkProbe probe_of(std::uint16_t port, std::optional<std::string> path = std::nullopt) {
  NetworkProbe probe;
  probe.port = port;
  probe.http_path = std::move(path);
  probe.timeout = Millis{15000};
  return probe;
}

TEST(Prober, AnOpenPortIsEnoughForTcp) {
  Probing probing;
  const auto listening = listen_on();
  const Outcome outcome = probing.run(probe_of(listening.port));
  EXPECT_EQ(outcome.code, ProbeCode::ok);
  EXPECT_EQ(outcome.address, "127.0.0.1");
}

TEST(Prober, TheOtherLoopbackAddressIsTriedToo) {
  Probing probing;
  const auto listening = listen_on(true);
  const Outcome outcome = probing.run(probe_of(listening.port));
  EXPECT_EQ(outcome.code, ProbeCode::ok);
  EXPECT_EQ(outcome.address, "::1");
}

TEST(Prober, AClosedPortIsRefused) {
  Probing probing;
  std::uint16_t port = 0;
  {
    const auto listening = listen_on();
    port = listening.port;
  }
  const Outcome outcome = probing.run(probe_of(port));
  EXPECT_EQ(outcome.code, ProbeCode::refused);
  EXPECT_THAT(outcome.sentence, HasSubstr("nothing listens on port"));
}

TEST(Prober, AnExpectedStatusIsHealthy) {
  Probing probing;
  auto listening = listen_on();
  const auto port = listening.port;
  OneAnswer server(std::move(listening.fd), "HTTP/1.1 204 No Content\r\n\r\n", true);
  EXPECT_EQ(probing.run(probe_of(port, "/healthz")).code, ProbeCode::ok);
  EXPECT_THAT(server.request(), HasSubstr("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:"));
  EXPECT_THAT(server.request(), HasSubstr("Connection: close\r\n"));
}

// A listening unix socket.
Fd listen_at(const std::string& path) {
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  path.copy(static_cast<char*>(at.sun_path), sizeof at.sun_path - 1);
  EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at), 0);
  EXPECT_EQ(::listen(fd.get(), 8), 0);
  return fd;
}

TEST(Prober, ASocketIsLookedAtLikeAPort) {
  Probing probing;
  const testing_support::TempFolder folder;
  NetworkProbe probe;
  probe.socket = folder.path() + "/sock";
  probe.timeout = Millis{15000};
  Outcome outcome = probing.run(probe);
  EXPECT_EQ(outcome.code, ProbeCode::refused);
  EXPECT_EQ(outcome.sentence, "nothing listens on the socket " + probe.socket);
  {
    const Fd listening = listen_at(probe.socket);
    outcome = probing.run(probe);
    EXPECT_EQ(outcome.code, ProbeCode::ok);
    EXPECT_FALSE(outcome.address);
  }
  EXPECT_EQ(probing.run(probe).code, ProbeCode::refused) << "nobody listens any more";
  ASSERT_EQ(::unlink(probe.socket.c_str()), 0);
  OneAnswer server(listen_at(probe.socket), "HTTP/1.1 204 No Content\r\n\r\n", true);
  probe.http_path = "/healthz";
  EXPECT_EQ(probing.run(probe).code, ProbeCode::ok);
  EXPECT_THAT(server.request(), HasSubstr("GET /healthz HTTP/1.1\r\nHost: localhost\r\n"));
}

// Its user may put a link into the folder, to a socket that answers muster more than it.
TEST(Prober, ASocketOfAnotherUserThanItsFolderIsNotAsked) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root: gives a folder to another user";
  Probing probing;
  const testing_support::TempFolder folder;
  const testing_support::TempFolder mighty;
  const Fd listening = listen_at(mighty.path() + "/sock");
  NetworkProbe probe;
  probe.socket = folder.path() + "/sock";
  probe.timeout = Millis{15000};
  ASSERT_EQ(::symlink((mighty.path() + "/sock").c_str(), probe.socket.c_str()), 0);
  EXPECT_EQ(probing.run(probe).code, ProbeCode::ok);
  constexpr uid_t nobody = 65534;
  ASSERT_EQ(::chown(folder.path().c_str(), nobody, static_cast<gid_t>(-1)), 0);
  const Outcome outcome = probing.run(probe);
  EXPECT_EQ(outcome.code, ProbeCode::error);
  EXPECT_EQ(outcome.sentence, "the socket " + probe.socket + " is of another user than its folder");
}

TEST(Prober, APrefaceComesFirst) {
  Probing probing;
  auto listening = listen_on();
  NetworkProbe probe = probe_of(listening.port, "/healthz");
  probe.preface = "PROXY UNKNOWN\r\n";
  OneAnswer server(std::move(listening.fd), "HTTP/1.1 204 No Content\r\n\r\n", true);
  EXPECT_EQ(probing.run(std::move(probe)).code, ProbeCode::ok);
  EXPECT_THAT(server.request(), testing::StartsWith("PROXY UNKNOWN\r\nGET /healthz HTTP/1.1\r\n"));
}

TEST(Prober, ABadStatusTellsWhatTheAppSaid) {
  Probing probing;
  auto listening = listen_on();
  const auto port = listening.port;
  OneAnswer server(std::move(listening.fd), "HTTP/1.1 503 No\r\nContent-Length: 7\r\n\r\nno db\r\n");
  const Outcome outcome = probing.run(probe_of(port, "/healthz"));
  EXPECT_EQ(outcome.code, ProbeCode::bad_status);
  EXPECT_EQ(outcome.sentence, "GET /healthz answered 503");
  EXPECT_EQ(outcome.output, "no db\r\n");
}

TEST(Prober, StatusesOutsideTheListAreBad) {
  Probing probing;
  auto listening = listen_on();
  NetworkProbe probe = probe_of(listening.port, "/");
  probe.expect = {spec::StatusRange{.from = 500, .to = 503}};
  OneAnswer server(std::move(listening.fd), "HTTP/1.1 503 No\r\n\r\n");
  EXPECT_EQ(probing.run(std::move(probe)).code, ProbeCode::ok);
}

TEST(Prober, SomethingElseThanHttpIsSaid) {
  Probing probing;
  auto listening = listen_on();
  const auto port = listening.port;
  OneAnswer server(std::move(listening.fd), "SSH-2.0-OpenSSH_9\r\n");
  EXPECT_EQ(probing.run(probe_of(port, "/")).code, ProbeCode::bad_answer);
}

TEST(Prober, AConnectionThatEndsWithoutAnAnswerIsClosed) {
  Probing probing;
  auto listening = listen_on();
  const auto port = listening.port;
  OneAnswer server(std::move(listening.fd), "");
  EXPECT_EQ(probing.run(probe_of(port, "/")).code, ProbeCode::closed);
}

TEST(Prober, NoAnswerEndsAtTheTimeout) {
  Probing probing;
  const auto listening = listen_on();  // the kernel accepts, nobody answers
  NetworkProbe probe = probe_of(listening.port, "/");
  probe.timeout = Millis{30};
  const Outcome outcome = probing.run(std::move(probe));
  EXPECT_EQ(outcome.code, ProbeCode::timeout);
  EXPECT_THAT(outcome.sentence, HasSubstr("no answer within 30 ms"));
}

TEST(Prober, AVetoEndsTheProbeBeforeAByteIsSent) {
  Probing probing;
  const auto listening = listen_on();
  NetworkProbe probe = probe_of(listening.port, "/");
  std::string asked;
  probe.veto = [&asked](const std::string& address) {
    asked = address;
    return Outcome{.code = ProbeCode::foreign, .sentence = "somebody else's", .output = {}, .address = {}};
  };
  EXPECT_EQ(probing.run(std::move(probe)).code, ProbeCode::foreign);
  EXPECT_EQ(asked, "127.0.0.1");
  const Fd client(::accept4(listening.fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
  char byte = 0;
  EXPECT_EQ(::recv(client.get(), &byte, 1, 0), 0);
}

TEST(Prober, ACancelledProbeSaysNothing) {
  UvLoop loop;
  Prober prober(loop.get());
  const auto listening = listen_on();
  bool told = false;
  const auto id = prober.start(probe_of(listening.port, "/"), [&told](Outcome) { told = true; });
  prober.cancel(id);
  prober.start(probe_of(listening.port, "/"), [&told](Outcome) { told = true; });
  loop.drain();  // one is under way when the prober goes
  EXPECT_FALSE(told);
}

}  // namespace
}  // namespace muster::health
