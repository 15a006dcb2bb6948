#include "supervisor/uv_handles.h"

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
