// A libuv loop for tests: runs until something is so, at most for a deadline. Events end the wait, not a length of time.
#pragma once

#include <uv.h>

#include <chrono>
#include <functional>

#include "base/check.h"

namespace muster::testing_support {

class UvLoop {
 public:
  UvLoop() { MUSTER_CHECK(uv_loop_init(&loop_) == 0); }
  ~UvLoop() {
    drain();
    MUSTER_CHECK(uv_loop_close(&loop_) == 0);  // a handle that is left over is a bug of what is tested
  }
  UvLoop(const UvLoop&) = delete;
  UvLoop& operator=(const UvLoop&) = delete;

  uv_loop_t* get() { return &loop_; }

  // True as soon as `done()` is; false after `deadline`.
  bool run_until(const std::function<bool()>& done,
                 std::chrono::milliseconds deadline = std::chrono::seconds(20)) {
    uv_timer_t timer{};
    bool late = false;
    uv_timer_init(&loop_, &timer);
    timer.data = &late;
    uv_timer_start(
        &timer, [](uv_timer_t* handle) { *static_cast<bool*>(handle->data) = true; },
        static_cast<std::uint64_t>(deadline.count()), 0);
    while (!done() && !late) uv_run(&loop_, UV_RUN_ONCE);
    bool closed = false;
    timer.data = &closed;
    uv_close(reinterpret_cast<uv_handle_t*>(&timer),
             [](uv_handle_t* handle) { *static_cast<bool*>(handle->data) = true; });
    while (!closed) uv_run(&loop_, UV_RUN_NOWAIT);
    return !late || done();
  }

  // Lets closed handles go.
  void drain() {
    for (int turn = 0; turn < 10; ++turn) uv_run(&loop_, UV_RUN_NOWAIT);
  }

 private:
  uv_loop_t loop_{};
};

}  // namespace muster::testing_support
