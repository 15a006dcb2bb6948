// `max_in_flight` of a listener, and one app that it leads to: who waits for one of its replicas to be free, in order,
// over all traffic threads. A request that ends anywhere calls the first in line, who then looks for itself; so each
// one stands in line before it looks for the last time, and what ends in between is not missed.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>

namespace muster::lb {

class Loop;

class Capacity {
 public:
  // One who waits. Of its own thread, but for its place in line.
  struct Turn {
    explicit Turn(Loop& l) : loop(l) {}
    Loop& loop;
    void (*wake)(void* waiting) = nullptr;
    void* waiting = nullptr;  // null: it does not wait at the moment
    bool called = false;      // since it stood in line last
  };

  Capacity() = default;
  Capacity(const Capacity&) = delete;
  Capacity& operator=(const Capacity&) = delete;

  // Whoever comes now has to wait behind others.
  [[nodiscard]] bool has_line() const noexcept { return waiters_.load(std::memory_order_relaxed) != 0; }
  // At the end of the line. True: that is its beginning.
  bool join(const std::shared_ptr<Turn>& turn);
  // Called and found nothing: at the beginning again. False: it stands in line anyway.
  bool join_again(const std::shared_ptr<Turn>& turn);
  // For good. `served`: by what it was called for, if it was.
  void leave(const std::shared_ptr<Turn>& turn, bool served);
  // A request has ended. From any thread.
  void call_next();
  void call_all();

 private:
  static void call(const std::shared_ptr<Turn>& turn);

  std::atomic<std::size_t> waiters_{0};  // in line, or called
  std::mutex mutex_;
  std::deque<std::shared_ptr<Turn>> line_;  // guarded by mutex_
};

// One who waits, from its first place in line to its end.
class InLine {
 public:
  explicit InLine(Loop& loop) : loop_(loop) {}
  InLine(const InLine&) = delete;
  InLine& operator=(const InLine&) = delete;
  ~InLine() { leave(false); }

  // Stands in this line, unless it does already; null: in none. True: a look is due, from the beginning of the line.
  bool stand(const std::shared_ptr<Capacity>& capacity);
  void leave(bool served);
  // What is called while it waits.
  void wait(void (*wake)(void*), void* waiting);
  void stop_waiting();

 private:
  Loop& loop_;
  std::shared_ptr<Capacity> capacity_;
  std::shared_ptr<Capacity::Turn> turn_;
};

}  // namespace muster::lb
