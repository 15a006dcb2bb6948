#include "lb/loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>

#include "base/check.h"
#include "lb/tls_session.h"

namespace muster::lb {

namespace {
constexpr std::size_t events_per_round = 256;
constexpr std::uint64_t wake_tag = ~std::uint64_t{0};
constexpr std::uint32_t generation_bits = 32;
constexpr std::size_t cores_per_chunk = 64;
}  // namespace

// A registered socket. Its place is used again after a close; the generation in the tag of an event tells the events
// of the former socket: those of the same round, and those that come while a child that was just forked still holds a
// copy of the descriptor.
class SocketCore {
 public:
  SocketCore() = default;
  ~SocketCore() = default;
  SocketCore(const SocketCore&) = delete;
  SocketCore& operator=(const SocketCore&) = delete;

  void belong_to(Loop& loop, std::uint32_t index) noexcept {
    loop_ = &loop;
    index_ = index;
  }
  // False when epoll takes no more (fs.epoll.max_user_watches).
  bool open(Fd fd, Socket::Kind kind) {
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET;
    event.data.u64 = std::uint64_t{generation_} << generation_bits | index_;
    if (::epoll_ctl(loop_->epoll_.get(), EPOLL_CTL_ADD, fd.get(), &event) != 0) return false;
    fd_ = std::move(fd);
    is_shared_ = kind == Socket::Kind::listening;
    ready_ = {false, kind == Socket::Kind::connected || kind == Socket::Kind::connected_local};
    short_means_empty_ = kind != Socket::Kind::connected_local;
    counts_for_both_ = false;
    return true;
  }

  void close() noexcept {
    MUSTER_CHECK(waiting_[0] == nullptr && waiting_[1] == nullptr);
    // close(2) takes it out of the epoll set only when it was the last descriptor of the socket.
    if (is_shared_) ::epoll_ctl(loop_->epoll_.get(), EPOLL_CTL_DEL, fd_.get(), nullptr);
    fd_.reset();
    unwatch();
    ++generation_;
    loop_->give_core(*this);
  }

  Fd release() noexcept {
    MUSTER_CHECK(waiting_[0] == nullptr && waiting_[1] == nullptr);
    ::epoll_ctl(loop_->epoll_.get(), EPOLL_CTL_DEL, fd_.get(), nullptr);
    Fd fd = std::move(fd_);
    unwatch();
    ++generation_;
    loop_->give_core(*this);
    return fd;
  }

  void begin(SocketWait& wait) {
    SocketWait*& waiting = waiting_[at(wait.direction_)];
    MUSTER_CHECK(waiting == nullptr);
    waiting = &wait;
    if (wait.limit_ != no_limit) loop_->arm(wait, loop_->now() + wait.limit_);
  }
  void end(SocketWait& wait) {
    waiting_[at(wait.direction_)] = nullptr;
    loop_->disarm(wait);
  }
  bool abort_wait(Direction direction) {
    SocketWait* const wait = waiting_[at(direction)];
    if (wait == nullptr) return false;
    wait->finish(Waited::aborted);
    return true;
  }

  void on_events(std::uint32_t generation, std::uint32_t events) {
    if (generation != generation_) return;
    constexpr std::uint32_t ended = EPOLLERR | EPOLLHUP;
    const bool readable = (events & (EPOLLIN | EPOLLRDHUP | EPOLLPRI | ended)) != 0 || counts_for_both_;
    const bool writable = (events & (EPOLLOUT | ended)) != 0 || counts_for_both_;
    // No edge follows an end that is already there; and a read stops short at an urgent byte.
    if ((events & (EPOLLRDHUP | EPOLLPRI | ended)) != 0) short_means_empty_ = false;
    if (readable) ready_[at(Direction::read)] = true;
    if (writable) ready_[at(Direction::write)] = true;
    if (readable) {
      if (SocketWait* const wait = waiting_[at(Direction::read)]) {
        wait->finish(Waited::ready);
      } else if (event_ != nullptr) {
        std::exchange(event_, nullptr)(argument_);
      }
    }
    if (!writable || generation != generation_) return;  // the reader may have closed it
    if (SocketWait* const wait = waiting_[at(Direction::write)]) wait->finish(Waited::ready);
    if ((events & EPOLLERR) == 0 || generation != generation_ || reset_event_ == nullptr) return;
    std::exchange(reset_event_, nullptr)(reset_argument_);
  }

  void blocked(Direction direction) noexcept { ready_[at(direction)] = false; }
  void more_to_read() noexcept { ready_[at(Direction::read)] = true; }
  void count_events_for_both() noexcept { counts_for_both_ = true; }
  void read_short() noexcept {
    if (short_means_empty_) ready_[at(Direction::read)] = false;
  }
  void watch(void (*event)(void*), void* argument) {
    event_ = event;
    argument_ = argument;
  }
  void watch_reset(void (*event)(void*), void* argument) {
    reset_event_ = event;
    reset_argument_ = argument;
  }
  void unwatch() noexcept { event_ = reset_event_ = nullptr; }

  SocketCore*& next_free() noexcept { return next_free_; }
  [[nodiscard]] bool ready(Direction direction) const noexcept { return ready_[at(direction)]; }
  [[nodiscard]] bool is_open() const noexcept { return static_cast<bool>(fd_); }
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  [[nodiscard]] Loop& loop() const noexcept { return *loop_; }

 private:
  static constexpr std::size_t at(Direction direction) { return static_cast<std::size_t>(direction); }

  Loop* loop_ = nullptr;
  Fd fd_;
  std::uint32_t index_ = 0;
  std::uint32_t generation_ = 0;
  std::array<SocketWait*, 2> waiting_{};
  std::array<bool, 2> ready_{};
  bool short_means_empty_ = true;
  bool is_shared_ = false;
  bool counts_for_both_ = false;
  SocketCore* next_free_ = nullptr;
  void (*event_)(void*) = nullptr;
  void* argument_ = nullptr;
  void (*reset_event_)(void*) = nullptr;
  void* reset_argument_ = nullptr;
};

bool SocketWait::await_ready() {
  if (core_.loop().shut()) {
    result_ = Waited::aborted;
    return true;
  }
  return core_.ready(direction_);
}

void SocketWait::await_suspend(std::coroutine_handle<> waiter) {
  waiter_ = waiter;
  core_.begin(*this);
}

void SocketWait::on_due(WheelNode& node) {
  static_cast<SocketWait&>(node).finish(Waited::timed_out);
}

void SocketWait::finish(Waited result) {
  core_.end(*this);
  result_ = result;
  waiter_.resume();
}

void LoopSleep::await_suspend(std::coroutine_handle<> waiter) {
  waiter_ = waiter;
  loop_.arm(*this, loop_.now() + length_);
}

void LoopTurn::await_suspend(std::coroutine_handle<> waiter) {
  loop_.turns_.push_back(waiter);
}

Socket::Socket(Loop& loop, Fd fd, Kind kind) {
  SocketCore& core = loop.take_core();
  if (core.open(std::move(fd), kind)) {
    core_ = &core;
  } else {
    loop.give_core(core);
  }
}

int Socket::fd() const noexcept {
  return core_ == nullptr ? -1 : core_->fd();
}

bool Socket::may_be_readable() const noexcept {
  return core_->ready(Direction::read);
}

void Socket::blocked(Direction direction) const noexcept {
  core_->blocked(direction);
}

void Socket::read_short() const noexcept {
  core_->read_short();
}

void Socket::more_to_read() const noexcept {
  core_->more_to_read();
}

void Socket::count_events_for_both() const noexcept {
  core_->count_events_for_both();
}

void Socket::encrypt(std::unique_ptr<TlsSession> session) noexcept {
  delete std::exchange(tls_, session.release());
}

bool Socket::abort_wait(Direction direction) {
  return core_ != nullptr && core_->abort_wait(direction);
}

void Socket::watch(void (*event)(void*), void* argument) {
  core_->watch(event, argument);
}
void Socket::watch_reset(void (*event)(void*), void* argument) {
  core_->watch_reset(event, argument);
}
void Socket::unwatch() noexcept {
  core_->unwatch();
}

void Socket::reset_on_close() noexcept {
  if (tls_ != nullptr) tls_->abandon();
  const linger abort{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(fd(), SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
}

Fd Socket::release() noexcept {
  MUSTER_CHECK(tls_ == nullptr);
  return core_ == nullptr ? Fd() : std::exchange(core_, nullptr)->release();
}

void Socket::close() noexcept {
  if (tls_ != nullptr) {
    static_cast<void>(tls_->end(*this));  // at once or not at all
    encrypt(nullptr);
  }
  if (core_ != nullptr) std::exchange(core_, nullptr)->close();
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
  core.next_free() = std::exchange(free_core_, &core);
}

void Loop::run() {
  std::array<epoll_event, events_per_round> events{};
  while (!quitting_) {
    const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), timeout());
    MUSTER_CHECK(count >= 0 || errno == EINTR);
    now_ = std::chrono::steady_clock::now();
    for (int i = 0; i < count && !quitting_; ++i) {
      const epoll_event& event = events[static_cast<std::size_t>(i)];
      on_event(event.data.u64, event.events);
    }
    advance_wheel();
    ring_alarm();
    give_turns();
  }
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

void Loop::arm(WheelNode& node, Instant deadline) {
  wheel_.arm(node, deadline);
  if (ticking_) return;
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
