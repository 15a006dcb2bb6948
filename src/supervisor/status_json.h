// The body of `ps -o json` and GET /v1/status (schema 1: stable, fields may be added), and of GET /v1/why. Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lb/balancer.h"
#include "supervisor/drift.h"
#include "supervisor/event_log.h"
#include "supervisor/log_line.h"
#include "supervisor/world.h"

namespace muster::supervisor {

struct UsageView {
  double cpu_percent = 0;  // of one core
  std::uint64_t memory_bytes = 0;
  bool memory_over_counts = false;
};

struct StatusInput {
  const World* world = nullptr;
  lb::Stats stats;
  std::map<InstanceId, UsageView> usage;
  std::map<InstanceId, LimitStates> limits;
  std::vector<Drift> drift;
  Now now;
  Instant daemon_started;
  int pid = 0;
  std::string version;
  std::string containment;
};

std::string status_json(const StatusInput& input);

// The body of GET /v1/rollout; none when there is no such app.
std::optional<std::string> rollout_json(const World& world, const std::string& name, Instant now);

struct WhyInput {
  const World* world = nullptr;
  std::string app;
  std::optional<int> ordinal;
  const lb::Stats* stats = nullptr;
  std::map<InstanceId, std::string> upstream_failures;  // the last one of each
  std::map<InstanceId, LimitStates> limits;
  std::vector<LoggedEvent> events;  // of the target, oldest first
  std::vector<StoredLine> logs;
  std::vector<Drift> drift;
  Now now;
};

// "limits: memory 64MiB (cgroup)"; "" where it has none.
std::string limits_line(const std::map<InstanceId, LimitStates>& limits, InstanceId id);

// None when there is no such app or replica.
std::optional<std::string> why_json(const WhyInput& input);

}  // namespace muster::supervisor
