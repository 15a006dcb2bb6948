#include "supervisor/plan_work.h"

#include <uv.h>

#include <utility>

#include "base/check.h"

namespace muster::supervisor {

namespace {
constexpr std::size_t waiting_max = 16;  // each holds a copy of all that is known of the replicas
}

struct PlanWork::Line {
  uv_loop_s* loop = nullptr;
  std::deque<Order> waiting;
  bool busy = false;
  bool ended = false;
};

struct PlanWork::Job {
  uv_work_t request{};
  std::shared_ptr<Line> line;
  Order order;
  Plan plan;
};

PlanWork::PlanWork(uv_loop_s* loop) : line_(std::make_shared<Line>()) {
  line_->loop = loop;
}

PlanWork::~PlanWork() {
  line_->ended = true;
  line_->waiting.clear();
}

bool PlanWork::make(Order order) {
  if (line_->waiting.size() >= waiting_max) return false;
  line_->waiting.push_back(std::move(order));
  if (!line_->busy) start(line_);
  return true;
}

void PlanWork::start(const std::shared_ptr<Line>& line) {
  line->busy = true;
  auto* job = new Job{.request = {}, .line = line, .order = std::move(line->waiting.front()), .plan = {}};
  line->waiting.pop_front();
  job->request.data = job;
  const int queued = uv_queue_work(
      line->loop, &job->request,
      [](uv_work_t* request) {
        Job& mine = *static_cast<Job*>(request->data);
        mine.plan =
            make_plan(mine.order.planner, mine.order.spec, mine.order.now, std::move(mine.order.drift));
      },
      [](uv_work_t* request, int) {
        const std::unique_ptr<Job> mine(static_cast<Job*>(request->data));
        mine->line->busy = false;
        if (mine->line->ended) return;
        mine->order.done(mine->plan);
        if (!mine->line->waiting.empty() && !mine->line->busy) start(mine->line);
      });
  MUSTER_CHECK(queued == 0);
}

}  // namespace muster::supervisor
