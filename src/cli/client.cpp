#include "cli/client.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "boost/json.hpp"
#include "cli/http_answer.h"
#include "fmt/core.h"

namespace muster::cli {

namespace {

constexpr std::size_t body_bytes_max = 64U << 20U;
constexpr std::size_t line_bytes_max = 4U << 20U;

class Deadline {
 public:
  explicit Deadline(std::optional<Millis> limit) {
    if (limit) at_ = std::chrono::steady_clock::now() + *limit;
  }
  // For poll(2): -1 = for ever, 0 = over.
  [[nodiscard]] int left_ms() const {
    if (!at_) return -1;
    const auto left = std::chrono::ceil<Millis>(*at_ - std::chrono::steady_clock::now()).count();
    return static_cast<int>(std::clamp<std::int64_t>(left, 0, 3'600'000));
  }

 private:
  std::optional<Instant> at_;
};

Error lost(const char* what, int error_number) {
  return Error{.message = fmt::format("the control socket: {}: {}", what, errno_text(error_number)),
               .code = ExitCode::unreachable,
               .errno_value = error_number};
}

Status wait_ready(int fd, short events, const Deadline& deadline) {
  while (true) {
    pollfd waited{.fd = fd, .events = events, .revents = 0};
    const int left = deadline.left_ms();
    if (left == 0) return Error{.message = "the daemon did not answer in time", .code = ExitCode::timed_out};
    const int ready = ::poll(&waited, 1, left);
    if (ready > 0) return Unit{};
    if (ready < 0 && errno != EINTR) return lost("poll", errno);
  }
}

Result<Fd> open_socket(const std::string& path, const Deadline& deadline) {
  if (Status fits = check_socket_path(path); !fits) return fits.error();
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return system_error("socket", errno);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  while (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    if (errno == EINTR) continue;
    // EAGAIN on a unix socket: its queue is full. There is nothing to poll for, so it is tried again.
    if (errno != EAGAIN) return system_error(path, errno);
    if (deadline.left_ms() == 0)
      return Error{.message = "the daemon accepts no connection", .code = ExitCode::timed_out};
    ::poll(nullptr, 0, 10);
  }
  return fd;
}

Status send_all(int fd, std::string_view bytes, const Deadline& deadline) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN) {
      if (Status ready = wait_ready(fd, POLLOUT, deadline); !ready) return ready;
    } else if (errno != EINTR) {
      return lost("send", errno);
    }
  }
  return Unit{};
}

// Reads once; false at the end of the connection.
Result<bool> receive(int fd, HttpAnswer& answer, const Deadline& deadline) {
  std::array<char, 65536> buffer;  // NOLINT(cppcoreguidelines-pro-type-member-init): filled by recv
  while (true) {
    const ssize_t count = ::recv(fd, buffer.data(), buffer.size(), 0);
    if (count > 0) {
      const Status fed = answer.feed({buffer.data(), static_cast<std::size_t>(count)});
      return fed ? Result<bool>(true) : Result<bool>(fed.error());
    }
    if (count == 0) {
      const Status ended = answer.end();
      return ended ? Result<bool>(false) : Result<bool>(ended.error());
    }
    if (errno == EAGAIN) {
      if (Status ready = wait_ready(fd, POLLIN, deadline); !ready) return ready.error();
    } else if (errno != EINTR) {
      return lost("receive", errno);
    }
  }
}

std::string request_text(std::string_view method, const std::string& target, const std::string& body) {
  std::string text = fmt::format("{} {} HTTP/1.1\r\nHost: muster\r\nConnection: close\r\n", method, target);
  if (method == "POST")
    text += fmt::format("Content-Type: application/json\r\nContent-Length: {}\r\n", body.size());
  return text + "\r\n" + body;
}

Result<Answer> exchange(const std::string& path, const std::string& request, Millis limit) {
  const Deadline deadline(limit);
  auto fd = open_socket(path, deadline);
  if (!fd) return fd.error();
  if (Status sent = send_all(fd.value().get(), request, deadline); !sent) return sent.error();
  HttpAnswer parser;
  while (!parser.complete()) {
    auto more = receive(fd.value().get(), parser, deadline);
    if (!more) return more.error();
    if (parser.body_bytes() > body_bytes_max)
      return Error{.message = "the daemon's answer is too large", .code = ExitCode::failed};
  }
  return Answer{.status = parser.status(), .body = parser.take_body()};
}

int peer_pid(int fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 ? peer.pid : 0;
}

}  // namespace

Result<Client> Client::at(const std::string& socket_path) {
  auto fd = open_socket(socket_path, Deadline(std::chrono::seconds(5)));
  if (!fd) return fd.error();
  return Client(socket_path, peer_pid(fd.value().get()));
}

Result<Client> Client::find(const std::vector<SocketCandidate>& candidates, const Surroundings& around) {
  std::string tried;
  ExitCode code = ExitCode::unreachable;
  for (const SocketCandidate& candidate : candidates) {
    Status trusted = check_socket_folder(candidate.path, around);
    auto client = trusted ? Client::at(candidate.path) : Result<Client>(trusted.error());
    if (client) return client;
    const Error& problem = client.error();
    if (problem.code == ExitCode::not_permitted) code = ExitCode::not_permitted;
    const std::string why = problem.errno_value != 0 ? errno_text(problem.errno_value) : problem.message;
    tried += fmt::format("\n  {} ({}): {}", candidate.path, candidate.reason, why);
  }
  return Error{
      .message = fmt::format("no daemon answers; tried{}\n`muster up` starts one for ./muster.toml", tried),
      .code = code};
}

Result<Answer> Client::get(const std::string& target, Millis limit) const {
  return exchange(path_, request_text("GET", target, ""), limit);
}

Result<Answer> Client::post(const std::string& target, const std::string& body, Millis limit) const {
  return exchange(path_, request_text("POST", target, body), limit);
}

Status Client::stream(const std::string& target, std::optional<Millis> silence,
                      const std::function<bool(const std::string& line)>& on_line) const {
  const Deadline first(silence);
  auto fd = open_socket(path_, first);
  if (!fd) return fd.error();
  if (Status sent = send_all(fd.value().get(), request_text("GET", target, ""), first); !sent) return sent;
  HttpAnswer parser;
  Lines lines;
  std::string line;
  while (!parser.complete()) {
    auto more = receive(fd.value().get(), parser, Deadline(silence));
    if (!more) return more.error();
    if (!parser.has_head()) continue;
    if (parser.status() != 200) {
      if (parser.complete()) return refusal(Answer{parser.status(), parser.take_body()});
      continue;
    }
    lines.add(parser.take_body());
    while (lines.next(line)) {
      if (!on_line(line)) return Unit{};
    }
    if (lines.waiting_bytes() > line_bytes_max)
      return Error{.message = "the daemon sent a line without an end", .code = ExitCode::failed};
  }
  return Unit{};
}

std::string query_text(const std::vector<std::pair<std::string, std::optional<std::string>>>& fields) {
  std::string text;
  for (const auto& [name, value] : fields) {
    if (!value) continue;
    text += fmt::format("{}{}=", text.empty() ? "?" : "&", name);
    for (const char c : *value) {
      const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                         c == '-' || c == '_' || c == '.' || c == '~';
      text += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return text;
}

Error refusal(const Answer& answer) {
  std::string sentence = fmt::format("the daemon answers {}", answer.status);
  boost::system::error_code problem;
  const boost::json::value body = boost::json::parse(answer.body, problem);
  const boost::json::object* object = problem ? nullptr : body.if_object();
  if (object != nullptr) {
    const boost::json::value* said = object->if_contains("error");
    if (said != nullptr && said->is_string()) sentence = said->as_string().c_str();
  }
  return Error{.message = sentence,
               .code = answer.status == 403 ? ExitCode::not_permitted : ExitCode::failed};
}

}  // namespace muster::cli
