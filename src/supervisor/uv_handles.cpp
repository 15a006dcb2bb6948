#include "supervisor/uv_handles.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <string>

#include "base/check.h"

namespace muster::supervisor {

int UvPoll::start(uv_loop_t* loop, int fd, int events, std::function<void()> callback) {
  close();
  Box* box = new Box{{}, std::move(callback)};
  if (const int error = uv_poll_init(loop, &box->handle, fd); error != 0) {
    delete box;  // libuv does not know it yet
    return error;
  }
  box->handle.data = box;
  box_ = box;
  // An error of the descriptor (EPOLLERR) is found by the read that the callback makes.
  const int error = uv_poll_start(
      &box->handle, events,
      [](uv_poll_t* handle, int /*status*/, int /*events*/) { static_cast<Box*>(handle->data)->callback(); });
  if (error != 0) close();
  return error;
}

UvTimer::UvTimer(uv_loop_t* loop, std::function<void()> callback) {
  box_ = new Box{{}, std::move(callback)};
  MUSTER_CHECK(uv_timer_init(loop, &box_->handle) == 0);
  box_->handle.data = box_;
}

void UvTimer::start(std::chrono::milliseconds in) {
  const auto ms = static_cast<std::uint64_t>(in.count() < 0 ? 0 : in.count());
  uv_timer_start(
      &box_->handle, [](uv_timer_t* handle) { static_cast<Box*>(handle->data)->callback(); }, ms, 0);
}

void UvTimer::stop() {
  if (box_) uv_timer_stop(&box_->handle);
}

bool UvTimer::armed() const {
  return box_ && uv_is_active(reinterpret_cast<const uv_handle_t*>(&box_->handle)) != 0;
}

Status UvDeadline::open(uv_loop_t* loop) {
  timer_.reset(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  if (!timer_) return system_error("timerfd_create", errno);
  const int error = poll_.start(loop, timer_.get(), UV_READABLE, [this] {
    std::uint64_t count = 0;
    MUSTER_CHECK(read(timer_.get(), &count, sizeof count) > 0 || errno == EAGAIN || errno == EINTR);
    at_.reset();
  });
  if (error != 0) return Error{std::string("watching a timer: ") + uv_strerror(error)};
  return Unit{};
}

void UvDeadline::set(std::optional<Instant> at) {
  if (at == at_) return;
  at_ = at;
  itimerspec when{};  // all zero: none
  if (at) {
    const auto since_boot = std::max<std::int64_t>(Nanos(at->time_since_epoch()).count(), 1);
    when.it_value.tv_sec = since_boot / 1'000'000'000;
    when.it_value.tv_nsec = since_boot % 1'000'000'000;
  }
  MUSTER_CHECK(timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr) == 0);
}

int UvSignal::start(uv_loop_t* loop, int signal_number, std::function<void()> callback) {
  close();
  Box* box = new Box{{}, std::move(callback)};
  if (const int error = uv_signal_init(loop, &box->handle); error != 0) {
    delete box;
    return error;
  }
  box->handle.data = box;
  box_ = box;
  uv_unref(reinterpret_cast<uv_handle_t*>(&box->handle));
  const int error = uv_signal_start(
      &box->handle, [](uv_signal_t* handle, int /*number*/) { static_cast<Box*>(handle->data)->callback(); },
      signal_number);
  if (error != 0) close();
  return error;
}

}  // namespace muster::supervisor
