// `max_conns` of a listener: how many connections it may have at once, over all traffic threads. A thread that finds
// no place waits in line, whatever lies in the backlog of its own socket, and is given the place of a connection that
// ends; whoever else has one to accept goes to the end of the line.
#pragma once

#include <atomic>
#include <coroutine>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace muster::lb {

class Loop;
struct SharedListener;

class Places {
 public:
  // An accept loop that waits for a place.
  struct Waiter {
    Waiter(Loop& l, std::shared_ptr<SharedListener> s) : loop(l), shared(std::move(s)) {}
    Loop& loop;
    const std::shared_ptr<SharedListener> shared;  // whose place it is
    std::coroutine_handle<> accepting;             // of its own thread; null: it waits no more
    bool granted = false;                          // of its own thread: a place is kept for it
  };

  // `open`: connections now, on all threads; called under a lock.
  explicit Places(std::function<std::uint64_t()> open) : open_(std::move(open)) {}
  Places(const Places&) = delete;
  Places& operator=(const Places&) = delete;

  // 0: as many as come. Of the control thread; each traffic thread calls offer() once it knows.
  void set_max(std::uint64_t max);
  // While false nothing below needs to be called, but offer() once after a change.
  [[nodiscard]] bool limited() const noexcept { return max_.load(std::memory_order_relaxed) != 0; }

  // Keeps a place for a connection that is about to be accepted; settle() follows. False: there is none.
  bool take();
  // The same, and where there is none `waiter` stands in line.
  bool take_or_wait(const std::shared_ptr<Waiter>& waiter);
  // The place that was kept is a connection by now, or was not needed.
  void settle();
  // After a connection has ended.
  void offer();
  // `waiter` waits no more, and what was or is being given to it goes to the next. On its own thread.
  void leave(const std::shared_ptr<Waiter>& waiter);

 private:
  [[nodiscard]] bool has_room() const;
  bool take_now();
  void serve(std::vector<std::shared_ptr<Waiter>>& served);
  static void tell(const std::vector<std::shared_ptr<Waiter>>& served);

  const std::function<std::uint64_t()> open_;
  std::atomic<std::uint64_t> max_{0};
  std::mutex mutex_;
  std::uint64_t kept_ = 0;                       // guarded by mutex_, like all below
  std::deque<std::shared_ptr<Waiter>> waiting_;  // in line
};

// One place that was kept, until it is settled at the end.
class KeptPlace {
 public:
  KeptPlace() = default;
  explicit KeptPlace(std::shared_ptr<SharedListener> shared) : shared_(std::move(shared)) {}
  KeptPlace(KeptPlace&&) noexcept = default;
  KeptPlace& operator=(KeptPlace&&) = delete;
  KeptPlace(const KeptPlace&) = delete;
  KeptPlace& operator=(const KeptPlace&) = delete;
  ~KeptPlace();

 private:
  std::shared_ptr<SharedListener> shared_;  // null: there is no limit
};

}  // namespace muster::lb
