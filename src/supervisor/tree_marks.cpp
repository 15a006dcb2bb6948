#include "supervisor/tree_marks.h"

#include <unordered_map>

#include "supervisor/process_tree.h"

namespace muster::supervisor {
namespace {

constexpr int none = -1;
constexpr int unknown = -2;

class Assignment {
 public:
  Assignment(const std::vector<ProcStat>& processes, const std::vector<TreeMark>& marks,
             const MarkedWorld& world)
      : processes_(processes), marks_(marks), world_(world), trees_(processes.size(), unknown) {
    by_pid_.reserve(processes.size());
    for (std::size_t i = 0; i < processes.size(); ++i) by_pid_[processes[i].pid] = i;
  }

  std::vector<int> all() {
    for (std::size_t i = 0; i < processes_.size(); ++i) trees_[i] = by_own_mark(processes_[i]);
    std::vector<int> found;
    found.reserve(processes_.size());
    for (std::size_t i = 0; i < processes_.size(); ++i) found.push_back(by_descent(i));
    return found;
  }

 private:
  int by_own_mark(const ProcStat& process) {
    if (process.pid == world_.host_pid || process.start_ticks < world_.host_start_ticks) return none;
    std::string environ;
    bool environ_read = false;
    for (std::size_t i = 0; i < marks_.size(); ++i) {
      const TreeMark& mark = marks_[i];
      if (mark.main_pid != 0 && process.session == mark.main_pid && session_is_ours(mark))
        return static_cast<int>(i);
      if (process.pid == mark.main_pid && process.start_ticks == mark.main_start_ticks)
        return static_cast<int>(i);
      if (process.ended()) continue;  // has no environment any more
      if (!environ_read) environ = world_.environ_of(process.pid);
      environ_read = true;
      if (environ_has_item(environ, instance_variable, mark.token)) return static_cast<int>(i);
    }
    return unknown;
  }

  // A number is not given away while a session has it, so only a later leader of the same number can deceive.
  bool session_is_ours(const TreeMark& mark) const {
    const auto leader = by_pid_.find(mark.main_pid);
    return leader == by_pid_.end() || processes_[leader->second].start_ticks == mark.main_start_ticks;
  }

  int by_descent(std::size_t index) {
    std::size_t at = index;
    // Bounded by the number of processes: a snapshot read in pieces may hold a cycle.
    for (std::size_t steps = 0; steps <= processes_.size(); ++steps) {
      if (trees_[at] != unknown) return trees_[index] = trees_[at];
      const auto parent = by_pid_.find(processes_[at].parent);
      if (parent == by_pid_.end()) break;
      at = parent->second;
    }
    return trees_[index] = none;
  }

  const std::vector<ProcStat>& processes_;
  const std::vector<TreeMark>& marks_;
  const MarkedWorld& world_;
  std::vector<int> trees_;
  std::unordered_map<int, std::size_t> by_pid_;
};

}  // namespace

std::vector<int> assign_to_trees(const std::vector<ProcStat>& processes, const std::vector<TreeMark>& marks,
                                 const MarkedWorld& world) {
  return Assignment(processes, marks, world).all();
}

}  // namespace muster::supervisor
