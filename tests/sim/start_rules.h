// What may be started, and when: the backoff's pauses, starts per minute, and never again what has failed.
#pragma once

#include <deque>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "simulator/fake_host.h"

namespace muster::sim {

class StartRules {
 public:
  explicit StartRules(FakeHost& host) : host_(host) {}
  void before_step(const std::vector<Event>& events);
  void on_spawn(const Spawn& spawn);
  void after_step();
  void on_restart();

 private:
  struct Starts {
    std::deque<Instant> times;  // of the last minute
    std::deque<Instant>
        excuses;  // each allows further starts: commands, edits, starts that failed on our side
  };
  struct Failures {  // unasked ends in a row that nothing can have forgiven
    int count = 0;
    Instant last;
    bool timed = true;  // false: of the daemon before, which knows the number only
  };

  void hear(const Event& event);
  void edited(const SpecLoaded& loaded);
  void asked(const std::string& app);
  void ended(InstanceId id);
  void check_saved(const std::string& name, const AppWorld& app);

  FakeHost& host_;
  std::map<ReplicaId, Starts> starts_;
  std::map<ReplicaId, Failures> failures_;
  std::map<std::string, Revision> in_force_;
  std::map<std::string, std::set<std::string>> failed_;  // app -> texts of revisions that were given up
  std::map<std::string, Revision> newest_failed_;
  std::shared_ptr<const spec::Spec> file_;
};

}  // namespace muster::sim
