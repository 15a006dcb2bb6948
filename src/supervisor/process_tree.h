// Everything that one start ever forked, as one thing that can be killed and asked. Two kinds: a cgroup
// (cgroup_tree.h), or marks on processes (token_tree.h) where no cgroup can be made.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "supervisor/limit_rules.h"
#include "supervisor/process_host.h"

namespace muster::supervisor {

inline constexpr char instance_variable[] = "MUSTER_INSTANCE";

class ProcessTree {
 public:
  ProcessTree() = default;
  ProcessTree(const ProcessTree&) = delete;
  ProcessTree& operator=(const ProcessTree&) = delete;
  virtual ~ProcessTree() = default;

  // Where the main process has to be born; "" where the tree has no cgroup.
  [[nodiscard]] virtual std::string cgroup_folder() const = 0;
  virtual void began(int pid) = 0;
  // SIGKILL to all, again and again until nothing is left.
  virtual void kill() = 0;
  // The main process was reaped. True: nothing is left. False: on_empty is called, once, when nothing is left.
  virtual bool main_ended() = 0;

  [[nodiscard]] virtual bool contains(int pid) const = 0;
  // It is alive and known not to be in this tree; what cannot be read says nothing.
  [[nodiscard]] virtual bool has_lost(int pid) const = 0;
  [[nodiscard]] virtual std::vector<int> pids() const = 0;
  [[nodiscard]] virtual Usage usage() const = 0;
  // usage().cpu alone: where the memory is a sum over all processes, at a hundredth of the price.
  [[nodiscard]] virtual Nanos cpu_used() const = 0;
  [[nodiscard]] virtual std::uint64_t tasks() const = 0;  // processes and threads
  // What its group has for limits; none where it has no group.
  [[nodiscard]] virtual Controllers controllers() const = 0;
  // Whether the kernel has killed one of it for want of memory, and whether that was for its own group's limit.
  struct Oom {
    bool killed = false;
    bool own_limit = false;
  };
  [[nodiscard]] virtual Oom oom() const = 0;
};

}  // namespace muster::supervisor
