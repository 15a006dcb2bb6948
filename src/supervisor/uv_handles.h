// Owned libuv handles: closed by the destructor, also from inside their own callback. libuv frees their memory one
// loop turn later, which is why the loop must run once more after the owner's end.
#pragma once

#include <uv.h>

#include <chrono>
#include <functional>
#include <optional>
#include <utility>

#include "base/fd.h"
#include "base/result.h"
#include "base/time.h"

namespace muster::supervisor {

template <typename Handle, typename Callback>
class UvHandle {
 public:
  UvHandle() = default;
  UvHandle(UvHandle&& other) noexcept : box_(std::exchange(other.box_, nullptr)) {}
  UvHandle& operator=(UvHandle&& other) noexcept {
    if (this != &other) {
      close();
      box_ = std::exchange(other.box_, nullptr);
    }
    return *this;
  }
  UvHandle(const UvHandle&) = delete;
  UvHandle& operator=(const UvHandle&) = delete;
  ~UvHandle() { close(); }

  [[nodiscard]] bool open() const { return box_ != nullptr; }
  void close() {
    if (!box_) return;
    Box* box = std::exchange(box_, nullptr);
    uv_close(reinterpret_cast<uv_handle_t*>(&box->handle),
             [](uv_handle_t* closed) { delete static_cast<Box*>(closed->data); });
  }

 protected:
  struct Box {
    Handle handle{};
    Callback callback;
  };
  Box* box_ = nullptr;
};

// Level-triggered: the callback reads what made the descriptor ready. The descriptor stays the caller's and must be
// closed after this handle.
class UvPoll : public UvHandle<uv_poll_t, std::function<void()>> {
 public:
  // 0 or a libuv error; then nothing was started. `events` of uv_poll_event.
  [[nodiscard]] int start(uv_loop_t* loop, int fd, int events, std::function<void()> callback);
};

class UvTimer : public UvHandle<uv_timer_t, std::function<void()>> {
 public:
  UvTimer() = default;
  UvTimer(uv_loop_t* loop, std::function<void()> callback);
  void start(std::chrono::milliseconds in);  // once; again replaces the earlier deadline
  void stop();
  [[nodiscard]] bool armed() const;
};

// Wakes the loop at an instant of the steady clock, by timerfd_create(2): libuv's own timers count whole milliseconds,
// and a restart that waits for one of them is half again as slow.
class UvDeadline {
 public:
  Status open(uv_loop_t* loop);
  void set(std::optional<Instant> at);  // replaces the earlier one

 private:
  Fd timer_;
  UvPoll poll_;
  std::optional<Instant> at_;
};

// Keeps no loop alive.
class UvSignal : public UvHandle<uv_signal_t, std::function<void()>> {
 public:
  [[nodiscard]] int start(uv_loop_t* loop, int signal_number, std::function<void()> callback);
};

}  // namespace muster::supervisor
