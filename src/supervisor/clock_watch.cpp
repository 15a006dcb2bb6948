#include "supervisor/clock_watch.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace muster::supervisor {

Status ClockWatch::open(uv_loop_t* loop, std::function<void()> on_set) {
  on_set_ = std::move(on_set);
  timer_ = Fd(::timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC));
  if (!timer_) return system_error("timerfd_create", errno);
  if (Status armed = arm(); !armed) return armed;
  const int error = poll_.start(loop, timer_.get(), UV_READABLE, [this] {
    std::uint64_t expirations = 0;
    const ssize_t got = ::read(timer_.get(), &expirations, sizeof expirations);
    if (got < 0 && errno == EAGAIN) return;
    static_cast<void>(arm());
    on_set_();
  });
  if (error != 0) return Error{.message = "the clock cannot be watched: no descriptors left"};
  return Unit{};
}

// For a time that never comes.
Status ClockWatch::arm() {
  itimerspec spec{};
  spec.it_value.tv_sec = 9'000'000'000;  // the year 2255
  const int flags = TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET;
  if (::timerfd_settime(timer_.get(), flags, &spec, nullptr) == 0) return Unit{};
  return system_error("timerfd_settime", errno);
}

}  // namespace muster::supervisor
