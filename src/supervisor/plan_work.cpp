#include "supervisor/plan_work.h"

#include <utility>

namespace muster::supervisor {

namespace {
constexpr std::size_t waiting_max = 16;  // each holds a copy of all that is known of the replicas
}

PlanWork::PlanWork(uv_loop_s* loop) : pool_(loop, waiting_max) {}

bool PlanWork::make(Order order) {
  struct Job {
    Order order;
    Plan plan;
  };
  auto job = std::make_shared<Job>(Job{.order = std::move(order), .plan = {}});
  return pool_.run(
      [job](const PoolWork::Stopped&) {
        Order& wanted = job->order;
        job->plan = make_plan(wanted.planner, wanted.spec, wanted.now, std::move(wanted.drift));
      },
      [job] { job->order.done(job->plan); });
}

}  // namespace muster::supervisor
