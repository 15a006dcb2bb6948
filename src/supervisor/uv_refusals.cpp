#include "supervisor/uv_refusals.h"

#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <string_view>

namespace muster::supervisor {
namespace {

std::atomic<int> patient_epoll{-1};

// abort(3) within its life says why and exits like every other refusal to start.
class AbortIsRefusal {
 public:
  AbortIsRefusal() {
    struct sigaction action {};
    action.sa_handler = [](int) {
      constexpr std::string_view text =
          "muster: the event loop cannot be opened: no descriptors, threads or memory left\n";
      static_cast<void>(!::write(STDERR_FILENO, text.data(), text.size()));
      ::_exit(1);
    };
    ::sigaction(SIGABRT, &action, &before_);
  }
  ~AbortIsRefusal() { ::sigaction(SIGABRT, &before_, nullptr); }
  AbortIsRefusal(const AbortIsRefusal&) = delete;
  AbortIsRefusal& operator=(const AbortIsRefusal&) = delete;

 private:
  struct sigaction before_ {};
};

}  // namespace

Status open_loop(uv_loop_t* loop) {
  const AbortIsRefusal refusal;
  if (const int error = uv_loop_init(loop); error != 0)
    return Error{.message = std::string("the event loop cannot be opened: ") + uv_strerror(error)};
  patient_epoll.store(uv_backend_fd(loop), std::memory_order_relaxed);
  return Unit{};
}

Status start_pool(uv_loop_t* loop) {
  const AbortIsRefusal refusal;
  // The first work that is queued starts the threads.
  static uv_work_t nothing;
  const int queued = uv_queue_work(
      loop, &nothing, [](uv_work_t*) {}, [](uv_work_t*, int) {});
  if (queued != 0)
    return Error{.message = std::string("the event loop cannot be opened: ") + uv_strerror(queued)};
  return Unit{};
}

}  // namespace muster::supervisor

// The linker puts it in place of epoll_ctl(2) (--wrap).
// NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp,readability-identifier-naming)
extern "C" int __real_epoll_ctl(int epoll, int operation, int fd, epoll_event* event);
extern "C" int __wrap_epoll_ctl(int epoll, int operation, int fd, epoll_event* event) {
  constexpr int pause_ms = 10;
  constexpr int tries = 500;
  int result = __real_epoll_ctl(epoll, operation, fd, event);
  if (epoll != muster::supervisor::patient_epoll.load(std::memory_order_relaxed)) return result;
  for (int i = 0; i < tries && result != 0 && (errno == ENOMEM || errno == ENOSPC); ++i) {
    if (i == 0) std::fputs("muster: the kernel takes no more watched descriptors: trying on\n", stderr);
    ::poll(nullptr, 0, pause_ms);
    result = __real_epoll_ctl(epoll, operation, fd, event);
  }
  return result;
}
// NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp,readability-identifier-naming)
