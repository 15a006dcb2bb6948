// What bounds a replica as a whole (limits.memory, .cpu, .pids), and who sees to it: the kernel by the files of the
// replica's cgroup2 group, else by RLIMIT_NPROC, else muster by looking once a second, else nobody. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "spec/spec.h"

namespace muster::supervisor {

enum class LimitKind : std::uint8_t { memory, cpu, pids };
inline constexpr std::array limit_kinds{LimitKind::memory, LimitKind::cpu, LimitKind::pids};
std::string_view to_string(
    LimitKind kind);  // as the controllers of cgroup2 and the keys of the spec are called

// A set of cgroup2 controllers, as far as limits need them.
struct Controllers {
  bool memory = false;
  bool cpu = false;
  bool pids = false;
  [[nodiscard]] bool has(LimitKind kind) const;
  void add(LimitKind kind);
  [[nodiscard]] bool none() const { return !memory && !cpu && !pids; }
  bool operator==(const Controllers&) const = default;
};
// The text of cgroup.controllers or cgroup.subtree_control; what limits need no controller for is left out.
Controllers parse_controllers(std::string_view text);
// What is to be written into cgroup.subtree_control: "+memory +pids", "-cpu"; "" for none.
std::string controllers_text(const Controllers& controllers, char sign);

// What the groups of replicas can have, and for each controller that they cannot have the reason.
struct ControllerReport {
  Controllers usable;
  std::array<std::string, limit_kinds.size()> missing;  // by kind: "no memory controller"; empty: usable
  [[nodiscard]] const std::string& why_not(LimitKind kind) const;
  void refuse(LimitKind kind, std::string why);
};

// What a process, or a group of them, is to be bound by.
struct LimitOrder {
  spec::Limits limits;
  int nice = 0;           // where groups share the processors it counts among them, no longer among processes
  bool own_user = false;  // nobody else's processes count against RLIMIT_NPROC of its user
};

enum class Enforcer : std::uint8_t { cgroup, rlimit, watched, nobody };

// One limit of one replica as it is kept.
struct LimitState {
  LimitKind kind = LimitKind::memory;
  std::uint64_t value = 0;  // bytes; thousandths of a processor; processes and threads
  Enforcer by = Enforcer::nobody;
  std::string why = {};  // it is not the cgroup
  bool operator==(const LimitState&) const = default;
};
using LimitStates = std::vector<LimitState>;

// Who enforces each limit of `order`. `active` are the controllers of the replica's group.
LimitStates enforcement(const LimitOrder& order, const Controllers& active, const ControllerReport& report);
// The kernel has refused it: the next best.
void refused(LimitState& state, std::string why);

// "cgroup", "rlimit", "watched", "not enforced: no cpu controller"
std::string enforcer_text(const LimitState& state);
// "64MiB", "0.5", "100"
std::string value_text(const LimitState& state);
// "memory 64MiB (watched: no memory controller), cpu 0.5 (cgroup)"; "" for none
std::string limits_text(const LimitStates& states);

// A file of the replica's group and what is written into it, in this order.
struct GroupFile {
  LimitKind kind = LimitKind::memory;
  std::string_view name;
  std::string text;
  bool optional = false;  // kernels and hosts without it are fine
};
// `fresh`: a group that was just made has no limits; else what is not wanted is lifted.
std::vector<GroupFile> group_files(const LimitOrder& order, const Controllers& active, bool fresh);

// What a tree of processes has.
struct TreeUse {
  std::uint64_t memory_bytes = 0;
  std::uint64_t tasks = 0;  // processes and threads
};
struct Excess {
  LimitKind kind = LimitKind::memory;
  std::uint64_t used = 0;
  std::uint64_t limit = 0;
};
// The first limit that muster watches and that is exceeded.
std::optional<Excess> excess(const LimitStates& states, const TreeUse& use);
bool watches(const LimitStates& states);
bool watches(const LimitStates& states, LimitKind kind);

// "out of memory: 70.2 MiB in use, limit 64MiB", "too many processes and threads: 12, limit 8"
std::string excess_text(LimitKind kind, std::uint64_t used, std::uint64_t limit);

}  // namespace muster::supervisor
