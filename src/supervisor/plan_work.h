// Plans are made beside the control loop: rehearsing a long rollout must not hold up a probe. One after the other.
// For the control thread.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "supervisor/plan.h"

struct uv_loop_s;

namespace muster::supervisor {

class PlanWork {
 public:
  explicit PlanWork(uv_loop_s* loop);
  // What is under way ends unheard; the loop must run on until it has.
  ~PlanWork();
  PlanWork(const PlanWork&) = delete;
  PlanWork& operator=(const PlanWork&) = delete;

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
  struct Job;
  struct Line;
  static void start(const std::shared_ptr<Line>& line);
  std::shared_ptr<Line> line_;
};

}  // namespace muster::supervisor
