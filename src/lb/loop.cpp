#include "lb/loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <ctime>

#include "base/check.h"
#include "lb/socket.h"

namespace muster::lb {

namespace {
constexpr std::size_t events_per_round = 256;
constexpr std::uint64_t wake_tag = ~std::uint64_t{0};
constexpr std::uint32_t generation_bits = 32;
constexpr std::size_t cores_per_chunk = 64;
}  // namespace

void LoopSleep::await_suspend(std::coroutine_handle<> waiter) {
  waiter_ = waiter;
  loop_.arm(*this, loop_.now() + length_);
}

void LoopTurn::await_suspend(std::coroutine_handle<> waiter) {
  loop_.turns_.push_back(waiter);
}

Loop::Loop(Fd epoll, Fd wake)
    : epoll_(std::move(epoll)),
      wake_(std::move(wake)),
      now_(std::chrono::steady_clock::now()),
      wheel_(now_) {}
Loop::~Loop() = default;

Result<std::unique_ptr<Loop>> Loop::create() {
  Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return system_error("epoll_create1", errno);
  Fd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return system_error("eventfd", errno);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = wake_tag;
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake.get(), &event) != 0)
    return system_error("epoll_ctl", errno);
  return std::unique_ptr<Loop>(new Loop(std::move(epoll), std::move(wake)));
}

bool Loop::watch_descriptor(int fd, std::uint32_t index, std::uint32_t generation) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET;
  event.data.u64 = std::uint64_t{generation} << generation_bits | index;
  return ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

void Loop::unwatch_descriptor(int fd) {
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

SocketCore& Loop::take_core() {
  if (free_core_ == nullptr) {
    // NOLINTNEXTLINE(modernize-avoid-c-arrays)
    auto& chunk = cores_.emplace_back(std::make_unique<SocketCore[]>(cores_per_chunk));
    const std::size_t first = (cores_.size() - 1) * cores_per_chunk;
    for (std::size_t i = cores_per_chunk; i-- > 0;) {
      chunk[i].belong_to(*this, static_cast<std::uint32_t>(first + i));
      give_core(chunk[i]);
    }
  }
  SocketCore& core = *free_core_;
  free_core_ = core.next_free();
  return core;
}

void Loop::give_core(SocketCore& core) noexcept {
  core.set_next_free(std::exchange(free_core_, &core));
}

void Loop::run() {
  std::array<epoll_event, events_per_round> events{};
  // A pause is to be as long as it says: by default 50 us are added (prctl(2)). Without it, it is only longer.
  ::prctl(PR_SET_TIMERSLACK, 1000UL);
  while (!quitting_) {
    const int count = wait_for_events(events);
    for (int i = 0; i < count && !quitting_; ++i) {
      const epoll_event& event = events[static_cast<std::size_t>(i)];
      on_event(event.data.u64, event.events);
    }
    advance_wheel();
    ring_alarm();
    give_turns();
  }
}

int Loop::look(std::span<epoll_event> events, int limit) {
  const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), limit);
  MUSTER_CHECK(count >= 0 || errno == EINTR);
  now_ = std::chrono::steady_clock::now();
  return std::max(count, 0);
}

int Loop::wait_for_events(std::span<epoll_event> events) {
  if (!coalescing_.is_on()) {
    const int count = look(events, timeout());
    coalescing_.came_round(now_);
    return count;
  }
  if (const int count = look(events, 0); count > 0 || timeout() == 0) return count;
  if (coalescing_.should_pause(now_)) {
    constexpr timespec pause{.tv_sec = 0, .tv_nsec = std::chrono::nanoseconds(Coalescing::pause).count()};
    ::nanosleep(&pause, nullptr);
  }
  const int count = look(events, timeout());
  coalescing_.went_on(now_);
  return count;
}

int Loop::timeout() const {
  if (!turns_.empty()) return 0;
  if (!ticking_ && alarm_ == nullptr) return -1;
  Instant next = ticking_ ? next_tick_ : alarm_at_;
  if (alarm_ != nullptr) next = std::min(next, alarm_at_);
  const auto left = std::chrono::ceil<Millis>(next - now_);
  return static_cast<int>(std::clamp<Millis::rep>(left.count(), 0, INT_MAX));
}

void Loop::on_event(std::uint64_t tag, std::uint32_t events) {
  if (tag == wake_tag) {
    read_letters();
  } else {
    const auto index = static_cast<std::uint32_t>(tag);
    cores_[index / cores_per_chunk][index % cores_per_chunk].on_events(
        static_cast<std::uint32_t>(tag >> generation_bits), events);
  }
}

void Loop::post(std::function<void()> letter) {
  const std::lock_guard lock(mutex_);
  letters_.push_back(std::move(letter));
  if (letters_.size() > 1) return;
  const std::uint64_t one = 1;
  // Cannot fail on an eventfd that is far from its maximum.
  MUSTER_CHECK(::write(wake_.get(), &one, sizeof one) == sizeof one);
}

void Loop::read_letters() {
  std::uint64_t count = 0;
  if (::read(wake_.get(), &count, sizeof count) < 0) MUSTER_CHECK(errno == EAGAIN || errno == EINTR);
  std::vector<std::function<void()>> letters;
  {
    const std::lock_guard lock(mutex_);
    letters.swap(letters_);
  }
  for (const auto& letter : letters) letter();
}

void Loop::start_ticking() {
  ticking_ = true;
  next_tick_ = now_ + Wheel::tick;
}

void Loop::advance_wheel() {
  if (!ticking_ || now_ < next_tick_) return;
  wheel_.advance(now_);
  ticking_ = wheel_.size() > 0;
  next_tick_ = now_ + Wheel::tick;
}

void Loop::ring_alarm() {
  if (alarm_ != nullptr && now_ >= alarm_at_) std::exchange(alarm_, nullptr)();
}

void Loop::give_turns() {
  for (const std::coroutine_handle<> waiter : std::exchange(turns_, {})) waiter.resume();
}

void Loop::shut_all_sockets() {
  shut_ = true;
  for (const auto& chunk : cores_) {
    for (std::size_t i = 0; i < cores_per_chunk; ++i)
      if (chunk[i].is_open()) ::shutdown(chunk[i].fd(), SHUT_RDWR);
  }
}

void Loop::abandon_waits() {
  shut_ = true;
  // By index: what goes on may open another socket.
  for (std::size_t chunk = 0; chunk < cores_.size(); ++chunk) {  // NOLINT(modernize-loop-convert)
    for (std::size_t i = 0; i < cores_per_chunk; ++i) {
      cores_[chunk][i].abort_wait(Direction::read);
      cores_[chunk][i].abort_wait(Direction::write);
    }
  }
  wheel_.fire_all();
}

}  // namespace muster::lb
