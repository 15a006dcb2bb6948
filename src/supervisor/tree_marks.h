// Which processes belong to which tree where no cgroup says so: by the token in their environment, by the session of
// the main process, by descent. Pure.
//
// A process that empties its environment, leaves the session and outlives its parents is in no tree any more. Only a
// cgroup holds such a one.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "supervisor/proc_files.h"

namespace muster::supervisor {

struct TreeMark {
  std::string token;
  int main_pid = 0;                    // 0: not started
  std::uint64_t main_start_ticks = 0;  // 0: unknown
};

// Who gave a token: its first half, before "-INSTANCE". A muster that finds tokens of a dead one can tell.
struct TokenGiver {
  bool end_with_daemon = false;  // what carries it was not meant to outlive the giver
  int pid = 0;
  std::uint64_t start_ticks = 0;
  std::uint64_t pid_namespace = 0;  // in which `pid` counts
  std::string random;
  bool operator==(const TokenGiver&) const = default;
};
std::string encode(const TokenGiver& giver);
std::optional<TokenGiver> decode_token_giver(std::string_view token);

struct MarkedWorld {
  int host_pid = 0;                    // descent ends here: what it adopts has lost its parents
  std::uint64_t host_start_ticks = 0;  // nothing older carries a token of ours
  std::function<std::string(int pid)> environ_of;
};

// For each process the index of its tree, -1 for none.
std::vector<int> assign_to_trees(const std::vector<ProcStat>& processes, const std::vector<TreeMark>& marks,
                                 const MarkedWorld& world);

// Living processes of which one look cannot tell. In the middle of execve(2) /proc/PID/environ is empty; a process that
// has left the session and lost its parents by then shows no mark at all. Until it does, no tree may be called gone.
class Undecided {
 public:
  // One that empties its environment for good is nobody's after so long: it holds up each tree once at most.
  static constexpr std::uint64_t ms_max = 2000;

  // Whether there is one. `blank`: pids whose environment was read and is empty; `now_ms` never goes back.
  bool any(const std::vector<ProcStat>& processes, const std::vector<int>& trees, const std::set<int>& blank,
           const MarkedWorld& world, std::uint64_t now_ms);

 private:
  std::map<std::pair<int, std::uint64_t>, std::uint64_t> since_ms_;  // by pid and start
};

}  // namespace muster::supervisor
