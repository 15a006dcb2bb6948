// One traffic thread's event loop: readiness of sockets, deadlines, letters from the control thread. Asio lives in
// loop.cpp alone. Sockets are read and written by plain system calls first; a coroutine waits only on EAGAIN.
#pragma once

#include <array>
#include <coroutine>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "base/fd.h"
#include "base/result.h"
#include "base/time.h"
#include "lb/wheel.h"

namespace muster::lb {

class Loop;
class SocketCore;

enum class Direction : std::uint8_t { read, write };

enum class Waited : std::uint8_t {
  ready,  // or an error is pending: the next system call says
  timed_out,
  aborted,  // abort_wait(), or the loop is being shut
};

inline constexpr Millis no_limit = Millis::max();

// Awaitable: until the socket is ready or `limit` is over. At most one per socket and direction.
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
  Socket() noexcept = default;
  Socket(Loop& loop, Fd fd);  // not valid() when the kernel takes no more
  Socket(Socket&& other) noexcept : core_(std::exchange(other.core_, nullptr)) {}
  Socket& operator=(Socket&& other) noexcept {
    if (this != &other) {
      close();
      core_ = std::exchange(other.core_, nullptr);
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
  // The coroutine that waits in this direction, if any, goes on at once with Waited::aborted.
  void abort_wait(Direction direction);
  void abort_waits() {
    abort_wait(Direction::read);
    abort_wait(Direction::write);
  }
  // A socket nobody reads from: `event` is called once when the peer sends or closes. Ended by the next read wait.
  void watch(void (*event)(void*), void* argument);
  void unwatch() noexcept;
  void reset_on_close() noexcept;  // close() sends RST instead of FIN
  void close() noexcept;

 private:
  SocketCore* core_ = nullptr;
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

class Loop {
 public:
  static Result<std::unique_ptr<Loop>> create();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Runs on the calling thread until quit() was called and all sockets are closed.
  void run();
  void quit();

  // From any thread: runs `letter` on the loop's thread, in order. Never dropped.
  void post(std::function<void()> letter);

  [[nodiscard]] Instant now() const noexcept { return now_; }  // read once per event
  void arm(WheelNode& node, Instant deadline);
  void disarm(WheelNode& node) noexcept { wheel_.disarm(node); }

  // The second step of a stop: shuts every socket down, waits end at once from now on.
  void shut_all_sockets();
  [[nodiscard]] bool shut() const noexcept { return shut_; }

  // Awaitable pause, counted on the wheel.
  LoopSleep sleep(Millis length) noexcept;

 private:
  friend class SocketCore;
  struct Io;  // what is Asio's
  explicit Loop(std::unique_ptr<Io> io);
  void stamp() { now_ = std::chrono::steady_clock::now(); }
  void start_tick();
  void wait_for_letters();

  Instant now_;
  Wheel wheel_;
  bool ticking_ = false;
  bool quitting_ = false;
  bool shut_ = false;
  SocketCore* sockets_ = nullptr;  // all of them, for shut_all_sockets()
  std::unique_ptr<Io> io_;
};

inline LoopSleep Loop::sleep(Millis length) noexcept {
  return {*this, length};
}

}  // namespace muster::lb
