#include "lb/places.h"

#include <algorithm>

#include "base/check.h"
#include "lb/loop.h"
#include "lb/shared_state.h"

namespace muster::lb {

void Places::set_max(std::uint64_t max) {
  const std::lock_guard lock(mutex_);
  max_.store(max, std::memory_order_relaxed);
}

bool Places::has_room() const {
  const std::uint64_t max = max_.load(std::memory_order_relaxed);
  return max == 0 || open_() + kept_ < max;
}

// A place each for the first in line, as long as there are any.
void Places::serve(std::vector<std::shared_ptr<Waiter>>& served) {
  while (!waiting_.empty() && has_room()) {
    ++kept_;
    served.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
}

void Places::tell(const std::vector<std::shared_ptr<Waiter>>& served) {
  for (const std::shared_ptr<Waiter>& waiter : served) {
    waiter->loop.post([waiter] {
      waiter->granted = true;
      if (const auto accepting = std::exchange(waiter->accepting, nullptr)) return accepting.resume();
      waiter->shared->places.settle();  // it left while this was on its way
    });
  }
}

bool Places::take_now() {
  if (!waiting_.empty() || !has_room()) return false;
  ++kept_;
  return true;
}

bool Places::take() {
  const std::lock_guard lock(mutex_);
  return take_now();
}

bool Places::take_or_wait(const std::shared_ptr<Waiter>& waiter) {
  const std::lock_guard lock(mutex_);
  if (take_now()) return true;
  waiting_.push_back(waiter);
  return false;
}

void Places::settle() {
  std::vector<std::shared_ptr<Waiter>> served;
  {
    const std::lock_guard lock(mutex_);
    MUSTER_CHECK(kept_ > 0);
    --kept_;
    serve(served);
  }
  tell(served);
}

void Places::offer() {
  std::vector<std::shared_ptr<Waiter>> served;
  {
    const std::lock_guard lock(mutex_);
    serve(served);
  }
  tell(served);
}

void Places::leave(const std::shared_ptr<Waiter>& waiter) {
  waiter->accepting = nullptr;
  if (waiter->granted) return settle();
  const std::lock_guard lock(mutex_);
  std::erase(waiting_, waiter);
}

KeptPlace::~KeptPlace() {
  if (shared_) shared_->places.settle();
}

}  // namespace muster::lb
