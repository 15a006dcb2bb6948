// A bounded queue from many threads to one. The receiver is woken by a callback on the transition from empty;
// it takes everything at once, so a wake-up costs one lock however many letters there are.
#pragma once

#include <cstddef>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

namespace muster {

template <typename T>
class Mailbox {
 public:
  // `wake` is called on the sender's thread, without the lock held; it must be thread-safe (uv_async_send
  // is).
  Mailbox(std::size_t capacity, std::function<void()> wake) : capacity_(capacity), wake_(std::move(wake)) {}

  // False when the mailbox is full: the letter is dropped and the sender decides what that means.
  bool send(T letter) {
    bool first = false;
    {
      const std::lock_guard lock(mutex_);
      if (letters_.size() >= capacity_) return false;
      first = letters_.empty();
      letters_.push_back(std::move(letter));
    }
    if (first) wake_();
    return true;
  }

  [[nodiscard]] std::vector<T> take_all() {
    std::vector<T> taken;
    const std::lock_guard lock(mutex_);
    taken.swap(letters_);
    return taken;
  }

 private:
  const std::size_t capacity_;
  const std::function<void()> wake_;
  std::mutex mutex_;
  std::vector<T> letters_;
};

}  // namespace muster
