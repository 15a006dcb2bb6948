#include "lb/endpoint.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>

#include "base/error.h"
#include "base/local_peer.h"
#include "lb/io.h"
#include "lb/pick.h"
#include "lb/worker.h"

namespace muster::lb {

namespace {
constexpr std::size_t parked_max = 256;  // per thread and endpoint
constexpr Millis report_every{100};
}  // namespace

void Upstream::on_due(WheelNode& node) {
  auto& self = static_cast<Upstream&>(node);
  if (!self.parked_) return;
  Loop& loop = self.endpoint_.worker_.loop();
  if (loop.now() < self.parked_until_ && !loop.shut()) {  // it was in use since
    loop.arm(self, self.parked_until_);
  } else {
    self.endpoint_.drop_parked(&self);
  }
}

void Upstream::on_event(void* self) {
  auto* const upstream = static_cast<Upstream*>(self);
  upstream->endpoint_.drop_parked(upstream);
}

Upstream::~Upstream() {
  endpoint_.worker_.loop().disarm(*this);
}

LocalEndpoint::LocalEndpoint(Worker& worker, std::shared_ptr<SharedInstance> shared)
    : worker_(worker),
      shared_(std::move(shared)),
      counters_(shared_->per_thread[worker.index()]),
      address_(SocketAddress::parse(shared_->endpoint.address, shared_->endpoint.port)),
      seed_(hash_of(shared_->endpoint.label)) {}

LocalEndpoint::~LocalEndpoint() {
  close_parked();
}

void LocalEndpoint::set_in_rotation(bool in_rotation) {
  in_rotation_ = in_rotation;
  if (!in_rotation) close_parked();
}

std::size_t LocalEndpoint::close_parked() {
  return std::exchange(parked_, {}).size();
}

void LocalEndpoint::drop_parked(Upstream* upstream) {
  const auto at = std::ranges::find(parked_, upstream, [](const auto& parked) { return parked.get(); });
  if (at == parked_.end()) return;
  parked_.erase(at);
}

void LocalEndpoint::close_parked_of(const void* owner) {
  std::erase_if(parked_, [owner](const auto& parked) { return parked->owner_ == owner; });
}

// take_parked() where the last one is another owner's.
std::unique_ptr<Upstream> LocalEndpoint::take_parked_below(Instant now, Millis idle_max, const void* owner) {
  const auto of_owner = [owner](const auto& parked) { return parked->owner_ == owner; };
  const auto last = std::find_if(parked_.rbegin(), parked_.rend(), of_owner);
  if (last == parked_.rend() || now - (*last)->idle_since_ >= idle_max) return nullptr;
  std::unique_ptr<Upstream> upstream = std::move(*last);
  parked_.erase(std::prev(last.base()));
  upstream->take_up();
  return upstream;
}

namespace {
// Neither bytes nor an end lie in the socket: what comes from now on is an event.
[[gnu::noinline]] bool is_silent(const Socket& socket) {
  char byte = 0;
  if (::recv(socket.fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0) return false;
  if (errno != EAGAIN && errno != EWOULDBLOCK) return false;
  socket.blocked(Direction::read);
  return true;
}
}  // namespace

void LocalEndpoint::park(std::unique_ptr<Upstream>& upstream, Millis keepalive) {
  if (!in_rotation_ || worker_.stopping() || parked_.size() >= parked_max || keepalive <= Millis::zero())
    return;
  if (upstream->socket_.may_be_readable() && !is_silent(upstream->socket_)) return;
  upstream->idle_since_ = worker_.loop().now();
  upstream->parked_until_ = upstream->idle_since_ + keepalive;
  upstream->parked_ = true;
  worker_.loop().arm_no_later(*upstream, upstream->parked_until_);
  upstream->socket_.watch(&Upstream::on_event, upstream.get());
  parked_.push_back(std::move(upstream));
}

namespace {
// A port of the ephemeral range that nobody listens on may be given to the very socket that connects to it: TCP then
// connects the socket to itself. The port must be free again at once, without TIME_WAIT: its replica wants it.
bool is_connected_to_itself(const Socket& socket, const SocketAddress& peer) {
  sockaddr_storage own{};
  socklen_t length = sizeof own;
  if (::getsockname(socket.fd(), reinterpret_cast<sockaddr*>(&own), &length) != 0) return false;
  return length == peer.length() && std::memcmp(&own, peer.raw(), length) == 0;
}
}  // namespace

namespace {
const char* path_of(const SocketAddress& local) {
  return static_cast<const char*>(reinterpret_cast<const sockaddr_un*>(local.raw())->sun_path);
}

// 0 or errno. A unix socket's connect(2) does not wait: EAGAIN says that its queue of connections is full, and no event
// follows when it is not.
Task<int> connect_now(Loop& loop, const Fd& fd, const SocketAddress& to, Millis limit) {
  constexpr Millis pause{10};
  const Instant deadline = loop.now() + limit;
  for (;;) {
    if (::connect(fd.get(), to.raw(), to.length()) == 0) co_return 0;
    const int error = errno;
    if (error != EAGAIN || !to.is_local()) co_return error;
    if (loop.now() >= deadline || loop.shut()) co_return ETIMEDOUT;
    co_await loop.sleep(pause);
  }
}
}  // namespace

Task<std::unique_ptr<Upstream>> LocalEndpoint::connect(Millis limit, ConnectFailure& failure) {
  if (!address_) {
    failure.why = "not a numeric address";
    co_return nullptr;
  }
  Fd fd(::socket(address_->family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) {
    failure.why = errno_text(errno);
    failure.ours = true;
    co_return nullptr;
  }
  if (!worker_.may_hold(fd)) {
    failure.why = "muster is near its limit of open files";
    failure.ours = true;
    co_return nullptr;
  }
  const bool is_local = address_->is_local();
  if (!is_local) tune_tcp(fd.get(), address_->is_loopback());
  const int failed = co_await connect_now(worker_.loop(), fd, *address_, limit);
  if (failed == 0 && is_local && !is_of_folder_owner(fd.get(), path_of(*address_))) {
    failure.why = "the socket is of another user than its folder";
    co_return nullptr;
  }
  if (failed == 0) {
    Socket socket(worker_.loop(), std::move(fd),
                  is_local ? Socket::Kind::connected_local : Socket::Kind::connected);
    if (!socket.valid()) {
      failure.why = "the kernel watches no more sockets";
      failure.ours = true;
      co_return nullptr;
    }
    co_return std::make_unique<Upstream>(*this, std::move(socket));
  }
  if (failed != EINPROGRESS) {
    failure.refused = failed == ECONNREFUSED || (is_local && failed == ENOENT);
    failure.why = errno_text(failed);
    co_return nullptr;
  }
  Socket socket(worker_.loop(), std::move(fd), Socket::Kind::connecting);
  if (!socket.valid()) {
    failure.why = "the kernel watches no more sockets";
    co_return nullptr;
  }
  const Waited waited = co_await socket.writable(limit);
  if (waited != Waited::ready) {
    failure.why = "no connection in time";
    co_return nullptr;
  }
  int error = 0;
  socklen_t length = sizeof error;
  ::getsockopt(socket.fd(), SOL_SOCKET, SO_ERROR, &error, &length);
  if (error == 0 && is_connected_to_itself(socket, *address_)) {
    socket.reset_on_close();
    error = ECONNREFUSED;
  }
  if (error != 0) {
    failure.why = errno_text(error);
    failure.refused = error == ECONNREFUSED;
    co_return nullptr;
  }
  co_return std::make_unique<Upstream>(*this, std::move(socket));
}

Task<> introduce(Upstream& upstream, std::string_view header, Millis limit) {
  Buffer bytes;
  bytes.append(header);
  co_await flush(upstream.socket(), bytes, limit);
}

void LocalEndpoint::report_failure(std::string_view what, const std::optional<spec::Eject>& rule) {
  if (worker_.giving_up()) return;  // our doing
  counters_.failures.add();
  const Instant now = worker_.loop().now();
  if (now >= next_report_) {
    next_report_ = now + report_every;
    worker_.callbacks().on_upstream_failed(id(), label() + ": " + std::string(what));
  }
  count_failure(rule);
}

void LocalEndpoint::connect_failed(const ConnectFailure& failure, const std::optional<spec::Eject>& rule) {
  report_failure("connect: " + failure.why, failure.ours ? std::nullopt : rule);
}

void LocalEndpoint::count_failure(const std::optional<spec::Eject>& rule) {
  if (!rule || !shared_->ejection.fail(*rule, worker_.loop().now())) return;
  worker_.callbacks().on_upstream_failed(id(), label() + ": left out for " +
                                                   std::to_string(rule->time.count()) + " ms after " +
                                                   std::to_string(rule->fails) + " failures in a row");
}

std::optional<InFlight> InFlight::within(Ref<LocalEndpoint> endpoint, int max) {
  {
    const std::lock_guard lock(endpoint->shared_->admission);
    if (!endpoint->has_room(max)) return std::nullopt;
    endpoint->counters_.in_flight.add();
  }
  ++endpoint->in_flight_;
  endpoint->counters_.requests.add();
  return InFlight(std::move(endpoint), Counted{});
}

void InFlight::call_waiting() const {
  for (const std::shared_ptr<Capacity>& capacity : endpoint_->capacities_) capacity->call_next();
}

void InFlight::tell_idle() const {
  endpoint_->worker_.on_endpoint_idle(*endpoint_);
}

}  // namespace muster::lb
