#include "lb/wheel.h"

#include <algorithm>

namespace muster::lb {

void WheelNode::unlink() noexcept {
  previous_->next_ = next_;
  next_->previous_ = previous_;
  previous_ = next_ = nullptr;
}

void WheelNode::link_before(WheelNode& node) noexcept {
  previous_ = node.previous_;
  next_ = &node;
  previous_->next_ = this;
  node.previous_ = this;
}

Wheel::Wheel(Instant start) : start_(start) {
  for (WheelNode& head : heads_) head.previous_ = head.next_ = &head;
}

void Wheel::arm(WheelNode& node, Instant deadline) {
  if (node.armed()) {
    node.unlink();
    --size_;
  }
  node.deadline_ = deadline;
  insert(node);
  ++size_;
}

void Wheel::insert(WheelNode& node) {
  const auto past_start = std::max(node.deadline_ - start_, Instant::duration::zero());
  const auto ticks =
      static_cast<std::uint64_t>((past_start + tick - Instant::duration(1)) / tick);  // rounded up
  node.link_before(heads_[std::max(ticks, turned_ + 1) % slots]);
}

void Wheel::disarm(WheelNode& node) noexcept {
  if (!node.armed()) return;
  node.unlink();
  --size_;
}

void Wheel::run_slot(std::size_t slot, Instant now) {
  // The slot's nodes move to a list of their own first: callbacks may change every list meanwhile.
  WheelNode firing;
  WheelNode& head = heads_[slot];
  if (head.next_ == &head) return;
  firing.next_ = head.next_;
  firing.previous_ = head.previous_;
  firing.next_->previous_ = firing.previous_->next_ = &firing;
  head.previous_ = head.next_ = &head;
  while (firing.next_ != &firing) {
    WheelNode& node = *firing.next_;
    node.unlink();
    if (node.deadline_ > now) {
      insert(node);
    } else {
      --size_;
      node.due_(node);
    }
  }
}

void Wheel::advance(Instant now) {
  if (now < start_) return;
  const auto target = static_cast<std::uint64_t>((now - start_) / tick);
  const std::uint64_t first = target - std::min<std::uint64_t>(target - turned_, slots);
  for (std::uint64_t turn = first + 1; turn <= target; ++turn) {
    turned_ = turn;
    run_slot(turn % slots, now);
  }
}

void Wheel::fire_all() {
  for (std::size_t slot = 0; slot < slots; ++slot) run_slot(slot, Instant::max());
}

}  // namespace muster::lb
