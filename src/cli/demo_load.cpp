#include "cli/demo_load.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>

#include "base/fd.h"
#include "cli/http_answer.h"
#include "fmt/core.h"

namespace muster::cli {

namespace {

// A steady load, not a flood: each request is a connection of its own, and Python answers each in a new thread.
constexpr Millis between_requests{5};

class Wait {
 public:
  explicit Wait(Millis limit) : end_(std::chrono::steady_clock::now() + limit) {}
  // Whether the descriptor became ready in time.
  [[nodiscard]] bool ready(int fd, short events) const {
    while (true) {
      const auto left = std::chrono::ceil<Millis>(end_ - std::chrono::steady_clock::now()).count();
      if (left <= 0) return false;
      pollfd waited{.fd = fd, .events = events, .revents = 0};
      const int count = ::poll(&waited, 1, static_cast<int>(left));
      if (count > 0) return true;
      if (count < 0 && errno != EINTR) return false;
    }
  }

 private:
  Instant end_;
};

Result<Fd> connect_to(std::uint16_t port, const Wait& wait) {
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return system_error("socket", errno);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return fd;
  if (errno != EINPROGRESS) return system_error("connect", errno);
  if (!wait.ready(fd.get(), POLLOUT)) return Error{.message = "connect: no answer in time"};
  int problem = 0;
  socklen_t size = sizeof problem;
  ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &problem, &size);
  if (problem != 0) return system_error("connect", problem);
  return fd;
}

// Some bytes; none at the end of the connection.
Result<std::string> receive(int fd, const Wait& wait) {
  std::array<char, 16384> buffer{};
  while (true) {
    const ssize_t count = ::recv(fd, buffer.data(), buffer.size(), 0);
    if (count >= 0) return std::string(buffer.data(), static_cast<std::size_t>(count));
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return system_error("receive", errno);
    if (!wait.ready(fd, POLLIN)) return Error{.message = "no answer in time"};
  }
}

Status send_text(int fd, const std::string& text) {
  // A few bytes on a fresh connection: they always fit.
  if (::send(fd, text.data(), text.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(text.size()))
    return system_error("send", errno);
  return Unit{};
}

}  // namespace

Result<std::string> http_get(std::uint16_t port, Millis limit) {
  const Wait wait(limit);
  const auto fd = connect_to(port, wait);
  if (!fd) return fd.error();
  const Status sent =
      send_text(fd.value().get(), "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  if (!sent) return sent.error();
  HttpAnswer answer;
  while (!answer.complete()) {
    auto bytes = receive(fd.value().get(), wait);
    if (!bytes) return bytes.error();
    const Status fed = bytes.value().empty() ? answer.end() : answer.feed(bytes.value());
    if (!fed) return fed.error();
  }
  std::string body = answer.take_body();
  if (answer.status() != 200) return Error{.message = fmt::format("status {}: {}", answer.status(), body)};
  while (!body.empty() && body.back() == '\n') body.pop_back();
  return body;
}

Result<std::string> ask_line(std::uint16_t port, const std::string& line, Millis limit) {
  const Wait wait(limit);
  const auto fd = connect_to(port, wait);
  if (!fd) return fd.error();
  if (Status sent = send_text(fd.value().get(), line + "\n"); !sent) return sent.error();
  std::string answer;
  while (answer.find('\n') == std::string::npos) {
    auto bytes = receive(fd.value().get(), wait);
    if (!bytes) return bytes.error();
    if (bytes.value().empty()) return Error{.message = "closed without an answer"};
    answer += bytes.value();
  }
  return answer.substr(0, answer.find('\n'));
}

Load::Load(std::uint16_t port, int clients) {
  // Ctrl-C is for the main thread.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  for (int i = 0; i < clients; ++i) threads_.emplace_back([this, port] { run(port); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Load::~Load() {
  stop();
}

void Load::run(std::uint16_t port) {
  while (!ending_) {
    const auto answer = http_get(port);
    ++requests_;
    if (!answer) {
      ++failed_;
      const std::lock_guard lock(mutex_);
      if (first_error_.empty()) first_error_ = answer.error().message;
    }
    ::poll(nullptr, 0, static_cast<int>(between_requests.count()));
  }
}

Load::Counts Load::stop() {
  ending_ = true;
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  return {.requests = requests_, .failed = failed_, .first_error = first_error_};
}

}  // namespace muster::cli
