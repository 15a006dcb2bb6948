// Deadlines of one traffic thread: a hashed wheel of intrusive nodes. Arming and disarming are a few stores; a tick
// looks only at the slots that came due. A deadline fires at the first tick after it: late by up to one tick, never
// early. Pure: time is an argument.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/time.h"

namespace muster::lb {

class Wheel;

class WheelNode {
 public:
  using Due = void (*)(WheelNode&);
  explicit WheelNode(Due due = nullptr) noexcept : due_(due) {}
  WheelNode(const WheelNode&) = delete;
  WheelNode& operator=(const WheelNode&) = delete;
  [[nodiscard]] bool armed() const noexcept { return next_ != nullptr; }
  [[nodiscard]] bool armed_by(Instant deadline) const noexcept { return armed() && deadline_ <= deadline; }

 private:
  friend class Wheel;
  void unlink() noexcept;
  void link_before(WheelNode& node) noexcept;

  WheelNode* previous_ = nullptr;
  WheelNode* next_ = nullptr;
  Instant deadline_{};
  Due due_;
};

class Wheel {
 public:
  static constexpr Millis tick{25};
  static constexpr std::size_t slots = 512;  // 12.8 s; later deadlines are looked at once per turn

  explicit Wheel(Instant start);

  void arm(WheelNode& node, Instant deadline);  // again for one that is armed
  void disarm(WheelNode& node) noexcept;        // nothing when it is not armed
  // Fires every node whose deadline is over. A callback may arm and disarm any node and may end its own.
  void advance(Instant now);
  // Fires every node, whatever its deadline.
  void fire_all();
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  void insert(WheelNode& node);
  void run_slot(std::size_t slot, Instant now);

  Instant start_;
  std::uint64_t turned_ = 0;  // ticks since start that were run
  std::size_t size_ = 0;
  std::array<WheelNode, slots> heads_;  // sentinels of circular lists
};

}  // namespace muster::lb
