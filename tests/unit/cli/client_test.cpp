#include "cli/client.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace muster::cli {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;

// A control socket that answers each connection with the same bytes and keeps what it was asked.
class FakeDaemon {
 public:
  enum class After { close, stay_open };

  explicit FakeDaemon(std::string answer, After after = After::close)
      : answer_(std::move(answer)), after_(after) {
    std::string pattern = testing::TempDir() + "muster-client-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
    path_ = folder_ + "/d.sock";
    listener_ = Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path_.data(), path_.size());
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listener_.get(), 8), 0);
    thread_ = std::thread([this] { serve(); });
  }
  ~FakeDaemon() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
    std::filesystem::remove_all(folder_);
  }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] const std::string& asked() {  // after the exchange
    return asked_;
  }

 private:
  void serve() {
    while (true) {
      const Fd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!client) return;
      std::string request;
      std::array<char, 4096> buffer{};
      while (!is_whole(request)) {
        const ssize_t count = ::recv(client.get(), buffer.data(), buffer.size(), 0);
        if (count <= 0) break;
        request.append(buffer.data(), static_cast<std::size_t>(count));
      }
      if (request.empty()) continue;  // only looked whether somebody answers
      asked_ = request;
      // In two pieces, so that the client has to read more than once.
      const std::size_t half = answer_.size() / 2;
      ::send(client.get(), answer_.data(), half, MSG_NOSIGNAL);
      ::send(client.get(), answer_.data() + half, answer_.size() - half, MSG_NOSIGNAL);
      if (after_ == After::stay_open) ::recv(client.get(), buffer.data(), buffer.size(), 0);
    }
  }
  static bool is_whole(const std::string& request) {
    const std::size_t end = request.find("\r\n\r\n");
    if (end == std::string::npos) return false;
    const std::size_t at = request.find("Content-Length: ");
    const std::size_t length = at == std::string::npos ? 0 : std::stoul(request.substr(at + 16));
    return request.size() >= end + 4 + length;
  }

  const std::string answer_;
  const After after_;
  std::string folder_, path_, asked_;
  Fd listener_;
  std::thread thread_;
};

const std::string ok = "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{\"code\":0} ";
const std::string two_lines =
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{\"a\":1}\n{\r\n6\r\n\"b\":2}\r\n1\r\n\n\r\n";

TEST(Client, GetsAndPosts) {
  FakeDaemon daemon(ok);
  const Client client = Client::at(daemon.path()).value();
  EXPECT_EQ(client.daemon_pid(), ::getpid());
  const Answer answer = client.post("/v1/apply", "{\"wait\":true}", milliseconds(20'000)).value();
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, "{\"code\":0} ");
  EXPECT_THAT(daemon.asked(), testing::StartsWith("POST /v1/apply HTTP/1.1\r\nHost: muster\r\n"));
  EXPECT_THAT(daemon.asked(), HasSubstr("Content-Length: 13\r\n\r\n{\"wait\":true}"));
  EXPECT_EQ(client.get("/v1/status").value().status, 200);
}

TEST(Client, AnAnswerThatNeverComesEndsAtTheDeadline) {
  FakeDaemon daemon("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", FakeDaemon::After::stay_open);
  const auto answer = Client::at(daemon.path()).value().get("/v1/status", milliseconds(50));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ExitCode::timed_out);
}

TEST(Client, ACutAnswerIsNoAnswer) {
  FakeDaemon daemon("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
  const auto answer = Client::at(daemon.path()).value().get("/v1/status");
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ExitCode::unreachable);
}

TEST(Client, AStreamComesLineByLine) {
  FakeDaemon daemon(two_lines + "0\r\n\r\n");
  std::vector<std::string> lines;
  const Status done = Client::at(daemon.path())
                          .value()
                          .stream("/v1/events", milliseconds(20'000), [&](const std::string& line) {
                            lines.push_back(line);
                            return true;
                          });
  EXPECT_TRUE(done);
  EXPECT_THAT(lines, ElementsAre("{\"a\":1}", "{\"b\":2}"));
}

TEST(Client, AStreamEndsWhenItsReaderHasEnough) {
  FakeDaemon daemon(two_lines, FakeDaemon::After::stay_open);
  int seen = 0;
  EXPECT_TRUE(
      Client::at(daemon.path()).value().stream("/v1/events?follow=1", std::nullopt, [&](const std::string&) {
        return ++seen < 2;
      }));
  EXPECT_EQ(seen, 2);
}

TEST(Client, ARefusedStreamCarriesTheSentence) {
  FakeDaemon daemon("HTTP/1.1 404 Not Found\r\nContent-Length: 24\r\n\r\n{\"error\":\"no app 'x'\"}  ");
  const Status done =
      Client::at(daemon.path())
          .value()
          .stream("/v1/logs?app=x", milliseconds(20'000), [](const std::string&) { return true; });
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().message, "no app 'x'");
  EXPECT_EQ(done.error().code, ExitCode::failed);
}

TEST(Client, FindsTheFirstThatAnswersAndElseNamesAll) {
  FakeDaemon daemon(ok);
  const Surroundings around{.cwd = "/", .uid = ::getuid(), .runtime_dir = ""};
  const std::vector<SocketCandidate> candidates{{"/nowhere/a.sock", "of /srv/muster.toml"},
                                                {daemon.path(), "the system's"}};
  EXPECT_EQ(Client::find(candidates, around).value().path(), daemon.path());
  const auto none =
      Client::find({{"/nowhere/a.sock", "of /srv/muster.toml"}, {"/nowhere/b.sock", "the system's"}}, around);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ExitCode::unreachable);
  EXPECT_THAT(none.error().message,
              HasSubstr("/nowhere/a.sock (of /srv/muster.toml): No such file or directory"));
  EXPECT_THAT(none.error().message, HasSubstr("/nowhere/b.sock (the system's)"));
}

TEST(Client, AStaleSocketIsUnreachable) {
  std::string path;
  {
    FakeDaemon daemon(ok);
    path = daemon.path();
  }
  EXPECT_FALSE(Client::at(path));
}

TEST(Client, QueriesAreEncoded) {
  EXPECT_EQ(query_text({}), "");
  EXPECT_EQ(query_text({{"app", "web"}, {"ordinal", std::nullopt}, {"since", "2026-01-01T00:00:00+01:00"}}),
            "?app=web&since=2026-01-01T00%3A00%3A00%2B01%3A00");
}

TEST(Client, ARefusalIsASentence) {
  EXPECT_EQ(refusal({403, "{\"error\":\"not yours\"}"}).code, ExitCode::not_permitted);
  EXPECT_EQ(refusal({400, "{\"error\":\"bad\"}"}).message, "bad");
  EXPECT_EQ(refusal({500, "oops"}).message, "the daemon answers 500");
}

}  // namespace
}  // namespace muster::cli
