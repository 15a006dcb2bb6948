#include "rig.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <future>

namespace muster::lb::test {

namespace {
sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_port = htons(port);
  where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return where;
}

Fd listen_on_any(std::uint16_t& port) {
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in where = loopback(0);
  EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&where), sizeof where), 0);
  EXPECT_EQ(::listen(fd.get(), 512), 0);
  socklen_t length = sizeof where;
  ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&where), &length);
  port = ntohs(where.sin_port);
  return fd;
}
}  // namespace

Wire::Wire(Fd fd) : fd_(std::move(fd)) {
  const timeval limit{.tv_sec = patience.count(), .tv_usec = 0};
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

Wire Wire::to(std::uint16_t port) {
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in where = loopback(port);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where) != 0) return {};
  return Wire(std::move(fd));
}

Wire Wire::to_unix(const std::string& path) {
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un where{};
  where.sun_family = AF_UNIX;
  std::memcpy(where.sun_path, path.data(), path.size());
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where) != 0) return {};
  return Wire(std::move(fd));
}

Wire Wire::socket_only() {
  return Wire(Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)));
}
void Wire::connect(std::uint16_t port) const {
  const sockaddr_in where = loopback(port);
  EXPECT_EQ(::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where), 0);
}

bool Wire::send(std::string_view bytes) const {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

std::optional<std::string> Wire::some(std::size_t max) {
  if (kept_.empty()) return receive(max);
  std::string result = kept_.substr(0, max);
  kept_.erase(0, max);
  return result;
}

std::optional<std::string> Wire::receive(std::size_t max) const {
  std::string bytes(max, '\0');
  const ssize_t got = ::recv(fd_.get(), bytes.data(), bytes.size(), 0);
  if (got < 0) return std::nullopt;
  bytes.resize(static_cast<std::size_t>(got));
  return bytes;
}

std::optional<std::string> Wire::until(std::string_view end) {
  for (;;) {
    if (const std::size_t at = kept_.find(end); at != std::string::npos) {
      std::string result = kept_.substr(0, at + end.size());
      kept_.erase(0, at + end.size());
      return result;
    }
    const auto more = receive();
    if (!more || more->empty()) return std::nullopt;
    kept_ += *more;
  }
}

std::optional<std::string> Wire::exactly(std::size_t count) {
  while (kept_.size() < count) {
    const auto more = receive();
    if (!more || more->empty()) return std::nullopt;
    kept_ += *more;
  }
  std::string result = kept_.substr(0, count);
  kept_.erase(0, count);
  return result;
}

std::optional<std::string> Wire::rest() {
  for (;;) {
    const auto more = receive();
    if (!more) return std::nullopt;
    if (more->empty()) return std::exchange(kept_, {});
    kept_ += *more;
  }
}

bool Wire::at_end() {
  for (;;) {
    const auto more = receive();
    if (!more) return errno != EAGAIN;
    if (more->empty()) return true;
  }
}

void Wire::half_close() const {
  ::shutdown(fd_.get(), SHUT_WR);
}

void Wire::reset() {
  const linger abort{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
  fd_.reset();
}

int Message::status() const {
  const std::size_t space = head.find(' ');
  return space == std::string::npos ? 0 : std::atoi(head.c_str() + space + 1);
}

std::string Message::field(std::string_view name) const {
  const auto lower = [](std::string text) {
    std::ranges::transform(text, text.begin(), [](char c) { return static_cast<char>(std::tolower(c)); });
    return text;
  };
  const std::string key = "\r\n" + lower(std::string(name)) + ": ";
  const std::size_t at = lower(head).find(key);
  if (at == std::string::npos) return {};
  const std::size_t begin = at + key.size();
  return head.substr(begin, head.find("\r\n", begin) - begin);
}

namespace {
bool read_chunks(Wire& wire, Message& message) {
  for (;;) {
    const auto line = wire.until("\r\n");
    if (!line) return false;
    const std::size_t size = std::stoul(*line, nullptr, 16);
    if (size == 0) break;
    const auto data = wire.exactly(size + 2);
    if (!data) return false;
    message.body += data->substr(0, size);
  }
  for (;;) {
    const auto line = wire.until("\r\n");
    if (!line) return false;
    if (*line == "\r\n") return true;
    message.trailers += *line;
  }
}
}  // namespace

std::optional<Message> read_message(Wire& wire, bool no_body) {
  Message message;
  const auto head = wire.until("\r\n\r\n");
  if (!head) return std::nullopt;
  message.head = head->substr(0, head->size() - 2);
  const bool is_answer = message.head.starts_with("HTTP/");
  const int status = is_answer ? message.status() : 0;
  if (no_body || (is_answer && (status < 200 || status == 204 || status == 304))) return message;
  const std::string length = message.field("content-length");
  if (message.field("transfer-encoding") == "chunked")
    return read_chunks(wire, message) ? std::optional(message) : std::nullopt;
  if (length.empty() && !is_answer) return message;
  const auto body = length.empty() ? wire.rest() : wire.exactly(std::stoul(length));
  if (!body) return std::nullopt;
  message.body = *body;
  return message;
}

Replica::Replica(Serve serve) : serve_(std::move(serve)), listener_(listen_on_any(port_)) {
  acceptor_ = std::thread([this] { accept_all(); });
}

Replica::Replica(Serve serve, const std::string& path)
    : serve_(std::move(serve)), listener_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_un where{};
  where.sun_family = AF_UNIX;
  path.copy(static_cast<char*>(where.sun_path), sizeof where.sun_path - 1);
  EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where), 0);
  EXPECT_EQ(::listen(listener_.get(), 1024), 0);
  acceptor_ = std::thread([this] { accept_all(); });
}

void Replica::accept_all() {
  for (;;) {
    Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!fd) return;
    const std::lock_guard lock(mutex_);
    if (dead_) return;
    ++connections_;
    open_.push_back(fd.get());
    threads_.emplace_back([this, raw = fd.release()] {
      {
        Wire wire{Fd(::fcntl(raw, F_DUPFD_CLOEXEC, 0))};
        serve_(wire);
      }
      const std::lock_guard guard(mutex_);
      std::erase(open_, raw);
      ::close(raw);
    });
  }
}

void Replica::kill() {
  if (dead_.exchange(true)) return;
  ::shutdown(listener_.get(), SHUT_RDWR);
  acceptor_.join();
  listener_.reset();
  const std::lock_guard lock(mutex_);
  for (const int raw : open_) ::shutdown(raw, SHUT_RDWR);
}

void Replica::reset_connections() {
  const linger abort{.l_onoff = 1, .l_linger = 0};
  const std::lock_guard lock(mutex_);
  for (const int raw : open_) {
    ::setsockopt(raw, SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
    ::shutdown(raw, SHUT_RD);  // wakes the thread, whose close sends it
  }
}

bool Replica::wait_open(std::size_t count) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  for (;;) {
    {
      const std::lock_guard lock(mutex_);
      if (open_.size() == count) return true;
    }
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
}

void Replica::join() {
  if (!dead_.exchange(true)) {
    ::shutdown(listener_.get(), SHUT_RDWR);
    acceptor_.join();
    listener_.reset();
  }
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

Replica::~Replica() {
  kill();
  for (std::thread& thread : threads_) thread.join();
}

Replica::Serve http_replica(std::string body) {
  return [body = std::move(body)](Wire& wire) {
    const std::string answer =
        "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
    while (read_message(wire)) {
      if (!wire.send(answer)) return;
    }
  };
}

std::size_t heap_bytes() {
  return ::mallinfo2().uordblks;
}

std::uint16_t free_port() {
  std::uint16_t port = 0;
  listen_on_any(port);
  return port;
}

Rig::Rig(int threads, std::vector<std::pair<std::string, int>> systemd_fds) {
  Options options;
  options.threads = threads;
  options.systemd_fds = std::move(systemd_fds);
  start(std::move(options));
}

std::uint64_t Rig::quiesce(std::chrono::milliseconds limit) {
  auto answer = std::make_shared<std::promise<std::uint64_t>>();
  auto told = answer->get_future();
  balancer->quiesce(limit, [answer](std::uint64_t in_flight) { answer->set_value(in_flight); });
  EXPECT_EQ(told.wait_for(patience), std::future_status::ready) << "no answer to quiesce()";
  return told.get();
}

Handover Rig::give_up() {
  Handover handover = balancer->give_up();
  balancer.reset();
  return handover;
}

void Rig::take_over(Handover handover, int threads, HandedSockets unused) {
  Options options;
  options.threads = threads;
  options.handover = std::move(handover);
  start(std::move(options));
  publish(unused);
}

void Rig::start(Options options) {
  const auto note = [this](auto change) {
    {
      const std::lock_guard lock(mutex_);
      change();
    }
    changed_.notify_all();
  };
  Callbacks callbacks{
      .on_snapshot_in_use = [this, note](SnapshotVersion v) { note([&] { in_use_ = raw(v); }); },
      .on_idle = [this, note](InstanceId i) { note([&] { idle_.push_back(i); }); },
      .on_upstream_failed = [this, note](InstanceId i,
                                         const std::string&) { note([&] { failed_.push_back(i); }); },
      .on_demand = [this, note](const std::string& app) { note([&] { ++demands_[app]; }); },
      .on_pong = [this, note](std::uint64_t token) { note([&] { pongs_.push_back(token); }); },
      .on_access_lines =
          [this, note](AccessLines& lines) {
            if (refuse_access_lines && !lines.last) return false;
            note([&] {
              lost_lines_ += lines.lost;
              for (std::size_t begin = 0; begin < lines.bytes.size();) {
                const std::size_t end = lines.bytes.find('\n', begin);
                EXPECT_NE(end, std::string::npos);
                access_lines_.push_back(lines.bytes.substr(begin, end - begin));
                begin = end + 1;
              }
            });
            lines.bytes.clear();
            return true;
          },
      .on_access_logs_flushed = [this, note] { note([&] { ++access_flushes_; }); },
  };
  options.callbacks = std::move(callbacks);
  auto started = Balancer::start(std::move(options));
  EXPECT_TRUE(started.ok());
  balancer = std::move(started).value();
}

spec::Listener& Rig::add_listener(const std::string& name, const std::string& app, spec::ListenMode mode) {
  spec::Listener listener;
  listener.name = name;
  listener.app = app;
  listener.mode = mode;
  listener.timeout.connect = listener.timeout.response = listener.timeout.head = patience;
  listener.queue_timeout = patience;
  listener.timeout.idle = 4 * patience;
  spec::BindAddress bind;
  bind.host = "127.0.0.1";
  bind.port = free_port();
  bind.text = "127.0.0.1:" + std::to_string(bind.port);
  listener.bind.push_back(bind);
  listeners.push_back(listener);
  return listeners.back();
}

void Rig::set_pool(const std::string& app, const std::vector<std::uint16_t>& ports) {
  Pool pool;
  pool.app = app;
  for (const std::uint16_t port : ports) {
    const auto ordinal = static_cast<int>(pool.endpoints.size());
    pool.endpoints.push_back({.instance = InstanceId{port},
                              .label = app + "/" + std::to_string(ordinal),
                              .address = "127.0.0.1",
                              .port = port,
                              .ordinal = ordinal});
  }
  pools[app] = pool;
}

Status Rig::prepare_only() {
  auto prepared = balancer->prepare(listeners);
  if (!prepared) return std::move(prepared).error();
  return Unit{};
}

void Rig::publish(HandedSockets unused) {
  auto prepared = balancer->prepare(listeners);
  ASSERT_TRUE(prepared.ok()) << prepared.error().message;
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->version = SnapshotVersion{++version_};
  snapshot->listeners = listeners;
  for (const auto& [app, pool] : pools) snapshot->pools.push_back(pool);
  balancer->publish(snapshot, std::move(prepared).value(), unused);
  ASSERT_TRUE(wait_for([this] { return in_use_ >= version_; })) << "snapshot not in use";
}

std::optional<Message> Rig::get(std::string_view target, std::size_t listener) const {
  Wire wire = client(listener);
  wire.send("GET " + std::string(target) + " HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
  return read_message(wire);
}

std::vector<std::string> Rig::access_lines(std::size_t count) {
  EXPECT_TRUE(wait_for([&] { return access_lines_.size() >= count; })) << "not so many lines";
  const std::lock_guard lock(mutex_);
  return access_lines_;
}
bool Rig::wait_access_flush() {
  std::uint64_t before = 0;
  {
    const std::lock_guard lock(mutex_);
    before = access_flushes_;
  }
  balancer->flush_access_logs();
  return wait_for([&] { return access_flushes_ > before; });
}
bool Rig::wait_lost_lines(std::uint64_t count) {
  return wait_for([&] { return lost_lines_ == count; });
}

bool Rig::wait_idle(InstanceId instance) {
  return wait_for([&] { return std::ranges::find(idle_, instance) != idle_.end(); });
}
void Rig::forget_idle() {
  const std::lock_guard lock(mutex_);
  idle_.clear();
}
bool Rig::is_idle(InstanceId instance) {
  const std::lock_guard lock(mutex_);
  return std::ranges::find(idle_, instance) != idle_.end();
}
std::size_t Rig::failures() {
  const std::lock_guard lock(mutex_);
  return failed_.size();
}
bool Rig::wait_failure(InstanceId instance) {
  return wait_for([&] { return std::ranges::find(failed_, instance) != failed_.end(); });
}
std::size_t Rig::demands(const std::string& app) {
  const std::lock_guard lock(mutex_);
  return demands_[app];
}
bool Rig::wait_demands(const std::string& app, std::size_t wanted) {
  return wait_for([&] { return demands_[app] >= wanted; });
}
bool Rig::wait_pong(std::uint64_t token) {
  return wait_for([&] { return std::ranges::find(pongs_, token) != pongs_.end(); });
}

namespace {
InstanceStats stats_of(const Balancer& balancer, InstanceId instance) {
  for (const InstanceStats& stats : balancer.stats().instances) {
    if (stats.instance == instance) return stats;
  }
  return {};
}
}  // namespace

std::uint64_t Rig::in_flight(InstanceId instance) const {
  return stats_of(*balancer, instance).in_flight;
}
std::uint64_t Rig::bytes_from(InstanceId instance) const {
  return stats_of(*balancer, instance).bytes_from;
}

bool Rig::wait_requests(std::size_t listener, std::uint64_t wanted) const {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (balancer->stats().listeners[listener].requests < wanted) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

bool Rig::wait_in_flight(InstanceId instance, std::uint64_t wanted) const {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (in_flight(instance) != wanted) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

}  // namespace muster::lb::test
