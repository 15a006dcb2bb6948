// One traffic thread's event loop on epoll(7): readiness of sockets, deadlines, letters from the control thread.
// Its sockets (lb/socket.h) are registered once and never again. So a request costs its reads and writes and a share of
// one epoll_wait.
#pragma once

#include <coroutine>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "base/time.h"
#include "lb/coalescing.h"
#include "lb/wheel.h"

struct epoll_event;

namespace muster::lb {

class Loop;
class SocketCore;

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
  void arm(WheelNode& node, Instant deadline) {
    wheel_.arm(node, deadline);
    if (!ticking_) start_ticking();
  }
  // It may fire before: cheap for who puts off a deadline again and again, and looks at it then.
  void arm_no_later(WheelNode& node, Instant deadline) {
    if (!node.armed_by(deadline)) arm(node, deadline);
  }
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
  bool watch_descriptor(int fd, std::uint32_t index, std::uint32_t generation);
  void unwatch_descriptor(int fd);
  int wait_for_events(std::span<epoll_event> events);
  int look(std::span<epoll_event> events, int limit);  // sets now_
  [[nodiscard]] int timeout() const;
  void start_ticking();
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
  Coalescing coalescing_;
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
