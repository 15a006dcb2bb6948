#include "supervisor/limits_keeper.h"

#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "fmt/core.h"
#include "supervisor/cgroup_controllers.h"
#include "supervisor/proc_scan.h"

namespace muster::supervisor {

namespace {
LimitState* state_of(LimitStates& states, LimitKind kind) {
  const auto found = std::ranges::find(states, kind, &LimitState::kind);
  return found == states.end() ? nullptr : &*found;
}
}  // namespace

void LimitsKeeper::keep(const LimitOrder& order, const ProcessTree& tree, const ControllerReport& report,
                        bool fresh) {
  const std::optional<std::uint64_t> rlimit_before = processes_max();
  const Controllers active = tree.controllers();
  order_ = order;
  states_ = enforcement(order, active, report);
  if (const std::string folder = tree.cgroup_folder(); !folder.empty()) write_files(folder, active, fresh);
  if (!fresh) set_rlimit(tree, rlimit_before);
}

void LimitsKeeper::write_files(const std::string& folder, const Controllers& active, bool fresh) {
  for (const GroupFile& file : group_files(order_, active, fresh)) {
    const Status written = write_group_file(fmt::format("{}/{}", folder, file.name), file.text);
    if (written || file.optional) continue;
    LimitState* state = state_of(states_, file.kind);
    if (state == nullptr || state->by != Enforcer::cgroup) {
      problems_.push_back(
          fmt::format("limits.{} cannot be lifted: {}", to_string(file.kind), written.error().message));
      continue;
    }
    refused(*state, written.error().message);
    problems_.push_back(fmt::format("limits.{} = {} is {}: the kernel refuses it ({})", to_string(file.kind),
                                    value_text(*state),
                                    state->by == Enforcer::watched ? "watched" : "not enforced", state->why));
  }
}

// Of processes that live already; those that they fork inherit it.
void LimitsKeeper::set_rlimit(const ProcessTree& tree, std::optional<std::uint64_t> before) {
  const std::optional<std::uint64_t> wanted = processes_max();
  if (!wanted && !before) return;
  rlimit limit{};
  if (wanted) {
    limit.rlim_cur = limit.rlim_max = *wanted;
  } else if (getrlimit(RLIMIT_NPROC, &limit) != 0) {
    return;
  }
  for (const int pid : tree.pids()) {
    if (prlimit(pid, RLIMIT_NPROC, &limit, nullptr) == 0 || errno == ESRCH) continue;
    const std::string why = system_error(fmt::format("RLIMIT_NPROC of pid {}", pid), errno).message;
    problems_.push_back(
        fmt::format("limits.pids counts from the next start on, until then it is watched: {}", why));
    if (LimitState* state = state_of(states_, LimitKind::pids)) refused(*state, why);
    return;
  }
}

std::vector<std::string> LimitsKeeper::take_problems() {
  return std::exchange(problems_, {});
}

std::optional<std::uint64_t> LimitsKeeper::processes_max() const {
  const auto pids = std::ranges::find_if(states_, [](const LimitState& state) {
    return state.kind == LimitKind::pids && state.by == Enforcer::rlimit;
  });
  return pids == states_.end() ? std::nullopt : std::optional(pids->value);
}

std::optional<Excess> LimitsKeeper::look(const ProcessTree& tree) const {
  TreeUse use;
  if (watches(states_, LimitKind::pids)) use.tasks = tree.tasks();
  if (watches(states_, LimitKind::memory)) {
    const Usage usage = tree.usage();
    use.memory_bytes = usage.memory_bytes;
    // What processes share counts once, or an app that forks workers would be ended for memory that it does not take.
    // That is dear to ask for: only where it decides.
    if (usage.memory_over_counts && excess(states_, use)) {
      use.memory_bytes = 0;
      for (const int pid : tree.pids()) use.memory_bytes += proportional_bytes(pid);
    }
  }
  return excess(states_, use);
}

}  // namespace muster::supervisor
