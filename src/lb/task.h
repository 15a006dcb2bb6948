// The coroutines of a traffic thread: thin, never moved to another thread, no exceptions across them. A Task starts
// when it is awaited; one that ends without suspending costs its caller no suspension either, so a loop over tasks
// that are ready at once neither grows the stack nor visits the event loop.
//
// Coroutines take their state as parameters (never a capturing lambda), and never co_await in the condition of an if,
// while, for or switch: g++ 12 lays out the frame of such a coroutine wrongly when it has no named local variable
// (its own handle then points 8 bytes before the frame that it resumes). A test holds the sources to it. Nor do they
// make an aggregate that owns something inside a co_await expression: g++ 12 copies it bit by bit.
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <optional>
#include <utility>

namespace muster::lb {

// Frames of one size class come back again and again on one thread: a request allocates none in the long run.
class FrameCache {
 public:
  static void* take(std::size_t size);
  static void give(void* frame, std::size_t size) noexcept;
  static void clear() noexcept;  // frees what the calling thread keeps: due before its end
};

struct CachedFrame {
  // NOLINTNEXTLINE(misc-new-delete-overloads): the sized delete below is its counterpart
  static void* operator new(std::size_t size) { return FrameCache::take(size); }
  static void operator delete(void* frame, std::size_t size) noexcept { FrameCache::give(frame, size); }
};

namespace detail {
// Ends a task: goes on in the caller when that was suspended, else returns to it.
struct FinalAwaiter {
  static bool await_ready() noexcept { return false; }
  template <typename Promise>
  static std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> self) noexcept {
    auto& promise = self.promise();
    promise.finished = true;
    return promise.caller ? promise.caller : std::noop_coroutine();
  }
  static void await_resume() noexcept {}
};

struct PromiseBase : CachedFrame {
  std::coroutine_handle<> caller;  // set once the caller is suspended
  bool finished = false;
  static std::suspend_always initial_suspend() noexcept { return {}; }
  static FinalAwaiter final_suspend() noexcept { return {}; }
  // Nothing here throws but a failed allocation, and that ends the process by design.
  [[noreturn]] static void unhandled_exception() noexcept { std::terminate(); }
};

template <typename T>
struct Promise : PromiseBase {
  std::optional<T> value;
  void return_value(T result) { value = std::move(result); }
  T take() { return std::move(*value); }
};
template <>
struct Promise<void> : PromiseBase {
  static void return_void() noexcept {}
  static void take() noexcept {}
};
}  // namespace detail

template <typename T = void>
class [[nodiscard]] Task {
 public:
  struct promise_type : detail::Promise<T> {
    Task get_return_object() { return Task(std::coroutine_handle<promise_type>::from_promise(*this)); }
  };

  Task(Task&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;
  Task& operator=(Task&&) = delete;
  ~Task() {
    if (frame_) frame_.destroy();
  }

  static bool await_ready() noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> caller) {
    frame_.resume();
    if (frame_.promise().finished) return false;
    frame_.promise().caller = caller;
    return true;
  }
  T await_resume() { return frame_.promise().take(); }

 private:
  explicit Task(std::coroutine_handle<promise_type> frame) : frame_(frame) {}
  std::coroutine_handle<promise_type> frame_;
};

// A coroutine nobody awaits: runs at once, frees itself at its end.
struct Detached {
  struct promise_type : CachedFrame {
    static Detached get_return_object() noexcept { return {}; }
    static std::suspend_never initial_suspend() noexcept { return {}; }
    static std::suspend_never final_suspend() noexcept { return {}; }
    static void return_void() noexcept {}
    [[noreturn]] static void unhandled_exception() noexcept { std::terminate(); }
  };
};

// One coroutine beside its owner's: started, later joined. The owner must not go before it has ended.
class Branch {
 public:
  Branch() = default;
  Branch(const Branch&) = delete;
  Branch& operator=(const Branch&) = delete;

  void start(Task<> task) {
    running_ = true;
    drive(std::move(task), *this);
  }
  [[nodiscard]] bool running() const { return running_; }

  // Awaitable: suspends until the branch has ended.
  auto join() {
    struct Join {
      Branch& branch;
      [[nodiscard]] bool await_ready() const { return !branch.running_; }
      void await_suspend(std::coroutine_handle<> caller) const { branch.joiner_ = caller; }
      static void await_resume() noexcept {}
    };
    return Join{*this};
  }

 private:
  static Detached drive(Task<> task, Branch& branch) {
    co_await task;
    branch.running_ = false;
    if (auto joiner = std::exchange(branch.joiner_, nullptr)) joiner.resume();
  }

  bool running_ = false;
  std::coroutine_handle<> joiner_;
};

}  // namespace muster::lb
