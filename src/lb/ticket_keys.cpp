#include "lb/ticket_keys.h"

#include <openssl/rand.h>

#include <algorithm>

namespace muster::lb {

namespace {
template <std::size_t Size>
bool fill(std::array<unsigned char, Size>& bytes) {
  return RAND_bytes(bytes.data(), static_cast<int>(Size)) == 1;
}

std::optional<TicketKey> new_key() {
  TicketKey key;
  if (!fill(key.name) || !fill(key.cipher) || !fill(key.mac)) return std::nullopt;
  return key;
}
}  // namespace

// Moves on to the key of this moment.
void TicketKeys::turn(Instant now) {
  if (current_ && now - since_ < period) return;
  const bool is_recent = current_ && now - since_ < 2 * period;
  previous_ = is_recent ? current_ : std::nullopt;
  current_ = new_key();
  since_ = now;
}

std::optional<TicketKey> TicketKeys::current(Instant now) {
  const std::lock_guard lock(mutex_);
  turn(now);
  return current_;
}

std::optional<TicketKeys::Found> TicketKeys::find(std::span<const unsigned char, 16> name, Instant now) {
  const std::lock_guard lock(mutex_);
  turn(now);
  const auto is_named = [name](const std::optional<TicketKey>& key) {
    return key && std::ranges::equal(key->name, name);
  };
  if (is_named(current_)) return Found{.key = *current_};
  if (is_named(previous_)) return Found{.key = *previous_, .is_old = true};
  return std::nullopt;
}

}  // namespace muster::lb
