// What people asked for stays until they or an edit of the file end it: over steps, over daemons, and on disk.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "simulator/fake_host.h"

namespace muster::sim {

class HoldRules {
 public:
  explicit HoldRules(FakeHost& host) : host_(host) {}
  void before_step(const std::vector<Event>& events);
  void after_step();
  void on_restart() { newborn_ = true; }

 private:
  struct Holds {
    bool held = false;
    bool paused = false;
    bool undone = false;
    std::optional<int> scale;
    std::set<int> held_ordinals;
    std::set<int> drained_ordinals;
  };
  static Holds holds_of(const AppWorld& app);
  void compare(const std::string& name, const Holds& before, const Holds& now, int desired);
  void check_disk();
  void check_app_on_disk(const std::string& name, const AppWorld& app);

  FakeHost& host_;
  std::map<std::string, Holds> holds_;  // after the last step
  std::set<std::string> asked_;         // apps that a command of this step is about
  std::set<std::string> edited_;
  std::set<std::string> rescaled_;  // by the file
  bool newborn_ = false;            // the next step is a daemon's first
  std::shared_ptr<const spec::Spec> file_;
};

}  // namespace muster::sim
