#include "lb/pipe.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/check.h"
#include "lb/io.h"

namespace muster::lb {

namespace {
// As much as a busy receive buffer holds at a time; beyond it the processor's cache is left. fcntl(2) may refuse it to a
// user with many pipes: then it stays at 64 KiB.
constexpr int wanted_bytes = 256 << 10;

std::ptrdiff_t move(int from, int to, std::size_t bytes) {
  for (;;) {
    const ssize_t moved = ::splice(from, nullptr, to, nullptr, bytes, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (moved >= 0) return moved;
    if (errno != EINTR) return errno == EAGAIN ? io_blocked : io_failed;
  }
}
}  // namespace

std::unique_ptr<Pipe> Pipe::create() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_NONBLOCK | O_CLOEXEC) != 0) return nullptr;
  Fd out(ends[0]);
  Fd in(ends[1]);
  ::fcntl(in.get(), F_SETPIPE_SZ, wanted_bytes);
  const int capacity = ::fcntl(in.get(), F_GETPIPE_SZ);
  if (capacity <= 0) return nullptr;
  return std::unique_ptr<Pipe>(new Pipe(std::move(in), std::move(out), static_cast<std::size_t>(capacity)));
}

int Pipe::highest_fd() const noexcept {
  return std::max(in_.get(), out_.get());
}

std::ptrdiff_t Pipe::fill(const Socket& from) {
  const std::ptrdiff_t got = move(from.fd(), in_.get(), capacity_);
  if (got > 0) held_ = static_cast<std::size_t>(got);
  if (got == io_blocked) from.blocked(Direction::read);  // an empty pipe has room
  return got;
}

std::ptrdiff_t Pipe::drain(const Socket& to) {
  const std::ptrdiff_t sent = move(out_.get(), to.fd(), held_);
  if (sent > 0) held_ -= static_cast<std::size_t>(sent);
  if (sent == io_blocked) to.blocked(Direction::write);
  return sent;
}

void Pipe::empty_into(Buffer& buffer) {
  while (held_ > 0) {
    ssize_t got = 0;
    buffer.append_with(held_, [&](Pen pen) {
      got = ::read(out_.get(), pen.at(), held_);
      return Pen(pen.at() + std::max<ssize_t>(got, 0));
    });
    if (got < 0 && errno == EINTR) continue;
    MUSTER_CHECK(got > 0);  // it holds what was counted
    held_ -= static_cast<std::size_t>(got);
  }
}

}  // namespace muster::lb
