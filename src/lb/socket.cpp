#include "lb/socket.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>

#include "lb/tls_session.h"

namespace muster::lb {

bool SocketCore::open(Fd fd, Socket::Kind kind) {
  if (!loop_->watch_descriptor(fd.get(), index_, generation_)) return false;
  fd_ = std::move(fd);
  is_shared_ = kind == Socket::Kind::listening;
  ready_ = {false, kind == Socket::Kind::connected || kind == Socket::Kind::connected_local};
  short_means_empty_ = kind != Socket::Kind::connected_local;
  counts_for_both_ = false;
  return true;
}

void SocketCore::forget() noexcept {
  unwatch();
  loop_->disarm(*this);
  ++generation_;
  loop_->give_core(*this);
}

void SocketCore::close() noexcept {
  MUSTER_CHECK(waiting_[0] == nullptr && waiting_[1] == nullptr);
  // close(2) takes it out of the epoll set only when it was the last descriptor of the socket.
  if (is_shared_) loop_->unwatch_descriptor(fd_.get());
  fd_.reset();
  forget();
}

Fd SocketCore::release() noexcept {
  MUSTER_CHECK(waiting_[0] == nullptr && waiting_[1] == nullptr);
  loop_->unwatch_descriptor(fd_.get());
  Fd fd = std::move(fd_);
  forget();
  return fd;
}

bool SocketCore::abort_wait(Direction direction) {
  SocketWait* const wait = waiting_[at(direction)];
  if (wait == nullptr) return false;
  wait->finish(Waited::aborted);
  return true;
}

void SocketCore::on_events(std::uint32_t generation, std::uint32_t events) {
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
    } else if (event_ != nullptr && !only_reset_) {
      std::exchange(event_, nullptr)(argument_);
    }
  }
  if (!writable || generation != generation_) return;  // the reader may have closed it
  if (SocketWait* const wait = waiting_[at(Direction::write)]) wait->finish(Waited::ready);
  if ((events & EPOLLERR) == 0 || generation != generation_) return;
  if (event_ != nullptr && only_reset_) std::exchange(event_, nullptr)(argument_);
}

void SocketCore::end_due_waits() {
  const Instant now = loop_->now();
  Instant next = Instant::max();
  for (const SocketWait* const wait : waiting_) {
    if (wait != nullptr && wait->deadline_ > now) next = std::min(next, wait->deadline_);
  }
  if (next != Instant::max()) loop_->arm_no_later(*this, next);
  const std::uint32_t generation = generation_;
  for (std::size_t i = 0; i < waiting_.size() && generation == generation_; ++i) {
    SocketWait* const wait = waiting_[i];
    if (wait != nullptr && wait->deadline_ <= now) wait->finish(Waited::timed_out);
  }
}

Socket::Socket(Loop& loop, Fd fd, Kind kind) {
  SocketCore& core = loop.take_core();
  if (core.open(std::move(fd), kind)) {
    core_ = &core;
  } else {
    loop.give_core(core);
  }
}

void Socket::encrypt(std::unique_ptr<TlsSession> session) noexcept {
  delete std::exchange(tls_, session.release());
}

bool Socket::abort_wait(Direction direction) {
  return core_ != nullptr && core_->abort_wait(direction);
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

}  // namespace muster::lb
