// Plans are made beside the control loop: rehearsing a long rollout must not hold up a probe. One after the other.
// For the control thread.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "supervisor/plan.h"
#include "supervisor/pool_work.h"

namespace muster::supervisor {

class PlanWork {
 public:
  // As PoolWork: what is under way ends unheard, and the loop must run on until it has.
  explicit PlanWork(uv_loop_s* loop);

  struct Order {
    Planner planner;  // as it is now
    std::shared_ptr<const spec::Spec> spec;
    Now now;
    std::vector<Drift> drift;
    std::function<void(const Plan&)> done;  // on the control thread, later
  };
  // False: too many wait already.
  bool make(Order order);

 private:
  PoolWork pool_;
};

}  // namespace muster::supervisor
