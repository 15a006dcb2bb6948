// The balancer as the control thread sees it: what its threads call back comes out as events. For the control thread.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/mailbox.h"
#include "lb/balancer.h"
#include "supervisor/access_queue.h"
#include "supervisor/action.h"
#include "supervisor/event.h"

struct uv_loop_s;
struct uv_async_s;

namespace muster::supervisor {

struct TrafficHooks {
  std::function<void(Event)> emit;  // SnapshotInUse, EndpointIdle
  std::function<void(InstanceId, std::string)> on_upstream_failed;
  std::function<void(std::uint64_t)> on_pong;
  std::function<void(const lb::AccessLines&)> on_access_lines;
  std::function<void()> on_access_logs_flushed;
};

class Traffic {
 public:
  // Starts the threads. The loop must run once more after the destructor.
  // `handover`: what an earlier image left.
  static Result<std::unique_ptr<Traffic>> start(uv_loop_s* loop, int threads,
                                                std::vector<std::pair<std::string, int>> systemd_fds,
                                                TrafficHooks hooks,
                                                std::optional<lb::Handover> handover = {});
  ~Traffic();
  Traffic(const Traffic&) = delete;
  Traffic& operator=(const Traffic&) = delete;

  // With what an earlier image left: its replicas take traffic again by those listeners of `spec` that need no
  // certificate, until the first publish(). All that the daemon does besides can wait then.
  Status go_on(const std::shared_ptr<const spec::Spec>& spec);
  // When the last of the threads did so; none yet.
  [[nodiscard]] std::optional<Instant> gone_on() const;

  // Opens what the spec's listeners need beyond what is open, and keeps it for the publish() of that spec. An address
  // in use is an error that names the holder.
  Status prepare(const std::shared_ptr<const spec::Spec>& spec);
  // What prepare() has opened and no publish() has taken is closed.
  void forget_prepared();
  // A unix listener whose file at `path` is not its socket any more; prepare() opens it anew.
  [[nodiscard]] bool has_lost(const std::string& path) const { return balancer_->has_lost(path); }
  // `leaving`: listeners of an app without replicas are closed (the daemon is stopping).
  void publish(const Publish& publish, bool leaving);
  // Answered by one EndpointIdle for all that was asked of the instance and is not answered yet.
  void watch_idle(InstanceId instance) {
    ++idle_asked_[instance];
    balancer_->watch_idle(instance);
  }
  void ping(std::uint64_t token) { balancer_->ping(token); }
  // As of lb::Balancer; `done` is called on the control thread. One question at a time.
  void quiesce(Millis patience, std::function<void(std::uint64_t)> done);
  void resume() { balancer_->resume(); }
  // All lines of access logs have been delivered then. Nothing else may be called until take_back().
  lb::Handover give_up();
  // Goes on with the last snapshot, and asks again what was not answered.
  Status take_back(lb::Handover handover);
  void flush_access_logs() { balancer_->flush_access_logs(); }
  [[nodiscard]] lb::Stats stats() const { return balancer_->stats(); }
  void stop(Millis grace);  // all lines of access logs have been delivered then

 private:
  struct UpstreamFailed {
    InstanceId instance;
    std::string text;
  };
  struct Pong {
    std::uint64_t token;
  };
  struct AccessLogsFlushed {};
  struct Quiesced {
    std::uint64_t in_flight;
  };
  using Letter = std::variant<SnapshotInUse, EndpointIdle, Pong, Demanded, AccessLogsFlushed, Quiesced>;

  Traffic(uv_loop_s* loop, TrafficHooks hooks);
  Status start_balancer(std::optional<lb::Handover> handover);
  void open_access_queue();
  void deliver();
  void hear_idle(const EndpointIdle& idle);
  void deliver_access_lines(std::size_t bytes);

  TrafficHooks hooks_;
  uv_async_s* wake_ = nullptr;
  std::unique_ptr<Mailbox<Letter>> mailbox_;
  // Of their own, so that a flood of them never costs an acknowledgement.
  std::unique_ptr<Mailbox<UpstreamFailed>> failures_;
  std::unique_ptr<AccessQueue> access_lines_;
  int threads_ = 1;
  std::vector<std::pair<std::string, int>> systemd_fds_;
  std::vector<lb::Pool> handed_pools_;
  std::atomic<Nanos::rep> gone_on_{0};  // on the steady clock
  std::unique_ptr<lb::Balancer> balancer_;
  std::shared_ptr<const lb::Snapshot> published_;
  std::map<InstanceId, int> idle_asked_;  // how often, and not answered
  std::function<void(std::uint64_t)> on_quiesced_;
  std::shared_ptr<const spec::Spec> prepared_for_;
  lb::PreparedListeners prepared_;
};

}  // namespace muster::supervisor
