// The keys that session tickets are encrypted with (RFC 5077 4): shared by all traffic threads, and changed now and
// then, so that a key that is stolen opens the recordings of some hours only. Time is an argument.
#pragma once

#include <array>
#include <chrono>
#include <mutex>
#include <optional>
#include <span>

#include "base/time.h"

namespace muster::lb {

struct TicketKey {
  std::array<unsigned char, 16> name{};  // in the clear in each ticket
  std::array<unsigned char, 32> cipher{};
  std::array<unsigned char, 32> mac{};
};

class TicketKeys {
 public:
  // So long a key makes tickets; so long again they are taken. Longer than a session lives.
  static constexpr std::chrono::hours period{4};

  // For a new ticket; none: the host has no random bytes.
  std::optional<TicketKey> current(Instant now);

  struct Found {
    TicketKey key;
    bool is_old = false;  // the client should get a new ticket
  };
  // That of a ticket; none: it is too old, or not of ours.
  std::optional<Found> find(std::span<const unsigned char, 16> name, Instant now);

 private:
  void turn(Instant now);

  std::mutex mutex_;
  std::optional<TicketKey> current_;
  std::optional<TicketKey> previous_;
  Instant since_{};
};

}  // namespace muster::lb
