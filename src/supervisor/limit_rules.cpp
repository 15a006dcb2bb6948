#include "supervisor/limit_rules.h"

#include <algorithm>
#include <cmath>

#include "fmt/core.h"
#include "spec/fields.h"

namespace muster::supervisor {

namespace {

constexpr int cpu_period_us = 100'000;
constexpr int cpu_quota_us_min = 1'000;  // the kernel takes no smaller one

std::size_t index_of(LimitKind kind) {
  return static_cast<std::size_t>(kind);
}

std::uint64_t thousandths(double processors) {
  return static_cast<std::uint64_t>(std::llround(processors * 1000.0));
}

std::string cpu_quota(double processors) {
  const auto quota = std::llround(processors * cpu_period_us);
  return fmt::format("{} {}", std::max<long long>(quota, cpu_quota_us_min), cpu_period_us);
}

std::string number_or_max(const std::optional<std::uint64_t>& number) {
  return number ? std::to_string(*number) : "max";
}

std::optional<std::uint64_t> value_of(const spec::Limits& limits, LimitKind kind) {
  switch (kind) {
    case LimitKind::memory:
      return limits.memory;
    case LimitKind::cpu:
      return limits.cpu ? std::optional(thousandths(*limits.cpu)) : std::nullopt;
    case LimitKind::pids:
      return limits.pids;
  }
  return std::nullopt;
}

// What there is besides a controller.
Enforcer next_best(LimitKind kind) {
  return kind == LimitKind::cpu ? Enforcer::nobody : Enforcer::watched;
}

}  // namespace

std::string_view to_string(LimitKind kind) {
  switch (kind) {
    case LimitKind::memory:
      return "memory";
    case LimitKind::cpu:
      return "cpu";
    case LimitKind::pids:
      return "pids";
  }
  return "";
}

bool Controllers::has(LimitKind kind) const {
  switch (kind) {
    case LimitKind::memory:
      return memory;
    case LimitKind::cpu:
      return cpu;
    case LimitKind::pids:
      return pids;
  }
  return false;
}

void Controllers::add(LimitKind kind) {
  switch (kind) {
    case LimitKind::memory:
      memory = true;
      return;
    case LimitKind::cpu:
      cpu = true;
      return;
    case LimitKind::pids:
      pids = true;
      return;
  }
}

Controllers parse_controllers(std::string_view text) {
  Controllers found;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find_first_of(" \n"), text.size());
    for (const LimitKind kind : limit_kinds) {
      if (text.substr(0, end) == to_string(kind)) found.add(kind);
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return found;
}

std::string controllers_text(const Controllers& controllers, char sign) {
  std::string text;
  for (const LimitKind kind : limit_kinds) {
    if (!controllers.has(kind)) continue;
    if (!text.empty()) text += ' ';
    text += sign;
    text += to_string(kind);
  }
  return text;
}

const std::string& ControllerReport::why_not(LimitKind kind) const {
  return missing.at(index_of(kind));
}

void ControllerReport::refuse(LimitKind kind, std::string why) {
  missing.at(index_of(kind)) = std::move(why);
}

LimitStates enforcement(const LimitOrder& order, const Controllers& active, const ControllerReport& report) {
  LimitStates states;
  for (const LimitKind kind : limit_kinds) {
    const auto value = value_of(order.limits, kind);
    if (!value) continue;
    LimitState state{.kind = kind, .value = *value};
    if (active.has(kind)) {
      state.by = Enforcer::cgroup;
    } else {
      const bool by_rlimit = kind == LimitKind::pids && order.own_user;
      state.by = by_rlimit ? Enforcer::rlimit : next_best(kind);
      state.why = report.why_not(kind);
      if (state.why.empty())
        state.why = fmt::format("its control group has no {} controller", to_string(kind));
    }
    states.push_back(std::move(state));
  }
  return states;
}

void refused(LimitState& state, std::string why) {
  state.by = next_best(state.kind);
  state.why = std::move(why);
}

std::string enforcer_text(const LimitState& state) {
  switch (state.by) {
    case Enforcer::cgroup:
      return "cgroup";
    case Enforcer::rlimit:
      return "rlimit";
    case Enforcer::watched:
      return "watched";
    case Enforcer::nobody:
      return "not enforced: " + state.why;
  }
  return "";
}

std::string value_text(const LimitState& state) {
  switch (state.kind) {
    case LimitKind::memory:
      return spec::size_text(state.value);
    case LimitKind::cpu:
      return fmt::format("{}", static_cast<double>(state.value) / 1000.0);
    case LimitKind::pids:
      return std::to_string(state.value);
  }
  return "";
}

std::string limits_text(const LimitStates& states) {
  std::string text;
  for (const LimitState& state : states) {
    if (!text.empty()) text += ", ";
    text += fmt::format("{} {} ({}", to_string(state.kind), value_text(state), enforcer_text(state));
    const bool why_is_told = state.by == Enforcer::nobody || state.why.empty();
    text += why_is_told ? ")" : fmt::format(": {})", state.why);
  }
  return text;
}

std::vector<GroupFile> group_files(const LimitOrder& order, const Controllers& active, bool fresh) {
  const spec::Limits& limits = order.limits;
  std::vector<GroupFile> files;
  const auto write = [&](LimitKind kind, std::string_view name, std::string text, bool optional = false) {
    files.push_back({.kind = kind, .name = name, .text = std::move(text), .optional = optional});
  };
  if (active.memory && (limits.memory || !fresh)) {
    // The replica dies as a whole, and what it may have of memory it may not have of swap besides.
    write(LimitKind::memory, "memory.oom.group", limits.memory ? "1" : "0", true);
    write(LimitKind::memory, "memory.swap.max", limits.memory ? "0" : "max", true);
    write(LimitKind::memory, "memory.max", number_or_max(limits.memory));
  }
  if (active.cpu && (limits.cpu || !fresh))
    write(LimitKind::cpu, "cpu.max", limits.cpu ? cpu_quota(*limits.cpu) : "max");
  if (active.cpu && (order.nice != 0 || !fresh))
    write(LimitKind::cpu, "cpu.weight.nice", std::to_string(order.nice), true);
  if (active.pids && (limits.pids || !fresh)) write(LimitKind::pids, "pids.max", number_or_max(limits.pids));
  return files;
}

std::optional<Excess> excess(const LimitStates& states, const TreeUse& use) {
  for (const LimitState& state : states) {
    if (state.by != Enforcer::watched) continue;
    const std::uint64_t used = state.kind == LimitKind::memory ? use.memory_bytes : use.tasks;
    if (used > state.value) return Excess{.kind = state.kind, .used = used, .limit = state.value};
  }
  return std::nullopt;
}

bool watches(const LimitStates& states) {
  return std::ranges::any_of(states, [](const LimitState& state) { return state.by == Enforcer::watched; });
}

bool watches(const LimitStates& states, LimitKind kind) {
  return std::ranges::any_of(states, [kind](const LimitState& state) {
    return state.kind == kind && state.by == Enforcer::watched;
  });
}

std::string excess_text(LimitKind kind, std::uint64_t used, std::uint64_t limit) {
  if (kind == LimitKind::memory)
    return fmt::format("out of memory: {:.1f} MiB in use, limit {}", static_cast<double>(used) / 1048576.0,
                       spec::size_text(limit));
  return fmt::format("too many processes and threads: {}, limit {}", used, limit);
}

}  // namespace muster::supervisor
