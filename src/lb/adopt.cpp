// What a new publication changes on a thread: endpoints, pools, logs, listeners. What is in use stays as it is.
#include <algorithm>
#include <utility>

#include "lb/worker.h"

namespace muster::lb {

void Worker::adopt(std::shared_ptr<const Publication> publication) {
  if (finished_) return;
  update_endpoints(*publication);
  update_pools(*publication);
  if (!stopping_) {
    update_access_logs(*publication);
    update_listeners(*publication);
    update_capacities(*publication);
    close_unnamed_listeners(*publication);
    offer_places();
  }
  publication_ = std::move(publication);
  wake_queue();
}

void Worker::update_endpoints(const Publication& publication) {
  std::map<InstanceId, Ref<LocalEndpoint>> leaving = endpoints_;
  for (const auto& pool : publication.instances) {
    for (const auto& instance : pool) {
      Ref<LocalEndpoint>& endpoint = endpoints_[instance->endpoint.instance];
      if (!endpoint) endpoint = make_ref<LocalEndpoint>(*this, instance);
      endpoint->set_in_rotation(true);
      leaving.erase(instance->endpoint.instance);
      answer_idle_watches(instance->endpoint.instance);  // back in rotation: nobody waits for that any more
    }
  }
  for (auto& [id, endpoint] : leaving) {
    endpoint->set_in_rotation(false);
    if (endpoint->counters().in_flight.get() == 0) endpoints_.erase(id);
  }
}

void Worker::update_pools(const Publication& publication) {
  for (auto& [app, pool] : pools_) {
    pool->endpoints.clear();
    pool->paused = pool->on_demand = false;
  }
  std::map<std::string, Ref<LocalPool>> pools;
  const auto& wanted = publication.snapshot->pools;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const auto known = pools_.find(wanted[i].app);
    Ref<LocalPool> pool = known == pools_.end() ? make_ref<LocalPool>() : known->second;
    pool->cursor = publication.cursors[i];
    pool->app = wanted[i].app;
    pool->paused = wanted[i].paused;
    pool->on_demand = wanted[i].on_demand;
    for (const auto& instance : publication.instances[i])
      pool->endpoints.push_back(endpoints_.at(instance->endpoint.instance));
    pools.emplace(wanted[i].app, std::move(pool));
  }
  pools_ = std::move(pools);
}

// An app without a pool has no replicas yet.
Ref<LocalPool> Worker::pool_of(const std::string& app) {
  if (app.empty()) return {};
  Ref<LocalPool>& pool = pools_[app];
  if (!pool) pool = make_ref<LocalPool>();
  return pool;
}

// A log stays while its listener is logged, whatever else changes. Of one that goes, requests in flight still have it.
void Worker::update_access_logs(const Publication& publication) {
  std::map<std::string, Ref<AccessLog>> logs;
  for (const spec::Listener& listener : publication.snapshot->listeners) {
    if (listener.access_log == spec::AccessLogFormat::off) continue;
    const auto known = access_logs_.find(listener.name);
    logs[listener.name] =
        known != access_logs_.end() ? known->second : make_ref<AccessLog>(*loop_, callbacks_, listener.name);
  }
  access_logs_.swap(logs);
  for (const auto& [name, log] : logs) {
    if (!access_logs_.contains(name)) log->hand_over();
  }
}

void Worker::flush_access_logs() {
  for (const auto& [name, log] : access_logs_) log->hand_over();
}

Ref<Frontend> Worker::frontend_of(const Publication& publication, std::size_t number) {
  const spec::Listener& wanted = publication.snapshot->listeners[number];
  auto frontend = make_ref<Frontend>();
  frontend->listener = wanted;
  frontend->shared = publication.listeners[number];
  frontend->counters = &frontend->shared->per_thread[index_];
  if (const auto log = access_logs_.find(wanted.name); log != access_logs_.end())
    frontend->access_log = log->second;
  frontend->pool = pool_of(wanted.app);
  frontend->tls = publication.tls[number];
  frontend->router = publication.routers[number];
  frontend->turns = publication.turns[number];
  for (const spec::Route& route : wanted.routes) frontend->pools.push_back(pool_of(route.app));
  for (const auto& [app, capacity] : publication.capacities[number])
    frontend->capacities.emplace_back(pool_of(app), capacity);
  return frontend;
}

void Worker::listen_at(const std::shared_ptr<BoundAddress>& address, const Ref<Frontend>& frontend) {
  for (const std::size_t number : address->sockets_of(index_)) {
    Ref<LocalListener>& listener = listeners_[{address.get(), number}];
    const bool is_new = !listener;
    if (is_new) {
      listener = make_ref<LocalListener>();
      listener->address = address;
      listener->number = number;
      listener->bind = address->address().text;
    }
    listener->frontend = frontend;
    if (is_new) accept_loop(listener);
  }
}

void Worker::update_listeners(const Publication& publication) {
  for (std::size_t i = 0; i < publication.snapshot->listeners.size(); ++i) {
    const Ref<Frontend> frontend = frontend_of(publication, i);
    for (const auto& address : publication.addresses[i]) {
      if (address != nullptr) listen_at(address, frontend);
    }
  }
}

// Requests that end at a replica call those who wait for one of its app.
void Worker::update_capacities(const Publication& publication) {
  std::set<std::shared_ptr<Capacity>> before = std::exchange(capacities_, {});
  for (const auto& [id, endpoint] : endpoints_) endpoint->capacities().clear();
  for (const auto& of_listener : publication.capacities) {
    for (const auto& [app, capacity] : of_listener) {
      capacities_.insert(capacity);
      for (const Ref<LocalEndpoint>& endpoint : pool_of(app)->endpoints)
        endpoint->capacities().push_back(capacity);
      // What ended here before this thread knew of it called nobody.
      if (!before.contains(capacity)) capacity->call_all();
    }
  }
}

void Worker::close_unnamed_listeners(const Publication& publication) {
  const auto is_named = [&publication](const BoundAddress* address) {
    return std::ranges::any_of(publication.addresses, [address](const auto& of_listener) {
      return std::ranges::any_of(of_listener,
                                 [address](const auto& named) { return named.get() == address; });
    });
  };
  for (auto at = listeners_.begin(); at != listeners_.end();) {
    const Ref<LocalListener> listener = at->second;
    if (is_named(at->first.first)) {
      ++at;
      continue;
    }
    at = listeners_.erase(at);
    accept_last(*listener);
  }
}

}  // namespace muster::lb
