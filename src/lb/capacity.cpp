#include "lb/capacity.h"

#include <algorithm>
#include <utility>

#include "lb/loop.h"

namespace muster::lb {

bool Capacity::join(const std::shared_ptr<Turn>& turn) {
  waiters_.fetch_add(1, std::memory_order_relaxed);
  const std::lock_guard lock(mutex_);
  line_.push_back(turn);
  return line_.size() == 1;
}

bool Capacity::join_again(const std::shared_ptr<Turn>& turn) {
  const std::lock_guard lock(mutex_);
  if (std::ranges::find(line_, turn) != line_.end()) return false;
  turn->called = false;
  line_.push_front(turn);
  return true;
}

void Capacity::leave(const std::shared_ptr<Turn>& turn, bool served) {
  waiters_.fetch_sub(1, std::memory_order_relaxed);
  turn->waiting = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (std::erase(line_, turn) > 0) return;
  }
  // It was called, and that is for somebody else when it has not used it, or not heard of it yet.
  if (!served || !turn->called) call_next();
}

void Capacity::call(const std::shared_ptr<Turn>& turn) {
  turn->loop.post([turn] {
    turn->called = true;
    if (void* const waiting = std::exchange(turn->waiting, nullptr)) turn->wake(waiting);
  });
}

void Capacity::call_next() {
  std::shared_ptr<Turn> next;
  {
    const std::lock_guard lock(mutex_);
    if (line_.empty()) return;
    next = std::move(line_.front());
    line_.pop_front();
  }
  call(next);
}

void Capacity::call_all() {
  std::deque<std::shared_ptr<Turn>> all;
  {
    const std::lock_guard lock(mutex_);
    all.swap(line_);
  }
  for (const std::shared_ptr<Turn>& turn : all) call(turn);
}

bool InLine::stand(const std::shared_ptr<Capacity>& capacity) {
  if (capacity == capacity_) return capacity_ != nullptr && capacity_->join_again(turn_);
  leave(false);
  if (!capacity) return false;
  capacity_ = capacity;
  turn_ = std::make_shared<Capacity::Turn>(loop_);
  return capacity_->join(turn_);
}

void InLine::leave(bool served) {
  if (const auto capacity = std::exchange(capacity_, nullptr)) capacity->leave(turn_, served);
}

void InLine::wait(void (*wake)(void*), void* waiting) {
  if (!capacity_) return;
  turn_->wake = wake;
  turn_->waiting = waiting;
}

void InLine::stop_waiting() {
  if (capacity_) turn_->waiting = nullptr;
}

}  // namespace muster::lb
