#include "lb/loop.h"

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <mutex>
#include <vector>

#include "base/check.h"

namespace muster::lb {

namespace asio = boost::asio;
using Executor = asio::io_context::executor_type;
using Descriptor = asio::posix::basic_stream_descriptor<Executor>;
using Timer = asio::basic_waitable_timer<std::chrono::steady_clock,
                                         asio::wait_traits<std::chrono::steady_clock>, Executor>;
using ErrorCode = boost::system::error_code;

// Only the loop's own thread touches the io_context: letters come through a mutex and an eventfd. So Asio's own locks
// are off (a handler costs no atomic operation).
struct Loop::Io {
  explicit Io(Fd wake_fd)
      : wake_raw(wake_fd.get()),
        wake(context.get_executor(), wake_fd.release()),
        timer(context.get_executor()) {}
  asio::io_context context{BOOST_ASIO_CONCURRENCY_HINT_UNSAFE};
  const int wake_raw;
  Descriptor wake;
  Timer timer;
  std::mutex mutex;
  std::vector<std::function<void()>> letters;
};

// Outlives its Socket until the waits that Asio still holds have come back.
class SocketCore {
 public:
  explicit SocketCore(Loop& loop) : loop_(loop), descriptor_(loop.io_->context.get_executor()) {}

  // False when epoll takes no more (fs.epoll.max_user_watches).
  bool open(Fd fd) {
    ErrorCode error;
    descriptor_.assign(fd.get(), error);
    if (error) return false;
    raw_ = fd.release();
    next_ = loop_.sockets_;
    if (next_ != nullptr) next_->previous_ = this;
    loop_.sockets_ = this;
    return true;
  }

  void close() noexcept {
    MUSTER_CHECK(waiting_[0] == nullptr && waiting_[1] == nullptr);
    (previous_ == nullptr ? loop_.sockets_ : previous_->next_) = next_;
    if (next_ != nullptr) next_->previous_ = previous_;
    ErrorCode ignored;
    descriptor_.close(ignored);
    event_ = nullptr;
    closed_ = true;
    if (!armed_[0] && !armed_[1]) delete this;
  }

  void begin(SocketWait& wait) {
    const auto index = static_cast<std::size_t>(wait.direction_);
    MUSTER_CHECK(waiting_[index] == nullptr);
    waiting_[index] = &wait;
    if (wait.limit_ != no_limit) loop_.arm(wait, loop_.now() + wait.limit_);
    arm(wait.direction_);
  }
  void end(SocketWait& wait) {
    waiting_[static_cast<std::size_t>(wait.direction_)] = nullptr;
    loop_.disarm(wait);
  }

  void arm(Direction direction) {
    const auto index = static_cast<std::size_t>(direction);
    if (armed_[index]) return;
    armed_[index] = true;
    const auto type = direction == Direction::read ? Descriptor::wait_read : Descriptor::wait_write;
    descriptor_.async_wait(type, [this, direction](const ErrorCode&) { on_event(direction); });
  }

  [[nodiscard]] int fd() const noexcept { return raw_; }
  [[nodiscard]] Loop& loop() const noexcept { return loop_; }
  void abort_wait(Direction direction) {
    SocketWait* const wait = waiting_[static_cast<std::size_t>(direction)];
    if (wait != nullptr) wait->finish(Waited::aborted);
  }
  bool take_ready(Direction direction) {
    return std::exchange(ready_[static_cast<std::size_t>(direction)], false);
  }
  void watch(void (*event)(void*), void* argument) {
    event_ = event;
    argument_ = argument;
    arm(Direction::read);
  }
  void unwatch() noexcept { event_ = nullptr; }
  [[nodiscard]] SocketCore* next() const noexcept { return next_; }

 private:
  void on_event(Direction direction) {
    const auto index = static_cast<std::size_t>(direction);
    armed_[index] = false;
    if (closed_) {
      if (!armed_[0] && !armed_[1]) delete this;
      return;
    }
    loop_.stamp();
    if (SocketWait* const wait = waiting_[index]) {
      wait->finish(Waited::ready);
    } else if (direction == Direction::read && event_ != nullptr) {
      std::exchange(event_, nullptr)(argument_);
    } else {
      ready_[index] = true;
    }
  }

  Loop& loop_;
  Descriptor descriptor_;
  std::array<SocketWait*, 2> waiting_{};
  std::array<bool, 2> armed_{};  // Asio holds a wait
  std::array<bool, 2> ready_{};  // it came back while nobody waited
  bool closed_ = false;
  int raw_ = -1;
  void (*event_)(void*) = nullptr;
  void* argument_ = nullptr;
  SocketCore* previous_ = nullptr;
  SocketCore* next_ = nullptr;
};

bool SocketWait::await_ready() {
  if (core_.loop().shut()) {
    result_ = Waited::aborted;
    return true;
  }
  return core_.take_ready(direction_);
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

Socket::Socket(Loop& loop, Fd fd) {
  auto core = std::make_unique<SocketCore>(loop);
  if (core->open(std::move(fd))) core_ = core.release();
}

int Socket::fd() const noexcept {
  return core_ == nullptr ? -1 : core_->fd();
}

void Socket::abort_wait(Direction direction) {
  if (core_ == nullptr) return;
  core_->abort_wait(direction);
}

void Socket::watch(void (*event)(void*), void* argument) {
  core_->watch(event, argument);
}
void Socket::unwatch() noexcept {
  core_->unwatch();
}

void Socket::reset_on_close() noexcept {
  const linger abort{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(fd(), SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
}

void Socket::close() noexcept {
  if (core_ != nullptr) std::exchange(core_, nullptr)->close();
}

Loop::Loop(std::unique_ptr<Io> io)
    : now_(std::chrono::steady_clock::now()), wheel_(now_), io_(std::move(io)) {}
Loop::~Loop() = default;

Result<std::unique_ptr<Loop>> Loop::create() {
  Fd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return system_error("eventfd", errno);
  try {
    return std::unique_ptr<Loop>(new Loop(std::make_unique<Io>(std::move(wake))));
  } catch (const boost::system::system_error& failure) {
    return system_error("epoll", failure.code().value());
  }
}

void Loop::run() {
  stamp();
  wait_for_letters();
  io_->context.run();
}

void Loop::quit() {
  quitting_ = true;
  ErrorCode ignored;
  io_->wake.cancel(ignored);  // not closed: a late post() may still write to it
  io_->timer.cancel();
}

void Loop::post(std::function<void()> letter) {
  const std::lock_guard lock(io_->mutex);
  io_->letters.push_back(std::move(letter));
  if (io_->letters.size() > 1) return;
  const std::uint64_t one = 1;
  // Cannot fail on an eventfd that is far from its maximum.
  MUSTER_CHECK(::write(io_->wake_raw, &one, sizeof one) == sizeof one);
}

void Loop::wait_for_letters() {
  io_->wake.async_wait(Descriptor::wait_read, [this](const ErrorCode& error) {
    if (error || quitting_) return;
    stamp();
    std::uint64_t count = 0;
    if (::read(io_->wake_raw, &count, sizeof count) < 0 && errno != EAGAIN) MUSTER_CHECK(errno == EINTR);
    std::vector<std::function<void()>> letters;
    {
      const std::lock_guard lock(io_->mutex);
      letters.swap(io_->letters);
    }
    for (const auto& letter : letters) letter();
    if (!quitting_) wait_for_letters();
  });
}

void Loop::arm(WheelNode& node, Instant deadline) {
  wheel_.arm(node, deadline);
  if (!ticking_) start_tick();
}

void Loop::start_tick() {
  ticking_ = true;
  io_->timer.expires_after(Wheel::tick);
  io_->timer.async_wait([this](const ErrorCode&) {
    ticking_ = false;
    if (quitting_) return;
    stamp();
    wheel_.advance(now_);
    if (wheel_.size() > 0 && !ticking_) start_tick();
  });
}

void Loop::shut_all_sockets() {
  shut_ = true;
  for (SocketCore* socket = sockets_; socket != nullptr; socket = socket->next())
    ::shutdown(socket->fd(), SHUT_RDWR);
}

}  // namespace muster::lb
