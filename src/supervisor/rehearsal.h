// What the planner would do: a copy of it, on an ideal host with a clock of its own. Starts succeed and become ready in
// the time that is foretold, what is asked to end ends, workers acknowledge at once; nothing else happens. So `plan`
// shows the very steps of the code that will take them. Pure.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "supervisor/planner.h"

namespace muster::supervisor {

struct Rehearsed {
  struct Start {
    Nanos at{0};  // since the beginning
    ReplicaId replica;
    Revision revision{};
    std::string why;
  };
  struct End {
    Nanos at{0};
    ReplicaId replica;
    Revision revision{};
    std::string why;
  };
  struct AppCourse {
    int ready_min = 0;    // lowest count of ready replicas on the way
    Nanos settled{0};     // when its last process became ready or ended
    Revision revision{};  // in force at the end
    int wanted = 0;       // replicas at the end
  };
  std::vector<Start> starts;    // in their order
  std::vector<Start> job_runs;  // tries of jobs; each succeeds
  std::vector<End> ends;        // when they were decided
  std::map<std::string, AppCourse> apps;
  bool whole = true;  // false: it was longer than what is looked at
};

// How long a replica of the app takes from its start until it is ready.
using StartTakes = std::function<Nanos(const spec::App&)>;

// Until all that `spec` changes is settled, at most two hours of that clock. With what is under way already.
Rehearsed rehearse(Planner planner, std::shared_ptr<const spec::Spec> spec, Now now,
                   const StartTakes& start_takes);

}  // namespace muster::supervisor
