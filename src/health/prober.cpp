#include "health/prober.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/late.h"
#include "base/limits.h"
#include "base/local_peer.h"
#include "fmt/core.h"
#include "health/status_line.h"

namespace muster::health {

namespace {

struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;
};

Address loopback(bool v6, std::uint16_t port) {
  Address made;
  if (v6) {
    auto* in6 = reinterpret_cast<sockaddr_in6*>(&made.storage);
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(port);
    in6->sin6_addr = in6addr_loopback;
    made.length = sizeof *in6;
  } else {
    auto* in4 = reinterpret_cast<sockaddr_in*>(&made.storage);
    in4->sin_family = AF_INET;
    in4->sin_port = htons(port);
    in4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    made.length = sizeof *in4;
  }
  return made;
}

Address local(const std::string& path) {
  Address made;
  auto* un = reinterpret_cast<sockaddr_un*>(&made.storage);
  un->sun_family = AF_UNIX;
  path.copy(static_cast<char*>(un->sun_path), sizeof un->sun_path - 1);
  made.length = sizeof *un;
  return made;
}

// In sentences.
std::string place_of(const NetworkProbe& probe) {
  return probe.socket.empty() ? fmt::format("port {}", probe.port) : "the socket " + probe.socket;
}

std::string_view first_line(std::string_view text) {
  return text.substr(0, std::min(text.find_first_of("\r\n"), std::size_t{80}));
}

}  // namespace

// One probe. Lives until libuv has closed its timer.
struct Prober::Run {
  Run(Prober& owner, ProbeId number, NetworkProbe what, std::function<void(Outcome)> then)
      : prober(&owner), id(number), probe(std::move(what)), done(std::move(then)) {}

  void begin() {
    MUSTER_CHECK(uv_timer_init(prober->loop_, &timer) == 0);
    timer.data = this;
    v6 = probe.first_address == "::1";
    // A zero timer keeps the promise that `done` is never called inside start().
    uv_timer_start(
        &timer, [](uv_timer_t* handle) { static_cast<Run*>(handle->data)->connect(); }, 0, 0);
  }

  void arm_timeout() {
    due_ms = uv_now(prober->loop_) + static_cast<std::uint64_t>(probe.timeout.count());
    uv_timer_start(
        &timer, [](uv_timer_t* handle) { static_cast<Run*>(handle->data)->timed_out(); },
        static_cast<std::uint64_t>(probe.timeout.count()), 0);
  }

  void connect() {
    if (tries == 0) arm_timeout();
    ++tries;
    const bool is_local = !probe.socket.empty();
    const int family = is_local ? AF_UNIX : v6 ? AF_INET6 : AF_INET;
    fd.reset(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd) {
      if (errno == EAFNOSUPPORT) return connect_failed(ECONNREFUSED);
      return finish(Outcome{.code = ProbeCode::error,
                            .sentence = system_error("socket", errno).message,
                            .output = {},
                            .address = {}});
    }
    const Address to = is_local ? local(probe.socket) : loopback(v6, probe.port);
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to.storage), to.length) == 0)
      return connected();
    if (errno != EINPROGRESS) return connect_failed(errno);
    wait(UV_WRITABLE, [](uv_poll_t* handle, int, int) {
      auto* run = static_cast<Run*>(handle->data);
      int error_number = 0;
      socklen_t length = sizeof error_number;
      getsockopt(run->fd.get(), SOL_SOCKET, SO_ERROR, &error_number, &length);
      if (error_number != 0) return run->connect_failed(error_number);
      run->connected();
    });
  }

  void wait(int events, uv_poll_cb callback) {
    if (poll == nullptr) {
      poll = new uv_poll_t{};
      if (uv_poll_init(prober->loop_, poll, fd.get()) != 0) {
        delete std::exchange(poll, nullptr);
        return finish(Outcome{.code = ProbeCode::error,
                              .sentence = "the loop takes no more sockets",
                              .output = {},
                              .address = {}});
      }
      poll->data = this;
    }
    MUSTER_CHECK(uv_poll_start(poll, events, callback) == 0);
  }

  // The handle first, then its descriptor: libuv forgets a descriptor when its handle is closed.
  void drop_socket() {
    if (poll != nullptr) {
      uv_close(reinterpret_cast<uv_handle_t*>(std::exchange(poll, nullptr)),
               [](uv_handle_t* handle) { delete reinterpret_cast<uv_poll_t*>(handle); });
    }
    fd.reset();
  }

  // Replicas are reached at 127.0.0.1, then ::1 (or the other way round, where the last one answered).
  void connect_failed(int error_number) {
    if (first_error == 0) first_error = error_number;
    drop_socket();
    if (tries == 1 && probe.socket.empty()) {
      v6 = !v6;
      return connect();
    }
    const bool refused = first_error == ECONNREFUSED || (first_error == ENOENT && !probe.socket.empty());
    finish(Outcome{
        .code = refused ? ProbeCode::refused : ProbeCode::closed,
        .sentence = refused ? "nothing listens on " + place_of(probe)
                            : fmt::format("connecting to {}: {}", place_of(probe), errno_text(first_error)),
        .output = {},
        .address = {}});
  }

  void connected() {
    if (!probe.socket.empty() && !is_of_folder_owner(fd.get(), probe.socket.c_str())) {
      return finish(Outcome{.code = ProbeCode::error,
                            .sentence = place_of(probe) + " is of another user than its folder",
                            .output = {},
                            .address = {}});
    }
    const std::string address = v6 ? "::1" : "127.0.0.1";
    if (probe.veto) {
      if (auto outcome = probe.veto(address)) return finish(std::move(*outcome));
    }
    if (!probe.http_path) return succeed("", place_of(probe) + " accepts connections");
    const std::string host =
        probe.socket.empty() ? fmt::format("{}:{}", v6 ? "[::1]" : address, probe.port) : "localhost";
    request = probe.preface +
              fmt::format(
                  "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: muster-health\r\nAccept: */*\r\nConnection: "
                  "close\r\n\r\n",
                  *probe.http_path, host);
    send();
  }

  void send() {
    const auto sent = ::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return closed(errno);
    if (sent > 0) request.erase(0, static_cast<std::size_t>(sent));
    if (!request.empty()) {
      return wait(UV_WRITABLE, [](uv_poll_t* handle, int, int) { static_cast<Run*>(handle->data)->send(); });
    }
    wait(UV_READABLE, [](uv_poll_t* handle, int, int) { static_cast<Run*>(handle->data)->receive(); });
  }

  // The status line decides; what comes with it is kept for people. One read more is taken for the body, so that
  // `why` can show what the app said.
  void receive() {
    std::array<char, limits::probe_output_bytes_max> buffer{};
    const auto got = ::recv(fd.get(), buffer.data(), buffer.size(), 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got < 0) return closed(errno);
    if (got > 0) answer.append(buffer.data(), static_cast<std::size_t>(got));
    const auto status = parse_status_line(answer);
    const bool full = answer.size() >= buffer.size();
    if (!status && got > 0 && !full) return;
    if (!status || *status == 0) {
      if (got == 0 && answer.empty()) return closed(0);
      return finish(Outcome{.code = ProbeCode::bad_answer,
                            .sentence = fmt::format("GET {}: the answer is not HTTP/1", *probe.http_path),
                            .output = answer.substr(0, limits::probe_output_bytes_max),
                            .address = {}});
    }
    const bool expected = std::ranges::any_of(probe.expect, [&](const spec::StatusRange& range) {
      return *status >= range.from && *status <= range.to;
    });
    const auto sentence = fmt::format("GET {} answered {}", *probe.http_path, *status);
    if (expected) return succeed(body(), sentence);
    // A failing answer's body is worth waiting for (until the end, the buffer or the timeout).
    if (got > 0 && !full) {
      late = Outcome{.code = ProbeCode::bad_status, .sentence = sentence, .output = {}, .address = {}};
      return;
    }
    finish(Outcome{.code = ProbeCode::bad_status, .sentence = sentence, .output = body(), .address = {}});
  }

  [[nodiscard]] std::string body() const {
    const auto end = answer.find("\r\n\r\n");
    return end == std::string::npos ? std::string() : answer.substr(end + 4, limits::probe_output_bytes_max);
  }

  void closed(int error_number) {
    if (late) {
      late->output = body();
      return finish(std::move(*late));
    }
    const std::string how = error_number == 0 ? "closed without an answer" : errno_text(error_number);
    finish(Outcome{.code = ProbeCode::closed,
                   .sentence = fmt::format("GET {}: {}", *probe.http_path, how),
                   .output = std::string(first_line(answer)),
                   .address = {}});
  }

  void timed_out() {
    if (late) return closed(0);
    // We were stopped, and an answer may lie there: as long again.
    const std::uint64_t now = uv_now(prober->loop_);
    if (!excused && now > due_ms + static_cast<std::uint64_t>(late_look.count())) {
      excused = true;
      return arm_timeout();
    }
    const auto what =
        probe.http_path ? fmt::format("GET {}", *probe.http_path) : "connecting to " + place_of(probe);
    finish(Outcome{.code = ProbeCode::timeout,
                   .sentence = fmt::format("{}: no answer within {} ms", what, probe.timeout.count()),
                   .output = {},
                   .address = {}});
  }

  void succeed(std::string output, std::string sentence) {
    Outcome outcome{
        .code = ProbeCode::ok, .sentence = std::move(sentence), .output = std::move(output), .address = {}};
    if (probe.socket.empty()) outcome.address = v6 ? "::1" : "127.0.0.1";
    finish(std::move(outcome));
  }

  void finish(Outcome outcome) {
    if (prober == nullptr) return;
    const auto then = std::move(done);
    end();
    then(std::move(outcome));
  }

  void end() {
    if (prober == nullptr) return;
    prober->runs_.erase(id);
    prober = nullptr;
    done = nullptr;
    drop_socket();
    uv_close(reinterpret_cast<uv_handle_t*>(&timer),
             [](uv_handle_t* handle) { delete static_cast<Run*>(handle->data); });
  }

  Prober* prober;  // null: over
  ProbeId id;
  NetworkProbe probe;
  std::function<void(Outcome)> done;
  uv_poll_t* poll = nullptr;
  uv_timer_t timer{};
  Fd fd;
  bool v6 = false;
  int tries = 0;
  int first_error = 0;
  std::string request;
  std::string answer;
  std::uint64_t due_ms = 0;  // of the loop
  bool excused = false;
  std::optional<Outcome> late;  // a bad status whose body is still being read
};

Prober::~Prober() {
  while (!runs_.empty()) runs_.begin()->second->end();
}

Prober::ProbeId Prober::start(NetworkProbe probe, std::function<void(Outcome)> done) {
  const ProbeId id{next_++};
  auto* run = new Run(*this, id, std::move(probe), std::move(done));
  runs_[id] = run;
  run->begin();
  return id;
}

void Prober::cancel(ProbeId id) {
  const auto at = runs_.find(id);
  if (at != runs_.end()) at->second->end();
}

}  // namespace muster::health
