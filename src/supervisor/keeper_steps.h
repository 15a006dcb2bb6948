// The output keeper: a tiny process that holds the read ends of the replicas' output for a daemon that may die, so that
// what a replica wrote last is still there when it ended meanwhile. It sleeps until the daemon says something or dies, and
// needs no C library: both muster-shim and muster take its part.
#pragma once

#include <cstdint>

namespace muster::supervisor {

inline constexpr char output_keeper_flag[] = "--output-keeper";
inline constexpr int keeper_socket_fd = 3;
inline constexpr std::uint32_t keeper_held_max = 8192;  // instances

enum class KeeperVerb : std::uint32_t { hold = 1, drop = 2 };

// A message of the daemon's; `hold` comes with two descriptors.
struct KeeperOrder {
  std::uint32_t verb = 0;
  std::uint32_t unused = 0;
  std::uint64_t instance = 0;
};

// Obeys the daemon at keeper_socket_fd until it is gone. Then waits until every pipe it holds has ended and is empty, for
// an hour at most: a new daemon ends it sooner.
[[noreturn]] void keep_output();

}  // namespace muster::supervisor
