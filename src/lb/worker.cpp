#include "lb/worker.h"

#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <malloc.h>
#include <poll.h>
#include <unistd.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <algorithm>
#include <climits>

#include "base/check.h"
#include "lb/pick.h"

namespace muster::lb {

namespace {
constexpr std::size_t clients_kept_for =
    256;  // below this many connections their memory is not worth the search
constexpr std::size_t spare_pipes_max = 8;
}  // namespace

struct Worker::GraceOver : WheelNode {
  explicit GraceOver(Worker& w) : WheelNode(&GraceOver::on_due), worker(w) {}
  static void on_due(WheelNode& node) {
    Worker& worker = static_cast<GraceOver&>(node).worker;
    worker.loop_->shut_all_sockets();
    worker.wake_queue();
  }
  Worker& worker;
};

// Awaitable: a request in the queue, until the routing changes or its time is over.
struct Worker::QueueWait : WheelNode {
  QueueWait(Worker& w, Instant until) : WheelNode(&QueueWait::on_due), worker(w), deadline(until) {}
  [[nodiscard]] bool await_ready() const { return worker.loop_->shut() || worker.loop_->now() >= deadline; }
  void await_suspend(std::coroutine_handle<> handle) {
    waiter = handle;
    previous = worker.queue_last_;
    (previous == nullptr ? worker.queue_first_ : previous->next) = this;
    worker.queue_last_ = this;
    worker.loop_->arm(*this, deadline);
  }
  static void await_resume() noexcept {}
  void leave() {
    (previous == nullptr ? worker.queue_first_ : previous->next) = next;
    (next == nullptr ? worker.queue_last_ : next->previous) = previous;
    worker.loop_->disarm(*this);
  }
  void wake() {
    leave();
    waiter.resume();
  }
  static void on_due(WheelNode& node) { static_cast<QueueWait&>(node).wake(); }
  static void on_call(void* self) { static_cast<QueueWait*>(self)->wake(); }

  Worker& worker;
  Instant deadline;
  std::coroutine_handle<> waiter;
  QueueWait* previous = nullptr;
  QueueWait* next = nullptr;
};

namespace {
constexpr std::uint64_t golden_ratio = 0x9e3779b97f4a7c15U;  // the step of splitmix64

// 16 hexadecimal digits.
void write_digits(std::uint64_t number, char* into) {
#if defined(__SSE2__)
  // Each byte's halves side by side, the highest byte first; a half above 9 is as far beyond '9' as 'a' is.
  const __m128i bytes = _mm_cvtsi64_si128(static_cast<long long>(__builtin_bswap64(number)));
  const __m128i low_half = _mm_set1_epi8(0x0f);
  const __m128i halves =
      _mm_unpacklo_epi8(_mm_and_si128(_mm_srli_epi16(bytes, 4), low_half), _mm_and_si128(bytes, low_half));
  const __m128i beyond =
      _mm_and_si128(_mm_cmpgt_epi8(halves, _mm_set1_epi8(9)), _mm_set1_epi8('a' - '9' - 1));
  const __m128i digits = _mm_add_epi8(_mm_add_epi8(halves, beyond), _mm_set1_epi8('0'));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(into), digits);
#else
  constexpr std::string_view digits = "0123456789abcdef";
  for (std::size_t digit = 0; digit < 16; ++digit, number <<= 4U) into[digit] = digits[number >> 60U];
#endif
}
}  // namespace

Worker::Worker(std::size_t index, std::unique_ptr<Loop> loop, const Callbacks& callbacks)
    : index_(index),
      callbacks_(callbacks),
      loop_(std::move(loop)),
      scratch_(new char[room_before_scratch + scratch_bytes]) {
  // Without entropy (a very early boot) the ids of two processes may be alike: better than no service.
  [[maybe_unused]] const ssize_t got =
      ::getrandom(request_id_state_.data(), sizeof request_id_state_, GRND_NONBLOCK);
  request_id_state_[1] += index_;
  write_digits(request_id_state_[0], request_id_.data());
  random_state_ = request_id_state_[1];
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > INT_MAX) limit.rlim_cur = INT_MAX;
  const auto all = static_cast<int>(limit.rlim_cur);
  // What is kept back is for probes, control and starts. Of a small limit it is a quarter, else no client had any.
  const int kept = std::clamp(all / 20, std::min(all / 4, 64), 1024);
  descriptors_max_ = all - kept;
  upstream_max_ = descriptors_max_ + kept / 2;
}

// A random half of this thread, and a count that is scrambled by splitmix64 (each value once).
std::string_view Worker::new_request_id() {
  write_digits(mix(request_id_state_[1] += golden_ratio), request_id_.data() + 16);
  return {request_id_.data(), request_id_.size()};
}

void Worker::run() {
  loop_->run();
  FrameCache::clear();
}

void Worker::renew_http_date() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  http_date_ = lb::http_date(now.tv_sec);
  http_date_until_ = loop_->now() + std::chrono::seconds(1) - Nanos(now.tv_nsec);
}

Worker::~Worker() = default;

std::unique_ptr<Pipe> Worker::take_pipe() {
  if (spare_pipes_.empty()) {
    std::unique_ptr<Pipe> pipe = Pipe::create();
    return pipe && pipe->highest_fd() < descriptors_max_ ? std::move(pipe) : nullptr;
  }
  std::unique_ptr<Pipe> pipe = std::move(spare_pipes_.back());
  spare_pipes_.pop_back();
  return pipe;
}

void Worker::give_pipe(std::unique_ptr<Pipe> pipe) {
  if (pipe->empty() && spare_pipes_.size() < spare_pipes_max) spare_pipes_.push_back(std::move(pipe));
}

Client::Client(Worker& w, Ref<LocalListener> l, Fd fd, Peer&& client_address)
    : worker(w),
      listener(std::move(l)),
      address(std::move(client_address)),
      counted_at(listener->frontend->shared),
      socket(w.loop(), std::move(fd), listener->kind()) {
  counters().connections.add();
  worker.add_client(*this);
}

Client::~Client() {
  if (proxy_header) worker.close_parked_of(upstream_owner());
  socket.close();
  counters().connections.subtract();
  if (counted_at->places.limited()) counted_at->places.offer();
  worker.remove_client(*this);
}

ListenerCounters& Client::counters() const {
  return counted_at->per_thread[worker.index()];
}

void Worker::add_client(Client& client) {
  client.next = clients_;
  if (clients_ != nullptr) clients_->previous = &client;
  clients_ = &client;
  clients_most_ = std::max(clients_most_, ++client_count_);
}

// After a rush: the C library keeps the pages of what was freed until it is told to look through them.
void Worker::give_memory_back() {
  clients_most_ = client_count_;
  FrameCache::clear();  // one kept frame keeps its page
  spare_buffers_.clear();
  spare_pipes_.clear();
#if defined(__GLIBC__)
  ::malloc_trim(0);
#endif
}

void Worker::remove_client(Client& client) {
  (client.previous == nullptr ? clients_ : client.previous->next) = client.next;
  if (client.next != nullptr) client.next->previous = client.previous;
  --client_count_;
  if (clients_most_ > clients_kept_for && client_count_ * 2 < clients_most_) give_memory_back();
  finish_when_done();
}

bool Frontend::has_trusted(const Peer& client) const {
  return client.known &&
         std::ranges::any_of(listener.trusted_proxies, [&client](const spec::Network& network) {
           return network.contains(client.bytes);
         });
}

std::shared_ptr<Capacity> Frontend::capacity_of(const LocalPool& of) const {
  for (const auto& [pool_of_app, capacity] : capacities) {
    if (pool_of_app.get() == &of) return capacity;
  }
  return nullptr;
}

Choice Frontend::choose_route(std::string_view authority, std::string_view target,
                              LocalPool*& passed_by) const {
  const auto number = router->find(host_of(authority), path_of(target));
  if (!number) return Choice{.route = nullptr, .pool = pool};
  const Router::Group& group = router->groups()[*number];
  std::size_t member = group.turns[turns[*number]->next(group.turns.size())];
  const auto pool_of_member = [&](std::size_t m) { return pools[group.members[m]]; };
  for (std::size_t tried = 0; tried < group.members.size(); ++tried) {
    const std::size_t other = (member + tried) % group.members.size();
    const Ref<LocalPool> its = pool_of_member(other);
    const bool takes_part = tried == 0 || listener.routes[group.members[other]].weight > 0;
    if (!takes_part || (its && its->endpoints.empty())) continue;
    if (tried > 0) passed_by = pool_of_member(member).get();
    member = other;
    break;
  }
  return Choice{.route = &listener.routes[group.members[member]], .pool = pool_of_member(member)};
}

namespace {
// `usable`: by index, at least one of them true.
std::size_t pick_among(const LocalPool& pool, const spec::Balance& balance, const Preference& preference,
                       std::uint64_t random, const std::vector<bool>& usable) {
  const auto& endpoints = pool.endpoints;
  const std::size_t count = endpoints.size();
  const auto is_usable = [&usable](std::size_t i) { return usable[i]; };
  const auto load = [&endpoints](std::size_t i) { return endpoints[i]->load(); };
  const auto seed = [&endpoints](std::size_t i) { return endpoints[i]->seed(); };
  if (preference.stuck) {
    const auto stuck = std::ranges::find(endpoints, *preference.stuck, &LocalEndpoint::seed);
    const auto at = static_cast<std::size_t>(stuck - endpoints.begin());
    if (at < count && usable[at]) return at;
  }
  if (preference.key) return *pick_by_hash(count, *preference.key, is_usable, seed);
  if (balance.kind == spec::Balance::Kind::least_conn)
    return *pick_least(count, pool.cursor->next(count), is_usable, load);
  if (balance.kind == spec::Balance::Kind::p2c) return *pick_of_two(count, random, is_usable, load);
  // One that is left out passes its turn on. Ends, because other threads that take turns between ours cannot starve us
  // for longer than chance.
  for (;;) {
    const std::size_t turn = pool.cursor->next(count);
    if (usable[turn]) return turn;
  }
}
}  // namespace

Ref<LocalEndpoint> Worker::pick(LocalPool& pool, const spec::Listener& listener, const Preference& preference,
                                const std::vector<InstanceId>& tried) {
  const auto& endpoints = pool.endpoints;
  if (endpoints.empty()) return {};
  if (tried.empty()) {
    LocalEndpoint* const next = next_in_turn(pool, listener, preference);
    const bool is_full =
        next != nullptr && listener.max_in_flight && !next->has_room(*listener.max_in_flight);
    if (next != nullptr && !is_full) return Ref<LocalEndpoint>(next);
  }
  untried_.clear();
  usable_.clear();
  for (const Ref<LocalEndpoint>& endpoint : endpoints) {
    const bool is_full = listener.max_in_flight && !endpoint->has_room(*listener.max_in_flight);
    untried_.push_back(!is_full && std::ranges::find(tried, endpoint->id()) == tried.end());
    usable_.push_back(untried_.back() && !(listener.eject && endpoint->is_ejected(loop_->now())));
  }
  const auto any = [](const std::vector<bool>& some) { return std::ranges::find(some, true) != some.end(); };
  if (!any(untried_)) return {};
  return endpoints[pick_among(pool, listener.balance, preference, mix(random_state_ += golden_ratio),
                              any(usable_) ? usable_ : untried_)];
}

namespace {
// Whether the client of a request that waits has gone away; while it has not, `gone` is called at the next sign of it.
class ClientWatch {
 public:
  ClientWatch(WaitsForReplica& waiter, void (*gone)(void*)) : waiter_(waiter), gone_(gone) { look(); }
  ~ClientWatch() { waiter_.client().socket.unwatch(); }
  ClientWatch(const ClientWatch&) = delete;
  ClientWatch& operator=(const ClientWatch&) = delete;

  [[nodiscard]] bool is_gone() const { return is_gone_; }
  void* waiting = nullptr;

 private:
  void look() {
    Socket& socket = waiter_.client().socket;
    const unsigned ends = POLLHUP | POLLERR | (waiter_.is_over_at_end() ? POLLRDHUP : 0U);
    pollfd about{.fd = socket.fd(), .events = static_cast<short>(ends), .revents = 0};
    is_gone_ = ::poll(&about, 1, 0) > 0;
    if (!is_gone_) return socket.watch(&ClientWatch::on_event, this);
    if (void* const waits = std::exchange(waiting, nullptr)) gone_(waits);
  }
  static void on_event(void* self) { static_cast<ClientWatch*>(self)->look(); }

  WaitsForReplica& waiter_;
  void (*gone_)(void*);
  bool is_gone_ = false;
};
}  // namespace

Task<Queued> Worker::wait_for_replica(WaitsForReplica& waiter, Instant deadline) {
  // Counted at the listener it came by, on all threads together.
  LocalListener& listener = *waiter.client().listener;
  const Ref<Frontend> frontend = listener.frontend;
  std::atomic<int>& queued = frontend->shared->queued;
  if (queued.fetch_add(1, std::memory_order_relaxed) >= frontend->listener.queue_size) {
    queued.fetch_sub(1, std::memory_order_relaxed);
    co_return Queued::over;
  }
  InLine line(*loop_);
  const auto has_replica = [&] { return !held_ && !giving_up_ && waiter.has_replica(true); };
  bool found = waiter.has_replica(false);
  if (!found) frontend->counters->queued.add();
  ClientWatch watch(waiter, &QueueWait::on_call);
  const auto goes_on = [&] {
    return loop_->now() < deadline && !loop_->shut() && !(listener.closing || stopping_) && !watch.is_gone();
  };
  while (!found && goes_on()) {
    if (line.stand(waiter.capacity())) found = has_replica();
    if (found) break;
    QueueWait wait(*this, deadline);
    line.wait(&QueueWait::on_call, &wait);
    watch.waiting = &wait;
    co_await wait;
    watch.waiting = nullptr;
    line.stop_waiting();
    if (!watch.is_gone()) found = has_replica();
  }
  line.leave(found);
  queued.fetch_sub(1, std::memory_order_relaxed);
  if (found) co_return Queued::found;
  co_return watch.is_gone() ? Queued::gone : Queued::over;
}

std::optional<InFlight> Worker::take(LocalPool& pool, const spec::Listener& listener,
                                     const Preference& preference, const std::vector<InstanceId>& tried) {
  for (;;) {
    Ref<LocalEndpoint> endpoint = pick(pool, listener, preference, tried);
    if (!endpoint) return std::nullopt;
    if (!listener.max_in_flight) return InFlight(std::move(endpoint));
    // Another thread may have been faster since.
    if (auto taken = InFlight::within(std::move(endpoint), *listener.max_in_flight)) return taken;
  }
}

void Worker::demand(LocalPool& pool) {
  constexpr Millis pause{100};
  if (!pool.on_demand || pool.paused || !pool.endpoints.empty() || !callbacks_.on_demand) return;
  if (pool.demanded != Instant{} && loop_->now() - pool.demanded < pause) return;
  pool.demanded = loop_->now();
  callbacks_.on_demand(pool.app);
}

void Worker::wake_queue() {
  // Those that have to wait on join a new list, in the same order.
  QueueWait* waiting = std::exchange(queue_first_, nullptr);
  queue_last_ = nullptr;
  while (waiting != nullptr) {
    QueueWait* const next = waiting->next;
    if (next != nullptr) next->previous = nullptr;
    loop_->disarm(*waiting);
    waiting->previous = waiting->next = nullptr;
    waiting->waiter.resume();
    waiting = next;
  }
}

void Worker::watch_idle(InstanceId instance, std::shared_ptr<Rendezvous> idle) {
  const auto known = endpoints_.find(instance);
  if (known == endpoints_.end() || known->second->counters().in_flight.get() == 0) {
    idle->arrive();
  } else {
    idle_watches_.emplace(instance, std::move(idle));
  }
}

void Worker::on_endpoint_idle(LocalEndpoint& endpoint) {
  answer_idle_watches(endpoint.id());
  endpoints_.erase(endpoint.id());  // the caller still holds a reference
}

void Worker::answer_idle_watches(InstanceId instance) {
  const auto [first, last] = idle_watches_.equal_range(instance);
  for (auto watch = first; watch != last; ++watch) watch->second->arrive();
  idle_watches_.erase(first, last);
}

void Worker::close_parked_of(const void* owner) {
  for (const auto& [id, endpoint] : endpoints_) endpoint->close_parked_of(owner);
}

void Worker::stop(Millis grace) {
  if (stopping_) return;
  resume();
  stopping_ = true;
  grace_over_ = std::make_unique<GraceOver>(*this);
  for (const auto& [address, listener] : listeners_) accept_last(*listener);
  listeners_.clear();
  for (const auto& [id, endpoint] : endpoints_) endpoint->close_parked();
  wake_queue();
  if (!finished_) loop_->arm(*grace_over_, loop_->now() + grace);
  finish_when_done();
}

void Worker::finish_when_done() {
  if (!stopping_ || finished_ || clients_ != nullptr || accepting_ != 0 || !listeners_.empty()) return;
  finished_ = true;
  if (grace_over_) loop_->disarm(*grace_over_);
  pools_.clear();
  endpoints_.clear();
  for (const auto& [name, log] : access_logs_) log->hand_over(true);
  loop_->quit();
}

}  // namespace muster::lb
