// Lines of access logs on their way from the traffic threads to the control thread, which writes them. Bounded in
// bytes: what does not fit stays with the sender. Buffers go round, so that in the long run none is allocated.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "lb/balancer.h"

namespace muster::supervisor {

class AccessQueue {
 public:
  // `wake` is called on the sender's thread, without the lock held, when the queue was empty.
  AccessQueue(std::size_t bytes_max, std::function<void()> wake)
      : bytes_max_(bytes_max), wake_(std::move(wake)) {}

  // From any thread; the contract is that of lb::Callbacks::on_access_lines.
  bool put(lb::AccessLines& lines) {
    bool first = false;
    {
      const std::lock_guard lock(mutex_);
      if (bytes_ + lines.bytes.size() > bytes_max_ && bounded_ && !lines.last) return false;
      first = queue_.empty();
      bytes_ += lines.bytes.size();
      queue_.push_back(lb::AccessLines{.listener = lines.listener,
                                       .bytes = take_bytes(lines.bytes),
                                       .count = lines.count,
                                       .lost = lines.lost,
                                       .last = lines.last});
    }
    if (first) wake_();
    return true;
  }

  // Oldest first, one at least while there is any, and more until they are `bytes` together.
  [[nodiscard]] std::vector<lb::AccessLines> take(std::size_t bytes) {
    std::vector<lb::AccessLines> taken;
    const std::lock_guard lock(mutex_);
    for (std::size_t sum = 0; !queue_.empty() && (taken.empty() || sum < bytes); queue_.pop_front()) {
      sum += queue_.front().bytes.size();
      bytes_ -= queue_.front().bytes.size();
      taken.push_back(std::move(queue_.front()));
    }
    return taken;
  }

  // A buffer that take() gave, for the next sender.
  void give_back(std::string buffer) {
    constexpr std::size_t spares_max = 32;
    constexpr std::size_t spare_bytes_max = 128U << 10U;
    if (buffer.capacity() < worth_moving || buffer.capacity() > spare_bytes_max) return;
    buffer.clear();
    const std::lock_guard lock(mutex_);
    if (spares_.size() < spares_max) spares_.push_back(std::move(buffer));
  }

  // For the end: what is in flight can still come, and nobody takes any while it does.
  void take_all_that_comes() {
    const std::lock_guard lock(mutex_);
    bounded_ = false;
  }

  [[nodiscard]] bool empty() {
    const std::lock_guard lock(mutex_);
    return queue_.empty();
  }

 private:
  // A few lines are copied: what waits here costs what it holds.
  static constexpr std::size_t worth_moving = 16U << 10U;

  std::string take_bytes(std::string& bytes) {
    std::string taken;
    if (bytes.size() < worth_moving) {
      taken = bytes;
    } else {
      taken.swap(bytes);
      if (!spares_.empty()) {
        bytes = std::move(spares_.back());
        spares_.pop_back();
      }
    }
    bytes.clear();
    return taken;
  }

  const std::size_t bytes_max_;
  const std::function<void()> wake_;
  std::mutex mutex_;
  std::deque<lb::AccessLines> queue_;
  std::size_t bytes_ = 0;
  bool bounded_ = true;
  std::vector<std::string> spares_;
};

}  // namespace muster::supervisor
