// Which processes belong to which tree where no cgroup says so: by the token in their environment, by the session of
// the main process, by descent. Pure.
//
// A process that empties its environment, leaves the session and outlives its parents is in no tree any more. Only a
// cgroup holds such a one.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "supervisor/proc_files.h"

namespace muster::supervisor {

struct TreeMark {
  std::string token;
  int main_pid = 0;  // 0: not started
  std::uint64_t main_start_ticks = 0;
};

struct MarkedWorld {
  int host_pid = 0;                    // descent ends here: what it adopts has lost its parents
  std::uint64_t host_start_ticks = 0;  // nothing older carries a token of ours
  std::function<std::string(int pid)> environ_of;
};

// For each process the index of its tree, -1 for none.
std::vector<int> assign_to_trees(const std::vector<ProcStat>& processes, const std::vector<TreeMark>& marks,
                                 const MarkedWorld& world);

}  // namespace muster::supervisor
