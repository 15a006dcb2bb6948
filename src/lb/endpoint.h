// A replica as one traffic thread sees it: its idle upstream connections and what is in flight at it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/limits.h"
#include "lb/buffer.h"
#include "lb/local_ref.h"
#include "lb/shared_state.h"
#include "lb/socket.h"
#include "lb/socket_address.h"
#include "lb/task.h"

namespace muster::lb {

class LocalEndpoint;
class Worker;

// A connection to a replica. In use it belongs to one exchange; parked it belongs to its endpoint, which closes it
// when the replica sends or closes, or when it has been idle for too long.
class Upstream : private WheelNode {
 public:
  Upstream(LocalEndpoint& endpoint, Socket socket) noexcept
      : WheelNode(&Upstream::on_due), socket_(std::move(socket)), endpoint_(endpoint) {}
  Upstream(const Upstream&) = delete;
  Upstream& operator=(const Upstream&) = delete;
  ~Upstream();

  [[nodiscard]] Socket& socket() noexcept { return socket_; }
  [[nodiscard]] bool reused() const noexcept { return reused_; }
  // What it began with is said of one client: only for that client's requests is it used again. Null: for all.
  void belong_to(const void* owner) noexcept { owner_ = owner; }
  [[nodiscard]] Buffer& pending() noexcept { return pending_; }  // a partial head, or what came behind a 101

 private:
  friend class LocalEndpoint;
  static void on_due(WheelNode& node);
  static void on_event(void* self);
  void take_up() noexcept {
    parked_ = false;  // its deadline stays on the wheel, for the next time
    socket_.unwatch();
    reused_ = true;
  }

  Socket socket_;
  LocalEndpoint& endpoint_;
  Buffer pending_;
  Instant idle_since_{};
  Instant parked_until_{};
  const void* owner_ = nullptr;
  bool reused_ = false;
  bool parked_ = false;
};

struct ConnectFailure {
  std::string why;
  bool refused = false;  // at once, by the host: nobody listens there
  bool ours = false;     // we had nothing to connect with: no failure of the replica
};

class LocalEndpoint : public LocalCounted {
 public:
  LocalEndpoint(Worker& worker, std::shared_ptr<SharedInstance> shared);
  ~LocalEndpoint();

  [[nodiscard]] InstanceId id() const { return shared_->endpoint.instance; }
  [[nodiscard]] const std::string& label() const { return shared_->endpoint.label; }
  [[nodiscard]] const Endpoint& described() const { return shared_->endpoint; }
  [[nodiscard]] InstanceCounters& counters() noexcept { return counters_; }
  [[nodiscard]] bool in_rotation() const { return in_rotation_; }
  void set_in_rotation(bool in_rotation);

  // The connection of this owner that was parked last, when it has been idle for less than `idle_max`; else null.
  std::unique_ptr<Upstream> take_parked(Instant now, Millis idle_max, const void* owner) {
    if (parked_.empty()) return nullptr;
    const Upstream& last = *parked_.back();
    if (last.owner_ != owner) return take_parked_below(now, idle_max, owner);
    // The one parked last is the youngest: when it is too old, all are.
    if (now - last.idle_since_ >= idle_max) return nullptr;
    std::unique_ptr<Upstream> upstream = std::move(parked_.back());
    parked_.pop_back();
    upstream->take_up();
    return upstream;
  }
  // Takes a connection on which both messages have ended exactly, or leaves it where it is of no use any more.
  void park(std::unique_ptr<Upstream>& upstream, Millis keepalive);
  std::size_t close_parked();  // how many there were
  void close_parked_of(const void* owner);

  // A new connection. Null: it failed.
  Task<std::unique_ptr<Upstream>> connect(Millis limit, ConnectFailure& failure);
  // Counted always, told to the control thread now and then. `what`: behind its label.
  void report_failure(std::string_view what, const std::optional<spec::Eject>& rule);
  void connect_failed(const ConnectFailure& failure, const std::optional<spec::Eject>& rule);
  void count_failure(const std::optional<spec::Eject>& rule);  // towards its ejection alone
  void report_success() noexcept { shared_->ejection.succeed(); }
  [[nodiscard]] bool is_ejected(Instant now) const noexcept { return shared_->ejection.is_out(now); }
  [[nodiscard]] std::uint64_t load() const noexcept { return shared_->in_flight(); }
  [[nodiscard]] bool has_room(int max) const noexcept { return load() < static_cast<std::uint64_t>(max); }
  // Who is told when a request has ended here; empty: nobody waits for that.
  [[nodiscard]] std::vector<std::shared_ptr<Capacity>>& capacities() noexcept { return capacities_; }
  // The same for each start of this replica.
  [[nodiscard]] std::uint64_t seed() const noexcept { return seed_; }

 private:
  friend class Upstream;
  friend class InFlight;
  void drop_parked(Upstream* upstream);
  std::unique_ptr<Upstream> take_parked_below(Instant now, Millis idle_max, const void* owner);

  Worker& worker_;
  std::shared_ptr<SharedInstance> shared_;
  InstanceCounters& counters_;
  std::optional<SocketAddress> address_;
  const std::uint64_t seed_;
  std::vector<std::unique_ptr<Upstream>> parked_;
  std::vector<std::shared_ptr<Capacity>> capacities_;
  std::uint64_t in_flight_ = 0;
  bool in_rotation_ = true;
  Instant next_report_{};
};

// Sends the header of the PROXY protocol that a new connection begins with. When it fails, so does what follows.
Task<> introduce(Upstream& upstream, std::string_view header, Millis limit);

// One request, tunnel or connection at an endpoint. Made in the same stretch as the pick, without a suspension
// between: that is what makes "acknowledged and nothing in flight" mean that the replica may be signalled.
class InFlight {
 public:
  explicit InFlight(Ref<LocalEndpoint> endpoint) : endpoint_(std::move(endpoint)) {
    ++endpoint_->in_flight_;
    endpoint_->counters_.in_flight.add();
    endpoint_->counters_.requests.add();
  }
  // None: there are `max` of them at the endpoint already, on all threads together.
  static std::optional<InFlight> within(Ref<LocalEndpoint> endpoint, int max);
  InFlight(InFlight&&) noexcept = default;
  InFlight& operator=(InFlight&&) = delete;
  InFlight(const InFlight&) = delete;
  InFlight& operator=(const InFlight&) = delete;
  ~InFlight() {
    if (!endpoint_) return;
    endpoint_->counters_.in_flight.subtract();
    if (!endpoint_->capacities_.empty()) call_waiting();
    if (--endpoint_->in_flight_ == 0 && !endpoint_->in_rotation_) tell_idle();
  }
  [[nodiscard]] LocalEndpoint& endpoint() const { return *endpoint_; }

 private:
  struct Counted {};
  void call_waiting() const;
  void tell_idle() const;
  InFlight(Ref<LocalEndpoint> endpoint, Counted) : endpoint_(std::move(endpoint)) {}
  Ref<LocalEndpoint> endpoint_;
};

}  // namespace muster::lb
