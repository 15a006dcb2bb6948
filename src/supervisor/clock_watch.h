// Hears of it when the wall clock is set, and when the host wakes up: an armed timerfd_create(2) of CLOCK_REALTIME is
// cancelled by either. For the control thread.
#pragma once

#include <functional>

#include "supervisor/uv_handles.h"

namespace muster::supervisor {

class ClockWatch {
 public:
  Status open(uv_loop_t* loop, std::function<void()> on_set);

 private:
  Status arm();

  Fd timer_;
  UvPoll poll_;
  std::function<void()> on_set_;
};

}  // namespace muster::supervisor
