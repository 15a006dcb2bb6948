// The control thread's side: which addresses are open, what the threads share, and letters to them.
#include "lb/balancer.h"

#include <signal.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <system_error>
#include <thread>

#include "base/check.h"
#include "lb/worker.h"

namespace muster::lb {

// By the listener's name.
using TlsContexts = std::map<std::string, std::shared_ptr<const TlsContext>>;

struct PreparedListeners::Impl {
  std::vector<std::shared_ptr<BoundAddress>> addresses;
  TlsContexts tls;
};

PreparedListeners::PreparedListeners() = default;
PreparedListeners::PreparedListeners(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
PreparedListeners::PreparedListeners(PreparedListeners&&) noexcept = default;
PreparedListeners& PreparedListeners::operator=(PreparedListeners&&) noexcept = default;
PreparedListeners::~PreparedListeners() = default;

struct Balancer::Impl {
  explicit Impl(Options o) : options(std::move(o)), handed(std::exchange(options.handover, std::nullopt)) {
    Callbacks& on = options.callbacks;  // one that is not given is not called
    if (!on.on_snapshot_in_use) on.on_snapshot_in_use = [](SnapshotVersion) {};
    if (!on.on_idle) on.on_idle = [](InstanceId) {};
    if (!on.on_upstream_failed) on.on_upstream_failed = [](InstanceId, const std::string&) {};
    if (!on.on_pong) on.on_pong = [](std::uint64_t) {};
    if (!on.on_access_lines) on.on_access_lines = [](AccessLines&) { return true; };
    if (!on.on_access_logs_flushed) on.on_access_logs_flushed = [] {};
  }

  std::shared_ptr<BoundAddress> find_address(const std::string& text);
  [[nodiscard]] bool has_port(const spec::BindAddress& wanted) const;
  std::shared_ptr<SharedInstance> instance_of(const Endpoint& endpoint);
  [[nodiscard]] std::shared_ptr<const TlsContext> find_tls(const spec::Listener& listener) const;
  std::shared_ptr<Publication> make_publication(std::shared_ptr<const Snapshot> snapshot);
  void forget_gone();
  Result<std::shared_ptr<BoundAddress>> open(const spec::BindAddress& bind);
  std::vector<std::shared_ptr<HandedShare>> share_out();
  void close_handed();
  [[nodiscard]] bool in_rotation(InstanceId instance) const;
  template <typename Letter>
  void post_to_all(Letter letter) {
    for (const auto& worker : workers) worker->loop().post([w = worker.get(), letter] { letter(*w); });
  }
  std::shared_ptr<Rendezvous> meet(std::function<void()> done) const {
    return std::make_shared<Rendezvous>(workers.size(), std::move(done));
  }

  Options options;
  std::vector<std::unique_ptr<Worker>> workers;
  std::vector<std::thread> threads;
  // Open addresses by text: prepared, published, or still held by a thread that is about to close them.
  std::map<std::string, std::weak_ptr<BoundAddress>> addresses;
  std::map<std::string, std::shared_ptr<SharedListener>> listeners;
  TlsContexts tls;
  std::map<std::string, std::shared_ptr<RoundRobin>> cursors;
  std::map<InstanceId, std::shared_ptr<SharedInstance>> instances;
  std::shared_ptr<const Publication> published;
  std::optional<Handover> handed;                    // as long as it has sockets that may be asked for
  bool is_shared = false;                            // its connections are with the threads
  std::vector<std::shared_ptr<BoundAddress>> taken;  // of it: nobody may close them before
  bool stopped = false;
};

std::shared_ptr<BoundAddress> Balancer::Impl::find_address(const std::string& text) {
  const auto at = addresses.find(text);
  return at == addresses.end() ? nullptr : at->second.lock();
}

// An open address other than `wanted` itself has its port.
bool Balancer::Impl::has_port(const spec::BindAddress& wanted) const {
  if (wanted.kind != spec::BindAddress::Kind::inet) return false;
  const std::string suffix = ":" + std::to_string(wanted.port);
  const bool is_handed =
      handed && std::ranges::any_of(handed->listeners, [&suffix](const HandedListener& listener) {
        return listener.bind.ends_with(suffix);
      });
  return is_handed || std::ranges::any_of(addresses, [&wanted](const auto& entry) {
           const auto open = entry.second.lock();
           return open && open->address().kind == spec::BindAddress::Kind::inet &&
                  open->address().port == wanted.port;
         });
}

std::shared_ptr<SharedInstance> Balancer::Impl::instance_of(const Endpoint& endpoint) {
  std::shared_ptr<SharedInstance>& instance = instances[endpoint.instance];
  if (!instance) instance = std::make_shared<SharedInstance>(endpoint, workers.size());
  return instance;
}

// Made from what the listener says; null: there is none.
std::shared_ptr<const TlsContext> Balancer::Impl::find_tls(const spec::Listener& listener) const {
  const auto at = tls.find(listener.name);
  const bool fits = at != tls.end() && listener.tls && at->second->is_of(*listener.tls, listener.mode);
  return fits ? at->second : nullptr;
}

std::shared_ptr<Publication> Balancer::Impl::make_publication(std::shared_ptr<const Snapshot> snapshot) {
  auto publication = std::make_shared<Publication>();
  std::map<std::string, std::shared_ptr<SharedListener>> named;
  for (const spec::Listener& listener : snapshot->listeners) {
    std::shared_ptr<SharedListener>& shared = listeners[listener.name];
    if (!shared) shared = std::make_shared<SharedListener>(listener.name, workers.size());
    shared->places.set_max(static_cast<std::uint64_t>(listener.max_conns.value_or(0)));
    named.emplace(listener.name, shared);
    publication->listeners.push_back(shared);
    auto router = std::make_shared<const Router>(listener.routes);
    auto& turns = publication->turns.emplace_back();
    for (const Router::Group& group : router->groups())
      turns.push_back(shared->turns_of(group.host + " " + group.path));
    publication->routers.push_back(std::move(router));
    auto& capacities = publication->capacities.emplace_back();
    if (listener.max_in_flight) {
      for (const std::string& app : listener.apps()) capacities.emplace(app, shared->capacity_of(app));
    }
    auto& of_listener = publication->addresses.emplace_back();
    publication->tls.push_back(find_tls(listener));
    // Never in the clear where it should be encrypted.
    const bool is_served = listener.tls == nullptr || publication->tls.back() != nullptr;
    for (const spec::BindAddress& bind : listener.bind)
      of_listener.push_back(is_served ? find_address(bind.text) : nullptr);
  }
  listeners = std::move(named);
  for (const Pool& pool : snapshot->pools) {
    std::shared_ptr<RoundRobin>& cursor = cursors[pool.app];
    if (!cursor) cursor = std::make_shared<RoundRobin>();
    publication->cursors.push_back(cursor);
    auto& of_pool = publication->instances.emplace_back();
    for (const Endpoint& endpoint : pool.endpoints) of_pool.push_back(instance_of(endpoint));
  }
  publication->snapshot = std::move(snapshot);
  return publication;
}

// What no snapshot and no thread knows any more.
void Balancer::Impl::forget_gone() {
  std::erase_if(instances, [](const auto& entry) { return entry.second.use_count() == 1; });
  std::erase_if(addresses, [](const auto& entry) { return entry.second.expired(); });
  std::erase_if(tls, [this](const auto& entry) { return !listeners.contains(entry.first); });
  std::erase_if(cursors, [this](const auto& entry) {
    return std::ranges::none_of(published->snapshot->pools,
                                [&](const Pool& pool) { return pool.app == entry.first; });
  });
}

bool Balancer::Impl::in_rotation(InstanceId instance) const {
  return std::ranges::any_of(published->snapshot->pools, [instance](const Pool& pool) {
    return std::ranges::any_of(pool.endpoints,
                               [instance](const Endpoint& e) { return e.instance == instance; });
  });
}

Balancer::Balancer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Balancer::~Balancer() {
  stop(Millis::zero());
}

namespace {
// Signals belong to the control thread: a traffic thread is born with all of them blocked.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};
}  // namespace

Result<std::unique_ptr<Balancer>> Balancer::start(Options options) {
  MUSTER_CHECK(options.threads >= 1);
  auto impl = std::make_unique<Impl>(std::move(options));
  for (std::size_t i = 0; i < static_cast<std::size_t>(impl->options.threads); ++i) {
    auto loop = Loop::create();
    if (!loop) return std::move(loop).error();
    impl->workers.push_back(std::make_unique<Worker>(i, std::move(loop).value(), impl->options.callbacks));
    if (impl->handed) impl->workers.back()->begin_held();
  }
  std::unique_ptr<Balancer> balancer(new Balancer(std::move(impl)));
  const SignalsBlocked blocked;
  try {
    for (const auto& worker : balancer->impl_->workers)
      balancer->impl_->threads.emplace_back([w = worker.get()] { w->run(); });
  } catch (const std::system_error& failure) {
    return system_error("start a traffic thread", failure.code().value());
  }
  return balancer;
}

// From what was handed over, if it is there.
Result<std::shared_ptr<BoundAddress>> Balancer::Impl::open(const spec::BindAddress& bind) {
  if (handed) {
    const auto at = std::ranges::find(handed->listeners, bind.text, &HandedListener::bind);
    if (at != handed->listeners.end()) {
      auto address = take_address(bind, std::move(*at), workers.size());
      handed->listeners.erase(at);
      if (!address) return address;
      taken.push_back(address.value());
      if (!address.value()->has_lost_file()) return address;
    }
  }
  return open_address(bind, workers.size(), has_port(bind), options.systemd_fds);
}

// In turn, to all threads.
std::vector<std::shared_ptr<HandedShare>> Balancer::Impl::share_out() {
  std::vector<std::shared_ptr<HandedShare>> shares;
  for (std::size_t i = 0; i < workers.size(); ++i) shares.push_back(std::make_shared<HandedShare>());
  std::size_t next = 0;
  for (HandedTunnel& tunnel : handed->tunnels) {
    std::shared_ptr<SharedInstance> instance = instance_of(tunnel.endpoint);
    shares[next++ % shares.size()]->tunnels.emplace_back(std::move(tunnel), std::move(instance));
  }
  for (HandedClient& client : handed->clients)
    shares[next++ % shares.size()]->clients.push_back(std::move(client));
  handed->tunnels.clear();
  handed->clients.clear();
  is_shared = true;
  return shares;
}

void Balancer::Impl::close_handed() {
  for (HandedListener& listener : handed->listeners) drop(std::move(listener));
  handed.reset();
  taken.clear();
}

Result<PreparedListeners> Balancer::prepare(const std::vector<spec::Listener>& listeners) {
  auto prepared = std::make_unique<PreparedListeners::Impl>();
  for (const spec::Listener& listener : listeners) {
    if (listener.tls) {
      Result<std::shared_ptr<const TlsContext>> context = impl_->find_tls(listener);
      if (context.value() == nullptr) context = TlsContext::create(listener.tls, listener.mode);
      if (!context) return Error{.message = "listener " + listener.name + ": " + context.error().message};
      prepared->tls.emplace(listener.name, std::move(context).value());
    }
    for (const spec::BindAddress& bind : listener.bind) {
      std::shared_ptr<BoundAddress> address = impl_->find_address(bind.text);
      if (!address || address->has_lost_file()) {
        auto opened = impl_->open(bind);
        if (!opened) return std::move(opened).error();
        address = std::move(opened).value();
        impl_->addresses[bind.text] = address;
      }
      prepared->addresses.push_back(std::move(address));
    }
  }
  return PreparedListeners(std::move(prepared));
}

bool Balancer::has_lost(const std::string& path) const {
  const auto address = impl_->find_address("unix:" + path);
  return address && address->has_lost_file();
}

void Balancer::publish(std::shared_ptr<const Snapshot> snapshot, PreparedListeners prepared,
                       HandedSockets unused) {
  if (impl_->stopped) return;
  const SnapshotVersion version = snapshot->version;
  if (prepared.impl_) {
    for (auto& [name, context] : prepared.impl_->tls) impl_->tls[name] = std::move(context);
  }
  std::shared_ptr<const Publication> publication = impl_->make_publication(std::move(snapshot));
  impl_->published = publication;
  prepared = {};  // the publication holds the addresses now
  if (impl_->handed && !impl_->is_shared) {
    const auto in_use = impl_->meet([this, version] {
      // What was taken over has its places on all threads by now.
      impl_->post_to_all([](Worker& worker) { worker.resume(); });
      impl_->options.callbacks.on_snapshot_in_use(version);
    });
    const std::vector<std::shared_ptr<HandedShare>> shares = impl_->share_out();
    impl_->post_to_all([publication, in_use, shares](Worker& worker) {
      worker.adopt(publication);
      worker.take_over(*shares[worker.index()]);
      in_use->arrive();
    });
  } else {
    const auto in_use =
        impl_->meet([this, version] { impl_->options.callbacks.on_snapshot_in_use(version); });
    impl_->post_to_all([publication, in_use](Worker& worker) {
      worker.adopt(publication);
      in_use->arrive();
    });
  }
  if (impl_->handed && unused == HandedSockets::close) impl_->close_handed();
  impl_->forget_gone();
}

void Balancer::watch_idle(InstanceId instance) {
  if (impl_->stopped) return;
  const auto idle = impl_->meet([this, instance] { impl_->options.callbacks.on_idle(instance); });
  impl_->post_to_all([instance, idle](Worker& worker) { worker.watch_idle(instance, idle); });
}

void Balancer::ping(std::uint64_t token) {
  if (impl_->stopped) return;
  const auto back = impl_->meet([this, token] { impl_->options.callbacks.on_pong(token); });
  impl_->post_to_all([back](Worker&) { back->arrive(); });
}

void Balancer::flush_access_logs() {
  if (impl_->stopped) return;
  const auto flushed = impl_->meet([this] { impl_->options.callbacks.on_access_logs_flushed(); });
  impl_->post_to_all([flushed](Worker& worker) {
    worker.flush_access_logs();
    flushed->arrive();
  });
}

namespace {
ListenerStats stats_of(const SharedListener& listener) {
  ListenerStats sum;
  sum.name = listener.name;
  for (const ListenerCounters& thread : listener.per_thread) {
    sum.connections += thread.connections.get();
    sum.requests += thread.requests.get();
    sum.bytes_in += thread.bytes_in.get();
    sum.bytes_out += thread.bytes_out.get();
    sum.retries += thread.retries.get();
    sum.queued += thread.queued.get();
    sum.refused += thread.refused.get();
    thread.responses.add_to(sum.responses);
    thread.first_byte.add_to(sum.first_byte);
    thread.total.add_to(sum.total);
  }
  return sum;
}

InstanceStats stats_of(InstanceId id, const SharedInstance& instance) {
  InstanceStats sum;
  sum.instance = id;
  for (const InstanceCounters& thread : instance.per_thread) {
    sum.in_flight += thread.in_flight.get();
    sum.requests += thread.requests.get();
    sum.bytes_to += thread.bytes_to.get();
    sum.bytes_from += thread.bytes_from.get();
    sum.failures += thread.failures.get();
    sum.retries += thread.retries.get();
    thread.responses.add_to(sum.responses);
    thread.first_byte.add_to(sum.first_byte);
    thread.total.add_to(sum.total);
  }
  return sum;
}
}  // namespace

Stats Balancer::stats() const {
  Stats stats;
  if (!impl_->published) return stats;
  for (const auto& listener : impl_->published->listeners) stats.listeners.push_back(stats_of(*listener));
  for (const auto& [id, instance] : impl_->instances) {
    InstanceStats sum = stats_of(id, *instance);
    if (sum.in_flight > 0 || impl_->in_rotation(id)) stats.instances.push_back(std::move(sum));
  }
  return stats;
}

void Balancer::quiesce(Millis patience, std::function<void(std::uint64_t)> done) {
  if (impl_->stopped) return;
  const auto tally = std::make_shared<Tally>(impl_->workers.size(), std::move(done));
  impl_->post_to_all([patience, tally](Worker& worker) { worker.quiesce(patience, tally); });
}

void Balancer::resume() {
  if (impl_->stopped) return;
  impl_->post_to_all([](Worker& worker) { worker.resume(); });
}

Handover Balancer::give_up() {
  MUSTER_CHECK(!impl_->stopped);
  impl_->stopped = true;
  impl_->post_to_all([](Worker& worker) { worker.give_up(); });
  for (std::thread& thread : impl_->threads) thread.join();
  // What was never taken is passed on as it came.
  Handover all = std::move(impl_->handed).value_or(Handover{});
  impl_->handed.reset();
  for (const auto& worker : impl_->workers) {
    Handover part = worker->take_handed();
    std::ranges::move(part.clients, std::back_inserter(all.clients));
    std::ranges::move(part.tunnels, std::back_inserter(all.tunnels));
    all.losses += part.losses;
  }
  if (impl_->published) all.pools = impl_->published->snapshot->pools;
  for (const auto& [text, weak] : impl_->addresses) {
    if (const auto address = weak.lock()) all.listeners.push_back(address->give_up());
  }
  return all;
}

void Balancer::stop(Millis grace) {
  if (impl_->stopped) return;
  impl_->stopped = true;
  impl_->post_to_all([grace](Worker& worker) { worker.stop(grace); });
  for (std::thread& thread : impl_->threads) thread.join();
}

}  // namespace muster::lb
