// How an update may go: how many processes more and how many replicas fewer, and what happens to a revision that fails.
// By the file's own words, not by what the planner was told.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "simulator/fake_host.h"

namespace muster::sim {

class RolloutRules {
 public:
  explicit RolloutRules(FakeHost& host) : host_(host) {}
  void before_step(const std::vector<Event>& events);
  void after_step();
  void on_restart();

 private:
  struct Before {  // the step
    int extras = 0;
    Revision revision{};
    bool failed = false;  // the revision in force
  };

  void check_surge(const std::string& name, const AppWorld& app, const spec::App& file);
  void check_ready(const AppWorld& app, const spec::App& file, const Tenant& tenant);
  void check_deadline(const std::string& name, const AppWorld& app, const spec::App& file);
  void check_failure(const std::string& name, const AppWorld& app, const spec::App& file);
  void check_history(const std::string& name, const AppWorld& app);

  FakeHost& host_;
  std::map<std::string, Before> before_;
  std::set<std::string> at_once_;  // apps that a command of this step takes down all together
  std::set<InstanceId> fit_;       // ready before this step
};

}  // namespace muster::sim
