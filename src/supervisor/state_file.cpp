#include "supervisor/state_file.h"

#include <uv.h>

#include <algorithm>
#include <mutex>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/limits.h"
#include "supervisor/state_codec.h"

namespace muster::supervisor {
namespace {

constexpr std::uint64_t pause_ms = 200;

}  // namespace

LoadedState load_state(const std::string& path) {
  LoadedState loaded;
  KeptFile found = load_kept(
      path, limits::state_file_bytes_max,
      [&](const std::string& text) -> Status {
        auto state = decode_state(text);
        if (!state) return std::move(state).error();
        loaded.state = std::move(state).value();
        return Unit{};
      },
      "; starting without holds, revision numbers and backoff");
  loaded.from = found.from;
  loaded.warnings = std::move(found.warnings);
  return loaded;
}

Status save_state(const std::string& path, const PersistentState& state) {
  return write_kept(path, encode_state(state), Synced::yes);
}

struct StateSaver::Impl : std::enable_shared_from_this<StateSaver::Impl> {
  // What a worker of libuv's pool and the control thread share.
  struct Disk {
    std::mutex mutex;
    std::uint64_t written = 0;  // number of the newest text on disk
  };

  // The text unless a newer one is on disk.
  static Status write(Disk& disk, const std::string& path, const std::string& text, std::uint64_t number) {
    const std::lock_guard lock(disk.mutex);
    if (number <= disk.written) return Unit{};
    Status status = write_kept(path, text, Synced::yes);
    if (status) disk.written = number;
    return status;
  }

  void start();
  void finished(const Status& status);
  // Those who wait for that text, or an older one; when it was not written only those in haste.
  void tell_waiters(std::uint64_t number, bool written);
  // False: nothing is outstanding, and it has been told.
  bool wait(std::function<void()> done, bool in_haste);
  void report(const Status& status);

  uv_loop_s* loop = nullptr;
  uv_timer_t* timer = nullptr;
  std::string path;
  std::function<void(const std::string&)> on_error;
  std::shared_ptr<Disk> disk = std::make_shared<Disk>();
  std::string newest;
  std::uint64_t newest_number = 0;
  std::uint64_t started_number = 0;
  struct Waiter {
    std::uint64_t number = 0;  // of the text
    std::function<void()> done;
    bool in_haste = false;
  };
  std::vector<Waiter> waiters;
  bool busy = false;
  bool failing = false;
  bool ended = false;
};

namespace {

struct Work {
  uv_work_t request{};
  std::shared_ptr<StateSaver::Impl> saver;
  std::shared_ptr<StateSaver::Impl::Disk> disk;
  std::string path;
  std::string text;
  std::uint64_t number = 0;
  Status status = Unit{};
};

}  // namespace

void StateSaver::Impl::start() {
  auto* work = new Work{};
  work->request.data = work;
  work->saver = shared_from_this();
  work->disk = disk;
  work->path = path;
  work->text = newest;
  work->number = newest_number;
  started_number = newest_number;
  busy = true;
  const int queued = uv_queue_work(
      loop, &work->request,
      [](uv_work_t* request) {
        auto* job = static_cast<Work*>(request->data);
        job->status = write(*job->disk, job->path, job->text, job->number);
      },
      [](uv_work_t* request, int) {
        const std::unique_ptr<Work> job(static_cast<Work*>(request->data));
        job->saver->finished(job->status);
      });
  MUSTER_CHECK(queued == 0);
}

void StateSaver::Impl::report(const Status& status) {
  if (status.ok() != failing) return;
  failing = !status.ok();
  if (on_error) on_error(failing ? "the state cannot be saved: " + status.error().message : "");
}

void StateSaver::Impl::tell_waiters(std::uint64_t number, bool written) {
  std::vector<std::function<void()>> due;
  std::erase_if(waiters, [&](auto& waiter) {
    if (waiter.number > number || !(written || waiter.in_haste)) return false;
    due.push_back(std::move(waiter.done));
    return true;
  });
  for (const auto& done : due) done();
}

bool StateSaver::Impl::wait(std::function<void()> done, bool in_haste) {
  const bool outstanding = busy || started_number < newest_number || (failing && !in_haste);
  if (outstanding) {
    waiters.push_back({.number = newest_number, .done = std::move(done), .in_haste = in_haste});
  } else {
    done();
  }
  return outstanding;
}

void StateSaver::Impl::finished(const Status& status) {
  busy = false;
  if (ended) return;
  report(status);
  tell_waiters(started_number, status.ok());
  if (std::ranges::any_of(waiters, &Waiter::in_haste)) return start();
  uv_timer_start(
      timer,
      [](uv_timer_t* due) {
        auto* saver = static_cast<Impl*>(due->data);
        if (saver->failing || saver->started_number < saver->newest_number) saver->start();
      },
      failing ? 10 * pause_ms : pause_ms, 0);
}

StateSaver::StateSaver(uv_loop_s* loop, std::string path, std::function<void(const std::string&)> on_error)
    : impl_(std::make_shared<Impl>()) {
  impl_->loop = loop;
  impl_->path = std::move(path);
  impl_->on_error = std::move(on_error);
  impl_->timer = new uv_timer_t{};
  MUSTER_CHECK(uv_timer_init(loop, impl_->timer) == 0);
  impl_->timer->data = impl_.get();
}

StateSaver::~StateSaver() {
  impl_->ended = true;
  uv_close(reinterpret_cast<uv_handle_t*>(impl_->timer),
           [](uv_handle_t* closed) { delete reinterpret_cast<uv_timer_t*>(closed); });
}

void StateSaver::save(PersistentState state) {
  impl_->newest = encode_state(state);
  ++impl_->newest_number;
  if (!impl_->busy && !uv_is_active(reinterpret_cast<uv_handle_t*>(impl_->timer))) impl_->start();
}

void StateSaver::when_written(std::function<void()> done) {
  if (!impl_->wait(std::move(done), true) || impl_->busy) return;
  uv_timer_stop(impl_->timer);
  impl_->start();
}

void StateSaver::after_next_save(std::function<void()> done) {
  impl_->wait(std::move(done), false);
}

Status StateSaver::flush() {
  Status status = Impl::write(*impl_->disk, impl_->path, impl_->newest, impl_->newest_number);
  impl_->report(status);
  impl_->tell_waiters(impl_->newest_number, status.ok());
  return status;
}

}  // namespace muster::supervisor
