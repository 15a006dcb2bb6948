#include "supervisor/pool_work.h"

#include <uv.h>

#include <deque>
#include <utility>

#include "base/check.h"

namespace muster::supervisor {

struct PoolWork::Job {
  uv_work_t request{};
  std::shared_ptr<Line> line;
  std::function<void(const Stopped&)> work;
  std::function<void()> done;
};

struct PoolWork::Line {
  uv_loop_s* loop = nullptr;
  std::size_t waiting_max = 0;
  std::deque<std::unique_ptr<Job>> waiting;
  bool busy = false;
  std::atomic<bool> ended = false;
};

PoolWork::PoolWork(uv_loop_s* loop, std::size_t waiting_max) : line_(std::make_shared<Line>()) {
  line_->loop = loop;
  line_->waiting_max = waiting_max;
}

PoolWork::~PoolWork() {
  line_->ended = true;
  line_->waiting.clear();
}

bool PoolWork::busy() const {
  return line_->busy;
}

bool PoolWork::run(std::function<void(const Stopped&)> work, std::function<void()> done) {
  if (line_->waiting.size() >= line_->waiting_max) return false;
  line_->waiting.push_back(std::make_unique<Job>(
      Job{.request = {}, .line = line_, .work = std::move(work), .done = std::move(done)}));
  if (!line_->busy) start(line_);
  return true;
}

void PoolWork::start(const std::shared_ptr<Line>& line) {
  line->busy = true;
  Job* const job = line->waiting.front().release();
  line->waiting.pop_front();
  job->request.data = job;
  const int queued = uv_queue_work(
      line->loop, &job->request,
      [](uv_work_t* request) {
        Job& mine = *static_cast<Job*>(request->data);
        const Line& of = *mine.line;
        mine.work([&of] { return of.ended.load(); });
      },
      [](uv_work_t* request, int) {
        const std::unique_ptr<Job> mine(static_cast<Job*>(request->data));
        mine->line->busy = false;
        if (mine->line->ended) return;
        mine->done();
        if (!mine->line->ended && !mine->line->waiting.empty() && !mine->line->busy) start(mine->line);
      });
  MUSTER_CHECK(queued == 0);
}

}  // namespace muster::supervisor
