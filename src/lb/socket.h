// A socket as a traffic thread's loop knows it, and the waits for it. It is registered once, edge-triggered for both
// directions, and never again: what the edges said is kept for each direction until a system call finds that it holds
// no more. What each request needs of it is defined here, so that it costs no calls.
#pragma once

#include <array>
#include <coroutine>
#include <cstdint>
#include <memory>
#include <utility>

#include "base/check.h"
#include "base/fd.h"
#include "base/time.h"
#include "lb/loop.h"
#include "lb/wheel.h"

namespace muster::lb {

class TlsSession;

enum class Direction : std::uint8_t { read, write };

enum class Waited : std::uint8_t {
  ready,  // or an error is pending: the next system call says
  timed_out,
  aborted,  // abort_wait(), or the loop is being shut
};

inline constexpr Millis no_limit = Millis::max();

// Awaitable: until the socket is ready or `limit` is over; at once when it is known to be. What follows must be the
// system call that finds out: only that ends the readiness. At most one wait per socket and direction.
class SocketWait {
 public:
  SocketWait(SocketCore& core, Direction direction, Millis limit) noexcept;
  bool await_ready() noexcept;
  void await_suspend(std::coroutine_handle<> waiter);
  [[nodiscard]] Waited await_resume() const noexcept { return result_; }

 private:
  friend class SocketCore;
  void finish(Waited result);

  SocketCore& core_;
  std::coroutine_handle<> waiter_;
  Instant deadline_;
  Direction direction_;
  Waited result_ = Waited::ready;
};

// An owned non-blocking socket that is registered with the loop. Closing it while a coroutine waits on it is a bug.
class Socket {
 public:
  enum class Kind : std::uint8_t {
    connected,
    connected_local,  // of a unix socket: a read stops short at a message with descriptors, and no edge follows
    connecting,       // connect(2) said EINPROGRESS: writable once that is over
    listening,        // other descriptors may share it
  };
  Socket() noexcept = default;
  Socket(Loop& loop, Fd fd, Kind kind = Kind::connected);  // not valid() when the kernel takes no more
  Socket(Socket&& other) noexcept
      : core_(std::exchange(other.core_, nullptr)), tls_(std::exchange(other.tls_, nullptr)) {}
  Socket& operator=(Socket&& other) noexcept {
    if (this != &other) {
      close();
      core_ = std::exchange(other.core_, nullptr);
      tls_ = std::exchange(other.tls_, nullptr);
    }
    return *this;
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket() {
    if (core_ != nullptr) close();
  }

  [[nodiscard]] bool valid() const noexcept { return core_ != nullptr; }
  [[nodiscard]] int fd() const noexcept;
  SocketWait readable(Millis limit) { return {*core_, Direction::read, limit}; }
  SocketWait writable(Millis limit) { return {*core_, Direction::write, limit}; }
  // False: a read or accept now would only say EAGAIN.
  [[nodiscard]] bool may_be_readable() const noexcept;
  // What a system call found out: EAGAIN, or a read that got less than it asked for.
  void blocked(Direction direction) const noexcept;
  void read_short() const noexcept;
  // What was read of the socket and not taken yet makes it readable.
  void more_to_read() const noexcept;
  // From now on each event ends the waits of both directions: to read, something may have to be written, or the other
  // way round.
  void count_events_for_both() const noexcept;
  // What lb/io.h moves is encrypted by this; null: as it is.
  [[nodiscard]] TlsSession* tls() const noexcept { return tls_; }
  void encrypt(std::unique_ptr<TlsSession> session) noexcept;
  // The coroutine that waits in this direction, if any, goes on at once with Waited::aborted. True: there was one, and
  // it may have ended this socket.
  bool abort_wait(Direction direction);
  void abort_waits() {
    abort_wait(Direction::read);
    abort_wait(Direction::write);
  }
  // A socket nobody reads from: `event` is called once when the peer sends or closes from now on, until unwatch(). Of
  // this and the next, what was said last holds.
  void watch(void (*event)(void*), void* argument);
  // `event` is called once when the connection is reset from now on, until unwatch(): for a socket that is read no more.
  void watch_reset(void (*event)(void*), void* argument);
  void unwatch() noexcept;
  void reset_on_close() noexcept;  // close() sends RST instead of FIN
  // Ends the registration and gives the descriptor away, as it is. Not encrypted, and nobody waits on it.
  Fd release() noexcept;
  void close() noexcept;

 private:
  SocketCore* core_ = nullptr;
  TlsSession* tls_ = nullptr;  // owned
};

// What the loop has of a registered socket. Its place is used again after a close; the generation in the tag of an
// event tells the events of the former socket: those of the same round, and those that come while a child that was just
// forked still holds a copy of the descriptor.
class SocketCore : private WheelNode {
 public:
  SocketCore() : WheelNode(&SocketCore::on_due) {}
  ~SocketCore() = default;
  SocketCore(const SocketCore&) = delete;
  SocketCore& operator=(const SocketCore&) = delete;

  void belong_to(Loop& loop, std::uint32_t index) noexcept {
    loop_ = &loop;
    index_ = index;
  }
  // False when epoll takes no more (fs.epoll.max_user_watches).
  bool open(Fd fd, Socket::Kind kind);
  void close() noexcept;
  Fd release() noexcept;

  void begin(SocketWait& wait) {
    SocketWait*& waiting = waiting_[at(wait.direction_)];
    MUSTER_CHECK(waiting == nullptr);
    waiting = &wait;
    if (wait.deadline_ != Instant::max()) loop_->arm_no_later(*this, wait.deadline_);
  }
  // Its deadline stays on the wheel: the next wait will mostly have a later one.
  void end(SocketWait& wait) noexcept { waiting_[at(wait.direction_)] = nullptr; }
  bool abort_wait(Direction direction);
  void on_events(std::uint32_t generation, std::uint32_t events);

  void blocked(Direction direction) noexcept { ready_[at(direction)] = false; }
  void more_to_read() noexcept { ready_[at(Direction::read)] = true; }
  void count_events_for_both() noexcept { counts_for_both_ = true; }
  void read_short() noexcept {
    if (short_means_empty_) ready_[at(Direction::read)] = false;
  }
  void watch(void (*event)(void*), void* argument, bool only_reset) noexcept {
    event_ = event;
    argument_ = argument;
    only_reset_ = only_reset;
  }
  void unwatch() noexcept { event_ = nullptr; }

  [[nodiscard]] SocketCore* next_free() const noexcept { return static_cast<SocketCore*>(argument_); }
  void set_next_free(SocketCore* next) noexcept { argument_ = next; }
  [[nodiscard]] bool ready(Direction direction) const noexcept { return ready_[at(direction)]; }
  [[nodiscard]] bool is_open() const noexcept { return static_cast<bool>(fd_); }
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  [[nodiscard]] Loop& loop() const noexcept { return *loop_; }

 private:
  static constexpr std::size_t at(Direction direction) { return static_cast<std::size_t>(direction); }
  static void on_due(WheelNode& node) { static_cast<SocketCore&>(node).end_due_waits(); }
  void end_due_waits();
  void forget() noexcept;

  Loop* loop_ = nullptr;
  std::array<SocketWait*, 2> waiting_{};
  void (*event_)(void*) = nullptr;
  void* argument_ = nullptr;  // of event_; of a core that is free: the next one that is
  Fd fd_;
  std::uint32_t index_ = 0;
  std::uint32_t generation_ = 0;
  std::array<bool, 2> ready_{};
  bool only_reset_ = false;  // of event_
  bool short_means_empty_ = true;
  bool is_shared_ = false;
  bool counts_for_both_ = false;
};

inline SocketWait::SocketWait(SocketCore& core, Direction direction, Millis limit) noexcept
    : core_(core),
      deadline_(limit == no_limit ? Instant::max() : core.loop().now() + limit),
      direction_(direction) {}

inline bool SocketWait::await_ready() noexcept {
  if (core_.loop().shut()) {
    result_ = Waited::aborted;
    return true;
  }
  return core_.ready(direction_);
}

inline void SocketWait::await_suspend(std::coroutine_handle<> waiter) {
  waiter_ = waiter;
  core_.begin(*this);
}

inline void SocketWait::finish(Waited result) {
  core_.end(*this);
  result_ = result;
  waiter_.resume();
}

inline int Socket::fd() const noexcept {
  return core_ == nullptr ? -1 : core_->fd();
}

inline bool Socket::may_be_readable() const noexcept {
  return core_->ready(Direction::read);
}

inline void Socket::blocked(Direction direction) const noexcept {
  core_->blocked(direction);
}

inline void Socket::read_short() const noexcept {
  core_->read_short();
}

inline void Socket::more_to_read() const noexcept {
  core_->more_to_read();
}

inline void Socket::count_events_for_both() const noexcept {
  core_->count_events_for_both();
}

inline void Socket::watch(void (*event)(void*), void* argument) {
  core_->watch(event, argument, false);
}

inline void Socket::watch_reset(void (*event)(void*), void* argument) {
  core_->watch(event, argument, true);
}

inline void Socket::unwatch() noexcept {
  core_->unwatch();
}

}  // namespace muster::lb
