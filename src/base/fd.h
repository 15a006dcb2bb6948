// An owned file descriptor: closed by the destructor, moved but never copied.
#pragma once

#include <utility>

namespace muster {

class Fd {
 public:
  Fd() noexcept = default;
  explicit Fd(int raw) noexcept : raw_(raw) {}  // takes ownership; -1 means none
  Fd(Fd&& other) noexcept : raw_(std::exchange(other.raw_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) reset(std::exchange(other.raw_, -1));
    return *this;
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { reset(); }

  [[nodiscard]] int get() const noexcept { return raw_; }
  [[nodiscard]] bool valid() const noexcept { return raw_ >= 0; }
  explicit operator bool() const noexcept { return valid(); }
  [[nodiscard]] int release() noexcept { return std::exchange(raw_, -1); }
  void reset(int raw = -1) noexcept;  // closes what is held; errors of close(2) are not reported

 private:
  int raw_ = -1;
};

}  // namespace muster
