// What must hold after every step, whatever happened. They look on; a broken one is reported to the host.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "sim/hold_rules.h"
#include "sim/rollout_rules.h"
#include "sim/start_rules.h"
#include "simulator/fake_host.h"

namespace muster::sim {

class Invariants {
 public:
  explicit Invariants(FakeHost& host) : host_(host), starts_(host), holds_(host), rollouts_(host) {}
  Invariants(const Invariants&) = delete;
  Invariants& operator=(const Invariants&) = delete;

  Watcher watcher();
  // Nothing is left to do: the World is what Spec and holds want. Empty, or what is missing.
  [[nodiscard]] std::string unfinished() const;

 private:
  struct Departure {
    Instant since;
    Nanos drain{0};
    bool hasty = false;  // hangs, or everything is to end at once: in-flight requests are lost anyway
  };

  void before_step(const std::vector<Event>& events);
  void after_step(const std::vector<Action>& actions);
  void on_restart();
  void check_tenant(const Tenant& tenant);
  void check_app(const std::string& name, const AppWorld& app);
  void check_signal(InstanceId id);
  void check_jobs();  // job_invariants.cpp
  [[nodiscard]] std::string unfinished_jobs() const;
  [[nodiscard]] std::string unfinished(const AppWorld& app) const;
  [[nodiscard]] std::string unfinished(const AppWorld& app, const Slot& slot) const;
  [[nodiscard]] std::string unfinished_routes() const;

  FakeHost& host_;
  StartRules starts_;
  HoldRules holds_;
  RolloutRules rollouts_;
  std::map<std::string, int> most_retries_;
  std::map<InstanceId, Departure> leaving_;
};

}  // namespace muster::sim
