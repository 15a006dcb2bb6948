// The connections of a thread's listeners: taken in turn with all else, where there is room for them.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "lb/worker.h"

namespace muster::lb {

namespace {
constexpr int accepts_per_turn = 32;        // then the connections that are there get their turn
constexpr Millis pause_after_failure{100};  // EMFILE and its kin
constexpr int last_accepts_max = 4096;

// tcp(7): of a listening socket tcpi_unacked counts what waits to be accepted.
int waiting_connections(int fd) {
  tcp_info info{};
  socklen_t length = sizeof info;
  if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0) return last_accepts_max;  // a unix socket
  return std::min(static_cast<int>(info.tcpi_unacked) + accepts_per_turn, last_accepts_max);
}
}  // namespace

void Worker::accept_last(LocalListener& listener) {
  listener.closing = true;
  // What has come by now and no more: connections that keep coming must not hold up the end.
  for (int left = listener.socket.valid() ? waiting_connections(listener.socket.fd()) : 0; left > 0;
       left -= accepts_per_turn) {
    if (accept_some(listener) != Accepted::more) break;
  }
  // The accept loop closes the socket and ends.
  if (listener.place_waiter) {
    if (const auto accepting = std::exchange(listener.place_waiter->accepting, nullptr)) accepting.resume();
  } else {
    listener.socket.abort_wait(Direction::read);
  }
  // Connections that wait for their next request have none in flight.
  for (Client* client = clients_; client != nullptr;) {
    Client* const next = client->next;
    if (client->idle && client->listener.get() == &listener) client->socket.abort_wait(Direction::read);
    client = next;
  }
}

namespace {
// Awaitable: until there is a place for the next connection, or no reason to wait for it.
struct PlaceWait {
  Places::Waiter& waiter;
  static bool await_ready() noexcept { return false; }
  void await_suspend(std::coroutine_handle<> accepting) const { waiter.accepting = accepting; }
  static void await_resume() noexcept {}
};
}  // namespace

Detached Worker::accept_loop(Ref<LocalListener> listener) {
  ++accepting_;
  while (accepts(*listener)) {
    listener->socket =
        Socket(*loop_, listener->address->duplicate(listener->number), Socket::Kind::listening);
    if (listener->socket.valid()) {
      int domain = 0;
      socklen_t length = sizeof domain;
      ::getsockopt(listener->socket.fd(), SOL_SOCKET, SO_DOMAIN, &domain, &length);
      listener->is_local = domain == AF_UNIX;
      break;
    }
    co_await loop_->sleep(pause_after_failure);
  }
  while (accepts(*listener)) {
    const Waited waited = co_await listener->socket.readable(no_limit);
    if (waited != Waited::ready) break;
    if (held_) {
      co_await hold();
      continue;
    }
    switch (accept_some(*listener)) {
      case Accepted::more:
        co_await loop_->turn();
        break;
      case Accepted::all:
        break;
      case Accepted::no_place:
        co_await PlaceWait{*listener->place_waiter};
        if (!listener->place_waiter->granted) leave_line(*listener);
        break;
      case Accepted::failed:
        co_await loop_->sleep(pause_after_failure);
        break;
    }
  }
  leave_line(*listener);
  listener->socket.close();
  listener->address.reset();
  --accepting_;
  finish_when_done();
}

Worker::Accepted Worker::accept_some(LocalListener& listener) {
  for (int i = 0; i < accepts_per_turn; ++i) {
    if (!has_room()) return Accepted::failed;
    const std::optional<KeptPlace> place = keep_place(listener);
    if (!place) return Accepted::no_place;
    sockaddr_storage peer{};
    socklen_t length = sizeof peer;
    Fd fd(::accept4(listener.socket.fd(), reinterpret_cast<sockaddr*>(&peer), &length,
                    SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd) {
      if (errno == EINTR || errno == ECONNABORTED || errno == EPROTO) continue;
      if (errno != EAGAIN) return Accepted::failed;
      listener.socket.blocked(Direction::read);
      return Accepted::all;
    }
    near_limit_ = fd.get() >= descriptors_max_;
    begin_connection(listener, std::move(fd), Peer(peer));
  }
  return Accepted::more;
}

// For one more connection. None: there is no room for it, and the listener stands in line unless it is closing.
std::optional<KeptPlace> Worker::keep_place(LocalListener& listener) {
  if (listener.place_waiter) {
    if (!listener.place_waiter->granted) return std::nullopt;
    return KeptPlace(std::exchange(listener.place_waiter, nullptr)->shared);
  }
  const std::shared_ptr<SharedListener>& shared = listener.frontend->shared;
  if (!shared->places.limited()) return KeptPlace();
  if (shared->places.take()) return KeptPlace(shared);
  if (listener.closing) return std::nullopt;
  auto waiter = std::make_shared<Places::Waiter>(*loop_, shared);
  if (shared->places.take_or_wait(waiter)) return KeptPlace(shared);
  listener.place_waiter = std::move(waiter);
  return std::nullopt;
}

void Worker::leave_line(LocalListener& listener) {
  if (const auto waiter = std::exchange(listener.place_waiter, nullptr)) waiter->shared->places.leave(waiter);
}

// A connection that ended here before this thread knew of a limit told nobody.
void Worker::offer_places() {
  std::vector<Ref<LocalListener>> moved;
  for (const auto& [address, listener] : listeners_) {
    listener->frontend->shared->places.offer();
    if (listener->place_waiter && listener->place_waiter->shared != listener->frontend->shared)
      moved.push_back(listener);
  }
  for (const Ref<LocalListener>& listener : moved) {  // to the line of the listener that it belongs to now
    if (!listener->place_waiter) continue;
    if (const auto accepting = std::exchange(listener->place_waiter->accepting, nullptr)) accepting.resume();
  }
}

// The kernel gives out the lowest free number, so a number says how many are in use. What is kept back serves the
// control thread: probes, new processes, the control socket.
bool Worker::has_room() {
  if (!near_limit_) return true;
  const Fd lowest(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0));
  near_limit_ = !lowest || lowest.get() >= descriptors_max_;
  return !near_limit_;
}

void Worker::begin_connection(LocalListener& listener, Fd fd, Peer&& client_address,
                              const HandedClient* handed) {
  switch (listener.frontend->listener.mode) {
    case spec::ListenMode::http:
      serve_http(*this, Ref<LocalListener>(&listener), std::move(fd), std::move(client_address), handed);
      break;
    case spec::ListenMode::tcp:
      serve_tcp(*this, Ref<LocalListener>(&listener), std::move(fd), std::move(client_address), handed);
      break;
  }
}

}  // namespace muster::lb
