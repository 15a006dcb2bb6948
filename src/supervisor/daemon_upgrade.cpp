// How the daemon becomes its next image, and what that one tells of it.
#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

#include <csignal>

#include "boost/json.hpp"
#include "fmt/core.h"
#include "supervisor/daemon_life.h"
#include "supervisor/state_codec.h"
#include "supervisor/takeover.h"
#include "supervisor/version.h"
#include "supervisor/write_file.h"

namespace muster::supervisor {

namespace {

constexpr Millis output_settles{500};  // of `up`, before an upgrade; its reader may be slow
constexpr Millis output_settles_in_pause{5};

// By a thread of libuv's pool.
void close_at_leisure(uv_loop_t* loop, Fd fd) {
  auto* const request = new uv_fs_t{};
  const auto done = [](uv_fs_t* closed) {
    uv_fs_req_cleanup(closed);
    delete closed;
  };
  if (uv_fs_close(loop, request, fd.get(), done) == 0) {
    static_cast<void>(fd.release());
  } else {
    done(request);
  }
}

}  // namespace

void Daemon::open_upgrade() {
  upgrade_ = std::make_unique<Upgrade>(
      &loop_, engine_->traffic(), options_.image.path,
      UpgradeHooks{
          .write_question = [this] { return write_question(); },
          .run =
              [this](std::vector<std::string> argv, Millis limit, std::function<void(CommandResult)> done) {
                engine_->instances().run_own_command(std::move(argv), limit, std::move(done));
              },
          .open_listeners = [this] { return open_listeners_of_file(); },
          .on_agreed =
              [this](const std::string& version) {
                engine_->note(Severity::info, "upgrade",
                              fmt::format("from muster {} to {}", version_text, version));
                engine_->save_state();
                static_cast<void>(engine_->flush_state());  // so that it need not be done in the pause
                ::malloc_trim(0);                           // nor execve(2) give it back to the kernel there
                api_->tell_of_upgrade();
                if (options_.settle_output) options_.settle_output(output_settles);
              },
          .is_starting = [this] { return has_start_under_way(engine_->world()); },
          .become =
              [this](const UpgradeRequest& request, Instant paused_since, const lb::Handover& traffic) {
                return become_next(request, paused_since, traffic);
              }});
}

// Everything but the traffic, which nobody has given up yet.
DaemonHandover Daemon::own_handover(const UpgradeRequest& request) const {
  DaemonHandover handover;
  handover.from = version_text;
  handover.id = request.id;
  handover.started = engine_->started();
  handover.files_soft = engine_->instances().host().files_soft();
  handover.lock.reset(::fcntl(lock_.get(), F_DUPFD_CLOEXEC, 0));
  for (const int lock : engine_->instances().host().locks())
    handover.group_locks.emplace_back(::fcntl(lock, F_DUPFD_CLOEXEC, 0));
  for (const Fd& lock : group_locks_) {
    const bool is_gone =
        ::faccessat(lock.get(), "cgroup.procs", F_OK, 0) != 0 && (errno == ENOENT || errno == ENODEV);
    if (!is_gone) handover.group_locks.emplace_back(::fcntl(lock.get(), F_DUPFD_CLOEXEC, 0));
  }
  BoundSocket control = control_->listening_socket();
  handover.control = std::move(control.fd);
  handover.control_device = control.device;
  handover.control_inode = control.inode;
  for (const auto& [name, fd] : systemd_fds_)
    handover.systemd_fds.emplace_back(name, Fd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0)));
  handover.stored_output = engine_->output().stored();
  handover.drains = drains_of(engine_->world());
  // The last one to close it waits for the kernel's readers of all watches: some 15 ms.
  if (watches_->descriptor() >= 0)
    handover.slow_to_close.emplace_back(::fcntl(watches_->descriptor(), F_DUPFD_CLOEXEC, 0));
  return handover;
}

// As it would be left now, with the state behind it.
Result<HandoverQuestion> Daemon::write_question() const {
  const std::string path = options_.state_dir + "/upgrade.question";
  const std::string text =
      encode_handover(own_handover({}), {}) + encode_state(engine_->planner().persistent());
  if (const Status written = write_file(path, text, Synced::no); !written) return written.error();
  return HandoverQuestion{.file = path,
                          .mode = options_.mode,
                          .spec_path = options_.spec_path,
                          .run_dir = options_.run_dir,
                          .only_apps = options_.only_apps};
}

// The next image would end if it could not do so. A spec that only that one understands it has to open by itself.
Status Daemon::open_listeners_of_file() {
  const ReadSpec read = source_.read();
  if (read.spec) return engine_->traffic().prepare(read.spec);
  if (read.code == ExitCode::bad_spec) return Unit{};
  return Error{.message = read.error, .code = read.code};
}

// What the upgrade cannot carry is a reason against it, before anything has changed.
Status Daemon::may_upgrade() const {
  if (shutting_down_) return Error{.message = "the daemon is stopping"};
  if (upgrade_->under_way()) return Error{.message = "an upgrade is under way"};
  if (engine_->volumes().is_removing()) return Error{.message = "a volume is being removed"};
  return Unit{};
}

void Daemon::upgrade(UpgradeRequest request, const std::function<void(const Error&)>& failed) {
  const auto refuse = [this, failed](const Error& error) {
    engine_->note(Severity::warning, "upgrade", "refused, nothing has changed: " + error.message);
    if (failed) failed(Error{.message = "refused: " + error.message, .code = error.code});
  };
  if (const Status may = may_upgrade(); !may) return refuse(may.error());
  upgrade_->begin(std::move(request), refuse);
}

Error Daemon::become_next(const UpgradeRequest& request, Instant paused_since, const lb::Handover& traffic) {
  if (const Status saved = engine_->flush_state(); !saved) return saved.error();
  if (options_.settle_output) options_.settle_output(output_settles_in_pause);
  DaemonHandover handover = own_handover(request);
  handover.paused_since = paused_since;
  sd_.reloading("upgrading");
  Error error = become(options_.image, options_.environment, handover, traffic);
  sd_.ready("running");
  return error;
}

// The first look of whoever asked for it.
void Daemon::tell_upgraded() {
  if (!options_.handover) return;
  const Instant gone_on = engine_->traffic().gone_on().value_or(std::chrono::steady_clock::now());
  const std::chrono::duration<double, std::milli> pause = gone_on - options_.handover->paused_since;
  const std::string message =
      fmt::format("upgraded from muster {} to {}; {}; requests were held for {:.1f} ms",
                  options_.handover->from, version_text, handed_, pause.count());
  engine_->note(Severity::info, "upgrade", message);
  last_upgrade_ = boost::json::serialize(boost::json::object{{"id", options_.handover->id},
                                                             {"from", options_.handover->from},
                                                             {"to", version_text},
                                                             {"message", message},
                                                             {"pause_ms", pause.count()}});
  for (Fd& fd : options_.handover->slow_to_close) close_at_leisure(&loop_, std::move(fd));
  options_.handover.reset();
}

// They were blocked over execve(2); those that came meanwhile are taken now.
void Daemon::allow_signals() {
  sigset_t none;
  ::sigemptyset(&none);
  ::pthread_sigmask(SIG_SETMASK, &none, nullptr);
}

}  // namespace muster::supervisor
