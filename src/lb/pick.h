// Which of some candidates is next. Pure: what is known of a candidate is asked of the caller by its index.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace muster::lb {

// A finalizer of 64 bits in which each bit of the input changes each of the output with probability 1/2 (splitmix64).
constexpr std::uint64_t mix(std::uint64_t value) noexcept {
  value = (value ^ (value >> 30U)) * 0xbf58476d1ce4e5b9U;
  value = (value ^ (value >> 27U)) * 0x94d049bb133111ebU;
  return value ^ (value >> 31U);
}

// FNV-1a, then mixed. The same in every build: who is whose replica must not change with an upgrade.
constexpr std::uint64_t hash_of(std::string_view bytes) noexcept {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return mix(hash);
}

// The least loaded of those that are usable; among equals the first from `start` on, so that a start in turn spreads
// them evenly.
template <typename Usable, typename Load>
std::optional<std::size_t> pick_least(std::size_t count, std::size_t start, Usable usable, Load load) {
  std::optional<std::size_t> best;
  std::uint64_t least = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t index = (start + i) % count;
    if (!usable(index)) continue;
    const std::uint64_t its = load(index);
    if (best && its >= least) continue;
    best = index;
    least = its;
  }
  return best;
}

// Of two that are drawn by `random` from the usable ones, the less loaded (power of two choices).
template <typename Usable, typename Load>
std::optional<std::size_t> pick_of_two(std::size_t count, std::uint64_t random, Usable usable, Load load) {
  std::size_t left = 0;
  for (std::size_t i = 0; i < count; ++i) left += usable(i) ? 1U : 0U;
  if (left == 0) return std::nullopt;
  const std::size_t first = (random & 0xffffffffU) % left;
  const std::size_t second = left == 1 ? first : (first + 1 + (random >> 32U) % (left - 1)) % left;
  std::array<std::size_t, 2> drawn{};
  for (std::size_t i = 0, nth = 0; i < count; ++i) {
    if (!usable(i)) continue;
    if (nth == first) drawn[0] = i;
    if (nth == second) drawn[1] = i;
    ++nth;
  }
  return load(drawn[1]) < load(drawn[0]) ? drawn[1] : drawn[0];
}

// Rendezvous hashing (highest random weight): each candidate draws by key and seed, the highest wins. When one goes,
// only its own keys move, evenly to all others; when one comes, it takes its share from all. A key's order of all
// candidates is fixed, so a retry has its own second choice.
template <typename Usable, typename Seed>
std::optional<std::size_t> pick_by_hash(std::size_t count, std::uint64_t key, Usable usable, Seed seed) {
  std::optional<std::size_t> best;
  std::uint64_t highest = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (!usable(i)) continue;
    const std::uint64_t drawn = mix(key ^ seed(i));
    if (best && drawn <= highest) continue;
    best = i;
    highest = drawn;
  }
  return best;
}

}  // namespace muster::lb
