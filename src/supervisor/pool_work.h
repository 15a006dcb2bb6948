// Work that may take long, by a thread of libuv's pool: one after the other, in the order in which it was asked for. For
// the control thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>

struct uv_loop_s;

namespace muster::supervisor {

class PoolWork {
 public:
  explicit PoolWork(uv_loop_s* loop, std::size_t waiting_max = 16);
  // What is under way is told to stop and ends unheard; the loop must run on until it has.
  ~PoolWork();
  PoolWork(const PoolWork&) = delete;
  PoolWork& operator=(const PoolWork&) = delete;

  using Stopped = std::function<bool()>;
  // `work` runs beside the loop and asks `stopped` now and then; `done` is called on the control thread. False: too many
  // wait already, and nothing will be done.
  bool run(std::function<void(const Stopped& stopped)> work, std::function<void()> done);
  [[nodiscard]] bool busy() const;

 private:
  struct Job;
  struct Line;
  static void start(const std::shared_ptr<Line>& line);
  std::shared_ptr<Line> line_;
};

}  // namespace muster::supervisor
