#include "supervisor/tree_marks.h"

#include <algorithm>
#include <array>
#include <unordered_map>

#include "fmt/core.h"
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
    for (std::size_t i = 0; i < marks.size(); ++i) {
      if (marks[i].main_pid != 0) by_main_[marks[i].main_pid].push_back(i);
      by_token_.try_emplace(marks[i].token, static_cast<int>(i));
    }
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
    // The session first: an environment costs more than all else.
    for (const std::size_t index : mains_of(process.session)) {
      if (session_is_ours(marks_[index])) return static_cast<int>(index);
    }
    for (const std::size_t index : mains_of(process.pid)) {
      if (is_main(process, marks_[index])) return static_cast<int>(index);
    }
    if (process.ended()) return unknown;  // has no environment any more
    int found = unknown;
    const std::string environ = world_.environ_of(process.pid);
    for (const std::string_view token : environ_items(environ, instance_variable)) {
      const auto known = by_token_.find(token);
      if (known != by_token_.end() && (found == unknown || known->second < found)) found = known->second;
    }
    return found;
  }

  [[nodiscard]] const std::vector<std::size_t>& mains_of(int pid) const {
    static const std::vector<std::size_t> nobody;
    const auto found = by_main_.find(pid);
    return found == by_main_.end() ? nobody : found->second;
  }

  // 0: its start could not be read.
  static bool is_main(const ProcStat& process, const TreeMark& mark) {
    return mark.main_start_ticks == 0 || process.start_ticks == mark.main_start_ticks;
  }

  // A number is not given away while a session has it, so only a later leader of the same number can deceive.
  bool session_is_ours(const TreeMark& mark) const {
    const auto leader = by_pid_.find(mark.main_pid);
    return leader == by_pid_.end() || is_main(processes_[leader->second], mark);
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
  std::unordered_map<int, std::vector<std::size_t>> by_main_;
  std::unordered_map<std::string_view, int> by_token_;
};

}  // namespace

bool Undecided::any(const std::vector<ProcStat>& processes, const std::vector<int>& trees,
                    const std::set<int>& blank, const MarkedWorld& world, std::uint64_t now_ms) {
  std::set<int> present;
  for (const ProcStat& process : processes) present.insert(process.pid);
  std::map<std::pair<int, std::uint64_t>, std::uint64_t> since_ms;
  bool found = false;
  for (std::size_t i = 0; i < processes.size(); ++i) {
    const ProcStat& process = processes[i];
    // With a parent of its own it belongs where that one does, and that was asked already.
    const bool orphan = process.parent == world.host_pid || !present.contains(process.parent);
    if (trees[i] >= 0 || process.ended() || !orphan || !blank.contains(process.pid)) continue;
    const std::pair key(process.pid, process.start_ticks);
    const auto known = since_ms_.find(key);
    const std::uint64_t since = known == since_ms_.end() ? now_ms : known->second;
    since_ms[key] = since;
    found = found || now_ms - since < ms_max;
  }
  since_ms_ = std::move(since_ms);
  return found;
}

std::string encode(const TokenGiver& giver) {
  return fmt::format("{}.{}.{}.{}.{}", giver.end_with_daemon ? "stop" : "keep", giver.pid, giver.start_ticks,
                     giver.pid_namespace, giver.random);
}

std::optional<TokenGiver> decode_token_giver(std::string_view token) {
  token = token.substr(0, token.find('-'));
  std::array<std::string_view, 5> parts;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::size_t dot = token.find('.');
    if ((dot == std::string_view::npos) != (i + 1 == parts.size())) return std::nullopt;
    parts[i] = token.substr(0, dot);
    token.remove_prefix(std::min(dot, token.size() - 1) + 1);
  }
  const auto pid = parse_number(parts[1]);
  const auto start_ticks = parse_number(parts[2]);
  const auto pid_namespace = parse_number(parts[3]);
  if (!pid || *pid == 0 || *pid > INT32_MAX || !start_ticks || !pid_namespace || parts[4].empty())
    return std::nullopt;
  if (parts[0] != "stop" && parts[0] != "keep") return std::nullopt;
  return TokenGiver{.end_with_daemon = parts[0] == "stop",
                    .pid = static_cast<int>(*pid),
                    .start_ticks = *start_ticks,
                    .pid_namespace = *pid_namespace,
                    .random = std::string(parts[4])};
}

std::vector<int> assign_to_trees(const std::vector<ProcStat>& processes, const std::vector<TreeMark>& marks,
                                 const MarkedWorld& world) {
  return Assignment(processes, marks, world).all();
}

}  // namespace muster::supervisor
