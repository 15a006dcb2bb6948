// One traffic thread's event loop on epoll(7): readiness of sockets, deadlines, letters from the control thread.
// Sockets are registered once, edge-triggered for both directions, and never again: what the edges said is kept for
// each direction until a system call finds that it holds no more. So a request costs its reads and writes and a share
// of one epoll_wait.
#pragma once

#include <array>
#include <coroutine>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "base/time.h"
#include "lb/wheel.h"

namespace muster::lb {

class Loop;
class SocketCore;
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
class SocketWait : private WheelNode {
 public:
  SocketWait(SocketCore& core, Direction direction, Millis limit) noexcept
      : WheelNode(&SocketWait::on_due), core_(core), limit_(limit), direction_(direction) {}
  bool await_ready();
  void await_suspend(std::coroutine_handle<> waiter);
  [[nodiscard]] Waited await_resume() const noexcept { return result_; }

 private:
  friend class SocketCore;
  static void on_due(WheelNode& node);
  void finish(Waited result);

  SocketCore& core_;
  std::coroutine_handle<> waiter_;
  Millis limit_;
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
  ~Socket() { close(); }

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
  // A socket nobody reads from: `event` is called once when the peer sends or closes from now on, until unwatch().
  void watch(void (*event)(void*), void* argument);
  void unwatch() noexcept;
  // `event` is called once when the connection is reset from now on, until unwatch(): for a socket that is read no more.
  void watch_reset(void (*event)(void*), void* argument);
  void reset_on_close() noexcept;  // close() sends RST instead of FIN
  // Ends the registration and gives the descriptor away, as it is. Not encrypted, and nobody waits on it.
  Fd release() noexcept;
  void close() noexcept;

 private:
  SocketCore* core_ = nullptr;
  TlsSession* tls_ = nullptr;  // owned
};

// Awaitable: until its time is over; a loop that is being shut ends it like any other wait, at that time.
class LoopSleep : private WheelNode {
 public:
  LoopSleep(Loop& loop, Millis length) noexcept
      : WheelNode(&LoopSleep::on_due), loop_(loop), length_(length) {}
  static bool await_ready() noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiter);
  static void await_resume() noexcept {}

 private:
  static void on_due(WheelNode& node) { static_cast<LoopSleep&>(node).waiter_.resume(); }

  Loop& loop_;
  Millis length_;
  std::coroutine_handle<> waiter_;
};

// Awaitable: lets all others that are ready go on first. A coroutine that always finds more to do gives them turns.
class LoopTurn {
 public:
  explicit LoopTurn(Loop& loop) noexcept : loop_(loop) {}
  static bool await_ready() noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiter);
  static void await_resume() noexcept {}

 private:
  Loop& loop_;
};

class Loop {
 public:
  static Result<std::unique_ptr<Loop>> create();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Runs on the calling thread until quit() was called on it.
  void run();
  void quit() noexcept { quitting_ = true; }

  // From any thread: runs `letter` on the loop's thread, in order. Letters that come after quit() are not run.
  void post(std::function<void()> letter);

  [[nodiscard]] Instant now() const noexcept { return now_; }  // read once per round of events
  void arm(WheelNode& node, Instant deadline);
  void disarm(WheelNode& node) noexcept { wheel_.disarm(node); }
  // One deadline that the wheel's tick is too coarse for: `ring` is called at its millisecond. Null: it is off.
  void set_alarm(Instant deadline, std::function<void()> ring) {
    alarm_at_ = deadline;
    alarm_ = std::move(ring);
  }

  // The second step of a stop: shuts every socket down, waits end at once from now on.
  void shut_all_sockets();
  // Ends every wait, sleep and deadline at once, now and from now on, and leaves the sockets as they are.
  void abandon_waits();
  [[nodiscard]] bool shut() const noexcept { return shut_; }

  LoopSleep sleep(Millis length) noexcept { return {*this, length}; }  // counted on the wheel
  LoopTurn turn() noexcept { return LoopTurn(*this); }

 private:
  friend class SocketCore;
  friend class Socket;
  friend class LoopTurn;
  Loop(Fd epoll, Fd wake);
  [[nodiscard]] int timeout() const;
  void on_event(std::uint64_t tag, std::uint32_t events);
  void read_letters();
  void advance_wheel();
  void give_turns();
  void ring_alarm();
  SocketCore& take_core();
  void give_core(SocketCore& core) noexcept;

  const Fd epoll_;
  const Fd wake_;  // an eventfd, written by post()
  Instant now_;
  Wheel wheel_;
  Instant next_tick_{};  // while the wheel holds a node
  bool ticking_ = false;
  Instant alarm_at_{};  // while alarm_ is not null
  std::function<void()> alarm_;
  bool quitting_ = false;
  bool shut_ = false;
  // Never freed one by one: an event for a socket that is closed meanwhile must still find its core.
  std::vector<std::unique_ptr<SocketCore[]>> cores_;  // NOLINT(modernize-avoid-c-arrays): chunks
  SocketCore* free_core_ = nullptr;                   // the first of a list
  std::vector<std::coroutine_handle<>> turns_;
  std::mutex mutex_;
  std::vector<std::function<void()>> letters_;  // guarded by mutex_
};

}  // namespace muster::lb
