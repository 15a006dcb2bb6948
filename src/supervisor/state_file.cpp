#include "supervisor/state_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include <cerrno>
#include <cstdio>
#include <mutex>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/fd.h"
#include "base/limits.h"
#include "supervisor/state_codec.h"
#include "supervisor/write_file.h"

namespace muster::supervisor {
namespace {

constexpr std::uint64_t pause_ms = 200;

Result<std::string> read_file(const std::string& path) {
  const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) return system_error("cannot be read", errno);
  struct stat info {};
  if (fstat(file.get(), &info) != 0) return system_error("cannot be read", errno);
  if (!S_ISREG(info.st_mode)) return Error{"is not a regular file", ExitCode::failed, EINVAL};
  if (static_cast<std::uint64_t>(info.st_size) > limits::state_file_bytes_max)
    return Error{"is damaged: it is too large", ExitCode::failed, 0};
  std::string text(static_cast<std::size_t>(info.st_size), '\0');
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t got = read(file.get(), text.data() + done, text.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_error("cannot be read", errno);
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  text.resize(done);
  return text;
}

Result<PersistentState> load_one(const std::string& path) {
  auto text = read_file(path);
  if (!text) return std::move(text).error();
  return decode_state(text.value());
}

Status sync_folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  const Fd opened(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!opened) return system_error("open " + folder, errno);
  // EINVAL: a file system that cannot sync folders; the renames are as safe as it makes them.
  if (fsync(opened.get()) != 0 && errno != EINVAL) return system_error("fsync " + folder, errno);
  return Unit{};
}

// By a link, so that there is no moment without a current file.
void keep_previous(const std::string& path) {
  const std::string link_path = path + ".prev.tmp";
  unlink(link_path.c_str());
  const std::string previous = path + ".prev";
  if (link(path.c_str(), link_path.c_str()) == 0) {
    if (rename(link_path.c_str(), previous.c_str()) != 0) unlink(link_path.c_str());
  } else if (errno != ENOENT) {  // no hard links here: the moment without a current file is what .prev is for
    rename(path.c_str(), previous.c_str());
  }
}

Status write_state(const std::string& path, std::string_view text) {
  const std::string temporary = path + ".tmp";
  if (Status written = write_file(temporary, text, Synced::yes); !written) return written;
  keep_previous(path);
  if (rename(temporary.c_str(), path.c_str()) != 0) {
    const int error = errno;
    unlink(temporary.c_str());
    return system_error("rename " + temporary, error);
  }
  return sync_folder_of(path);
}

// Out of the way, so that the next save has the name: an older one that was kept makes room. False: it is still there.
bool set_aside(const std::string& path, const std::string& aside) {
  if (rename(path.c_str(), aside.c_str()) == 0) return true;
  // A folder does not replace a file, nor a file a folder.
  return std::remove(aside.c_str()) == 0 && rename(path.c_str(), aside.c_str()) == 0;
}

}  // namespace

LoadedState load_state(const std::string& path) {
  LoadedState loaded;
  auto current = load_one(path);
  if (current) return {LoadedState::From::current, std::move(current).value(), {}};
  const std::string previous_path = path + ".prev";
  const bool missing = current.error().errno_value == ENOENT;
  std::string why = path + " is missing";
  if (!missing) {
    const std::string aside = path + ".refused";
    why = path + " " + current.error().message +
          (set_aside(path, aside) ? " (kept as " + aside + ")" : " (it cannot be moved away)");
  }
  auto previous = load_one(previous_path);
  if (previous) {
    loaded.warnings.push_back(why + "; starting from " + previous_path + ", one change older");
    loaded.from = LoadedState::From::previous;
    loaded.state = std::move(previous).value();
    return loaded;
  }
  const bool previous_missing = previous.error().errno_value == ENOENT;
  if (missing && previous_missing) return loaded;
  if (!previous_missing) loaded.warnings.push_back(previous_path + " " + previous.error().message);
  loaded.warnings.push_back(why + "; starting without holds, revision numbers and backoff");
  return loaded;
}

Status save_state(const std::string& path, const PersistentState& state) {
  return write_state(path, encode_state(state));
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
    Status status = write_state(path, text);
    if (status) disk.written = number;
    return status;
  }

  void start();
  void finished(const Status& status);
  void tell_waiters(std::uint64_t number);
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

void StateSaver::Impl::tell_waiters(std::uint64_t number) {
  std::vector<std::function<void()>> due;
  std::erase_if(waiters, [&](auto& waiter) {
    if (waiter.number > number) return false;
    due.push_back(std::move(waiter.done));
    return true;
  });
  for (const auto& done : due) done();
}

bool StateSaver::Impl::wait(std::function<void()> done, bool in_haste) {
  const bool outstanding = busy || started_number < newest_number;
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
  tell_waiters(started_number);
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
  impl_->tell_waiters(impl_->newest_number);
  return status;
}

}  // namespace muster::supervisor
