// A pipe between two sockets: splice(2) moves bytes through it without a copy to user space. For bulk alone: it costs two
// system calls where a copy costs two as well, and two descriptors.
#pragma once

#include <cstddef>
#include <memory>

#include "base/fd.h"
#include "lb/buffer.h"
#include "lb/socket.h"

namespace muster::lb {

class Pipe {
 public:
  static std::unique_ptr<Pipe> create();  // null: no descriptors are left
  [[nodiscard]] bool empty() const noexcept { return held_ == 0; }
  [[nodiscard]] int highest_fd() const noexcept;
  // Neither socket is encrypted. As receive() and send_some() of lb/io.h; fill() only when empty, drain() only when not.
  std::ptrdiff_t fill(const Socket& from);
  std::ptrdiff_t drain(const Socket& to);
  void empty_into(Buffer& buffer);  // what it holds

 private:
  Pipe(Fd in, Fd out, std::size_t capacity) noexcept
      : in_(std::move(in)), out_(std::move(out)), capacity_(capacity) {}
  Fd in_;  // bytes go in here
  Fd out_;
  std::size_t capacity_;
  std::size_t held_ = 0;
};

}  // namespace muster::lb
