// One traffic thread: its event loop, its share of the listeners, its view of the routing. Everything below runs on
// the thread itself, except the constructor and what says otherwise.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lb/access_log.h"
#include "lb/balancer.h"
#include "lb/endpoint.h"
#include "lb/http_head.h"
#include "lb/http_write.h"
#include "lb/listen_sockets.h"
#include "lb/local_ref.h"
#include "lb/loop.h"
#include "lb/pipe.h"
#include "lb/preference.h"
#include "lb/router.h"
#include "lb/shared_state.h"
#include "lb/socket.h"
#include "lb/socket_address.h"
#include "lb/task.h"
#include "lb/tls_context.h"

namespace muster::lb {

// A snapshot with the shared state it refers to, as it is handed to the threads.
struct Publication {
  std::shared_ptr<const Snapshot> snapshot;
  std::vector<std::shared_ptr<SharedListener>> listeners;             // as snapshot->listeners
  std::vector<std::vector<std::shared_ptr<BoundAddress>>> addresses;  // the same, by bind; null: not open
  std::vector<std::shared_ptr<const Router>> routers;                 // as snapshot->listeners
  std::vector<std::shared_ptr<const TlsContext>> tls;                 // the same; null: plain
  std::vector<std::vector<std::shared_ptr<RoundRobin>>> turns;        // the same, by group of its router
  // As snapshot->listeners, by app; empty where there is no max_in_flight.
  std::vector<std::map<std::string, std::shared_ptr<Capacity>>> capacities;
  std::vector<std::shared_ptr<RoundRobin>> cursors;                     // as snapshot->pools
  std::vector<std::vector<std::shared_ptr<SharedInstance>>> instances;  // as snapshot->pools[i].endpoints
};

struct LocalPool : LocalCounted {
  std::shared_ptr<RoundRobin> cursor;
  std::vector<Ref<LocalEndpoint>> endpoints;
  std::string app;
  bool paused = false;
  bool on_demand = false;
  Instant demanded{};  // when it was last said that a request waits
  [[nodiscard]] bool takes_requests() const { return !paused && !endpoints.empty(); }
};

// Where a request goes.
struct Choice {
  const spec::Route* route = nullptr;  // of the frontend it was made by; null: the listener's own `to`
  Ref<LocalPool> pool;                 // null: no replica answers it
};

// A listener's settings and where it leads, fixed. A request holds on to the one it began with.
struct Frontend : LocalCounted {
  spec::Listener listener;
  std::shared_ptr<SharedListener> shared;
  ListenerCounters* counters = nullptr;
  Ref<AccessLog> access_log;              // null: off
  Ref<LocalPool> pool;                    // of `to`; null: there is none
  std::shared_ptr<const TlsContext> tls;  // for new connections; null: plain
  std::shared_ptr<const Router> router;
  std::vector<std::shared_ptr<RoundRobin>> turns;  // as router->groups()
  std::vector<Ref<LocalPool>> pools;               // as listener.routes; null: the route leads to no app
  std::vector<std::pair<Ref<LocalPool>, std::shared_ptr<Capacity>>>
      capacities;  // with max_in_flight: of each pool

  // Where requests to this pool wait for a free replica; null: there is no limit.
  [[nodiscard]] std::shared_ptr<Capacity> capacity_of(const LocalPool& of) const;
  [[nodiscard]] bool is_proxied() const { return listener.proxy_protocol != spec::ProxyProtocol{}; }
  [[nodiscard]] bool has_preface() const { return tls != nullptr || is_proxied(); }
  [[nodiscard]] bool trusts(const Peer& client) const {
    return !listener.trusted_proxies.empty() && has_trusted(client);
  }
  [[nodiscard]] bool has_routes() const { return !router->groups().empty(); }
  // Takes a turn among routes of one host and path. One whose app has no ready replica passes its turn on: then that is
  // `passed_by`.
  [[nodiscard]] Choice choose_route(std::string_view authority, std::string_view target,
                                    LocalPool*& passed_by) const;

 private:
  [[nodiscard]] bool has_trusted(const Peer& client) const;
};

// One open address. Its connections follow it to whatever route the last snapshot gave it.
struct LocalListener : LocalCounted {
  std::shared_ptr<BoundAddress> address;
  std::size_t number = 0;  // of its socket
  std::string bind;        // the address as text, also once that is gone
  Socket socket;
  Ref<Frontend> frontend;
  bool is_local = false;                     // a unix socket
  [[nodiscard]] Socket::Kind kind() const {  // of its connections
    return is_local ? Socket::Kind::connected_local : Socket::Kind::connected;
  }
  bool closing = false;  // no listener names it any more: connections end after the request they carry
  std::shared_ptr<Places::Waiter> place_waiter;  // null: it waits for none
};

class Worker;

// A client's connection, for its whole life: counted at its listener and in the worker's list.
struct Client {
  Client(Worker& w, Ref<LocalListener> l, Fd fd, Peer&& client_address);
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client();
  [[nodiscard]] ListenerCounters& counters() const;
  // Of its connections to replicas; null: whoever comes may use them next.
  [[nodiscard]] const void* upstream_owner() const { return proxy_header ? this : nullptr; }

  Worker& worker;
  Ref<LocalListener> listener;
  Peer address;
  std::shared_ptr<SharedListener> counted_at;
  Socket socket;
  std::unique_ptr<const std::string> proxy_header;  // that its connections to replicas begin with; null: none
  Client* previous = nullptr;
  Client* next = nullptr;
  bool idle = false;        // woken to close when the worker or its listener stops
  bool introduced = false;  // its PROXY header was read
  bool carries_on = false;  // under the next balancer: it was given up while nothing was in flight
};

// Something that a pause waits for: a request, from its head to the end of its answer; a handshake; a last word.
class Busy {
 public:
  explicit Busy(Worker& worker) : worker_(worker) { begin(); }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;
  ~Busy() { end(); }
  void begin();
  void end();  // for a while, or for good

 private:
  Worker& worker_;
  bool counted_ = false;
};

// One thread's part of what is taken over.
struct HandedShare {
  std::vector<HandedClient> clients;
  std::vector<std::pair<HandedTunnel, std::shared_ptr<SharedInstance>>> tunnels;
};

// Asked again after each change of the routing, and when a replica that has its limit of requests gets free.
class WaitsForReplica {
 public:
  WaitsForReplica() = default;
  WaitsForReplica(const WaitsForReplica&) = delete;
  WaitsForReplica& operator=(const WaitsForReplica&) = delete;
  virtual ~WaitsForReplica() = default;
  // Where there is a limit, true means that a replica is taken. `in_turn`: it need not wait behind others for that.
  virtual bool has_replica(bool in_turn) = 0;
  // Where it stands in line for a free replica; null: there is no limit.
  [[nodiscard]] virtual std::shared_ptr<Capacity> capacity() const = 0;
  [[nodiscard]] virtual Client& client() = 0;
  // A client that has only ended its side may still want what comes.
  [[nodiscard]] virtual bool is_over_at_end() const = 0;
};

enum class Queued : std::uint8_t {
  found,
  over,  // no room, or no time left
  gone,  // the client went away
};

struct EarlyBytes;

class Worker {
 public:
  static constexpr std::size_t scratch_bytes = 64U << 10U;

  Worker(std::size_t index, std::unique_ptr<Loop> loop, const Callbacks& callbacks);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker();

  void run();

  // Letters from the control thread (through Loop::post).
  void adopt(std::shared_ptr<const Publication> publication);
  void watch_idle(InstanceId instance, std::shared_ptr<Rendezvous> idle);
  void flush_access_logs();
  void stop(Millis grace);
  void quiesce(Millis patience, std::shared_ptr<Tally> answer);
  void resume();
  void give_up();
  void take_over(HandedShare& share);  // behind the first adopt()

  // Before run(), and once it has returned.
  void begin_held() { held_ = true; }
  [[nodiscard]] Handover take_handed() { return std::move(handed_); }

  [[nodiscard]] std::size_t index() const { return index_; }
  [[nodiscard]] Loop& loop() { return *loop_; }
  // Whether a connection to a replica may have a descriptor of this number.
  [[nodiscard]] bool may_hold(const Fd& fd) const { return fd.get() < upstream_max_; }
  [[nodiscard]] const Callbacks& callbacks() const { return callbacks_; }
  [[nodiscard]] bool stopping() const { return stopping_; }
  // Between quiesce() and resume(): no request begins.
  [[nodiscard]] bool held() const { return held_; }
  // What goes on now does so because it was given up.
  [[nodiscard]] bool giving_up() const { return giving_up_; }
  [[nodiscard]] HandoverLosses& losses() { return handed_.losses; }
  // Awaitable: until resume() or give_up().
  auto hold() {
    struct Hold {
      Worker& worker;
      [[nodiscard]] bool await_ready() const { return !worker.held_; }
      void await_suspend(std::coroutine_handle<> waiter) const { worker.holding_.push_back(waiter); }
      static void await_resume() noexcept {}
    };
    return Hold{*this};
  }
  // A connection of one's own, which ends here without a word. One that cannot be carried is counted and closed.
  void hand_over(Client& client, std::string_view unread);
  void hand_over(Client& client, Socket& replica, const LocalEndpoint& endpoint, const EarlyBytes& left,
                 TunnelRecord record);
  // Received bytes and parsed heads live here between two suspensions, never across one.
  [[nodiscard]] std::span<char> scratch() { return {scratch_.get() + room_before_scratch, scratch_bytes}; }
  // Where `size` bytes can be written right before `place`, over what was received there: both go by one send(2) then.
  // Null: it does not lie in the scratch, or there is no room.
  [[nodiscard]] char* before_in_scratch(const char* place, std::size_t size) {
    const auto begin = reinterpret_cast<std::uintptr_t>(scratch_.get());
    const std::size_t offset = reinterpret_cast<std::uintptr_t>(place) - begin;
    const bool has_room = size <= offset && offset <= room_before_scratch + scratch_bytes;
    return has_room ? scratch_.get() + (offset - size) : nullptr;
  }
  [[nodiscard]] RequestHead& request_head() { return request_head_; }
  [[nodiscard]] ResponseHead& response_head() { return response_head_; }
  // 32 hexadecimal digits, unlike any other for all practical purposes; valid until the next call.
  [[nodiscard]] std::string_view new_request_id();
  // For a Date field, of this second; valid until the next call.
  [[nodiscard]] std::string_view http_date() {
    if (loop_->now() >= http_date_until_) renew_http_date();
    return {http_date_.data(), http_date_.size()};
  }
  [[nodiscard]] Buffer& serialised() { return serialised_; }
  Buffer take_buffer() {
    if (spare_buffers_.empty()) return {};
    Buffer buffer = std::move(spare_buffers_.back());
    spare_buffers_.pop_back();
    return buffer;
  }
  void give_buffer(Buffer&& buffer) {
    if (buffer.capacity() > spare_buffer_bytes_max || spare_buffers_.size() >= spare_buffers_max) return;
    buffer.clear();
    spare_buffers_.push_back(std::move(buffer));
  }
  std::unique_ptr<Pipe> take_pipe();  // null: there are no descriptors for it
  void give_pipe(std::unique_ptr<Pipe> pipe);

  void add_client(Client& client);
  void remove_client(Client& client);

  // The next replica that is not in `tried`, by what the request prefers and the listener's `balance`; an ejected one
  // only when there is no other. None: each was tried.
  Ref<LocalEndpoint> pick(LocalPool& pool, const spec::Listener& listener, const Preference& preference,
                          const std::vector<InstanceId>& tried);
  // The one that pick() takes in the usual case: nothing was tried, there is no limit, the one whose turn it is is well.
  // Null: see pick().
  LocalEndpoint* next_in_turn(LocalPool& pool, const spec::Listener& listener, const Preference& preference) {
    if (listener.balance.kind != spec::Balance::Kind::round_robin || preference.stuck) return nullptr;
    LocalEndpoint* const next = pool.endpoints[pool.cursor->next(pool.endpoints.size())].get();
    return listener.eject && next->is_ejected(loop_->now()) ? nullptr : next;
  }
  // pick(), and taken at once: where the listener has a limit, one that is below it. None: each was tried, or has as
  // many requests as it may have.
  std::optional<InFlight> take(LocalPool& pool, const spec::Listener& listener, const Preference& preference,
                               const std::vector<InstanceId>& tried);
  // Waits in the listener's queue until there is a replica, at most until `deadline`.
  Task<Queued> wait_for_replica(WaitsForReplica& waiter, Instant deadline);
  // Somebody waits for it: says so where it is on demand and has no replica.
  void demand(LocalPool& pool);
  void on_endpoint_idle(LocalEndpoint& endpoint);
  // Connections to replicas that belonged to a client which goes.
  void close_parked_of(const void* owner);

 private:
  friend class Busy;
  static constexpr std::size_t room_before_scratch = 512;  // for what a head is longer as we send it
  static constexpr std::size_t spare_buffers_max = 256;
  static constexpr std::size_t spare_buffer_bytes_max = 8U << 10U;
  struct QueueWait;
  void renew_http_date();
  void answer_quiescence();
  [[nodiscard]] Ref<LocalListener> listener_at(const std::string& bind) const;
  [[nodiscard]] bool accepts(const LocalListener& listener) const { return !listener.closing && !giving_up_; }
  void go_on_holding();
  void answer_idle_watches(InstanceId instance);
  void update_endpoints(const Publication& publication);
  void update_pools(const Publication& publication);
  void update_access_logs(const Publication& publication);
  void update_listeners(const Publication& publication);
  Ref<Frontend> frontend_of(const Publication& publication, std::size_t number);
  void listen_at(const std::shared_ptr<BoundAddress>& address, const Ref<Frontend>& frontend);
  void update_capacities(const Publication& publication);
  Ref<LocalPool> pool_of(const std::string& app);
  void close_unnamed_listeners(const Publication& publication);
  enum class Accepted : std::uint8_t { more, all, no_place, failed };
  Detached accept_loop(Ref<LocalListener> listener);
  Accepted accept_some(LocalListener& listener);
  std::optional<KeptPlace> keep_place(LocalListener& listener);
  static void leave_line(LocalListener& listener);
  void offer_places();
  bool has_room();
  void accept_last(LocalListener& listener);
  void begin_connection(LocalListener& listener, Fd fd, Peer&& client_address,
                        const HandedClient* handed = nullptr);
  void wake_queue();
  void give_memory_back();
  void finish_when_done();

  const std::size_t index_;
  const Callbacks& callbacks_;
  std::unique_ptr<Loop> loop_;
  std::unique_ptr<char[]> scratch_;  // NOLINT(modernize-avoid-c-arrays): not zero-filled
  RequestHead request_head_;
  ResponseHead response_head_;
  Buffer serialised_;
  std::array<std::uint64_t, 2> request_id_state_{};  // chosen at random, then counted on
  std::array<char, 32> request_id_{};
  std::uint64_t random_state_ = 0;
  std::array<char, http_date_bytes> http_date_{};
  Instant http_date_until_{};
  std::vector<bool> untried_;  // pick()'s, by index of the pool's endpoints
  std::vector<bool> usable_;
  std::vector<Buffer> spare_buffers_;
  std::vector<std::unique_ptr<Pipe>> spare_pipes_;

  std::shared_ptr<const Publication> publication_;
  std::map<InstanceId, Ref<LocalEndpoint>> endpoints_;
  std::map<std::string, Ref<LocalPool>> pools_;
  std::map<std::string, Ref<AccessLog>> access_logs_;               // by listener
  using ListenerKey = std::pair<const BoundAddress*, std::size_t>;  // and which of its sockets
  std::map<ListenerKey, Ref<LocalListener>> listeners_;
  std::multimap<InstanceId, std::shared_ptr<Rendezvous>> idle_watches_;
  std::set<std::shared_ptr<Capacity>> capacities_;  // of all listeners
  QueueWait* queue_first_ = nullptr;
  QueueWait* queue_last_ = nullptr;
  Client* clients_ = nullptr;
  std::size_t client_count_ = 0;
  std::size_t clients_most_ = 0;  // since memory was given back
  std::size_t accepting_ = 0;     // accept loops that have not ended
  int descriptors_max_ = 0;       // no client above it
  int upstream_max_ = 0;          // no connection to a replica: clients that are there already go before
  bool near_limit_ = false;
  std::uint64_t busy_ = 0;
  std::shared_ptr<Tally> quiescence_;  // that still has to be answered
  std::vector<std::coroutine_handle<>> holding_;
  Handover handed_;
  bool held_ = false;
  bool giving_up_ = false;
  bool stopping_ = false;
  bool finished_ = false;
  struct GraceOver;
  std::unique_ptr<GraceOver> grace_over_;
};

inline void Busy::begin() {
  if (!std::exchange(counted_, true)) ++worker_.busy_;
}

inline void Busy::end() {
  if (!std::exchange(counted_, false)) return;
  if (--worker_.busy_ == 0 && worker_.quiescence_) worker_.answer_quiescence();
}

// Carry one client connection to its end (http_server.cpp, tcp_server.cpp).
// `handed`: what was known of one that is taken over; it is looked at at once.
Detached serve_http(Worker& worker, Ref<LocalListener> listener, Fd fd, Peer&& client_address,
                    const HandedClient* handed);
Detached serve_tcp(Worker& worker, Ref<LocalListener> listener, Fd fd, Peer&& client_address,
                   const HandedClient* handed);
Detached serve_tunnel(Worker& worker, Ref<LocalListener> listener, Ref<LocalEndpoint> endpoint,
                      std::unique_ptr<HandedTunnel> handed);

}  // namespace muster::lb
