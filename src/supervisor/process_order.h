// Everything a process is started with; nothing is looked up in the daemon's own environment.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "supervisor/limit_rules.h"

namespace muster::supervisor {

struct ProcessOrder {
  std::vector<std::string> argv;         // argv[0] without a slash is looked up in PATH of `environment`
  std::vector<std::string> environment;  // "NAME=value"
  std::string dir;                       // absolute
  std::string user;                      // empty: the daemon's own; else initgroups(3) of it
  std::string group;                     // empty: the user's primary group
  std::uint32_t umask = 022;
  int nice = 0;
  bool no_new_privs = false;
  std::optional<std::uint64_t> files_max;  // RLIMIT_NOFILE, both; none: the limits muster was started with
  std::optional<std::uint64_t> core_bytes_max;  // RLIMIT_CORE
  LimitOrder bounds;                            // of it and everything it ever forks
  std::optional<Instant> not_before;            // exec(3) comes then at the earliest
  std::vector<int> kept;  // descriptors of ours that the process keeps open: the locks of its volumes
};

}  // namespace muster::supervisor
