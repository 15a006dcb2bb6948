// What must hold after every step, whatever happened. The host calls in; a broken one is reported to it.
#pragma once

#include <deque>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "supervisor/planner.h"

namespace muster::sim {

class SimHost;

class Invariants {
 public:
  explicit Invariants(SimHost& host) : host_(host) {}

  void before_step(const std::vector<supervisor::Event>& events);
  void on_spawn(const supervisor::Spawn& spawn);
  void after_step();
  // Nothing is left to do: the World is what Spec and holds want. Empty, or what is missing.
  [[nodiscard]] std::string unfinished() const;

 private:
  struct Starts {
    std::deque<Instant> times;  // of the last minute
    std::deque<Instant>
        excuses;  // each allows further starts: commands, edits, starts that failed on our side
  };

  void excuse(const std::string& app, std::optional<int> ordinal);
  void check_tenant(const supervisor::AppWorld& app, const supervisor::Tenant& tenant);
  void check_rollout(const std::string& name, const supervisor::AppWorld& app);
  void check_app(const std::string& name, const supervisor::AppWorld& app);
  void check_jobs();
  [[nodiscard]] std::string unfinished(const supervisor::AppWorld& app) const;
  [[nodiscard]] std::string unfinished_jobs() const;

  SimHost& host_;
  std::map<ReplicaId, Starts> starts_;
  std::map<std::string, int> most_desired_;
  std::map<std::string, int> most_surge_;
  std::map<std::string, int> most_retries_;
  std::map<std::string, Revision> in_force_;
  std::set<std::string> at_once_;  // apps that a command of this step takes down all together
  std::set<InstanceId> fit_;       // ready before this step
};

}  // namespace muster::sim
