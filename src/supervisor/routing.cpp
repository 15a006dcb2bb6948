// Which replicas the balancer may pick, and where other apps find an app.
#include <algorithm>
#include <utility>

#include "fmt/core.h"
#include "supervisor/planner.h"

namespace muster::supervisor {

namespace {
bool same_endpoint(const EndpointState& a, const EndpointState& b) {
  return a.instance == b.instance && a.address == b.address && a.port == b.port;
}
bool same_pools(const std::vector<PoolState>& a, const std::vector<PoolState>& b) {
  return std::ranges::equal(a, b, [](const PoolState& x, const PoolState& y) {
    return x.app == y.app && x.paused == y.paused && x.on_demand == y.on_demand &&
           std::ranges::equal(x.endpoints, y.endpoints, same_endpoint);
  });
}

PoolState pool_of(const std::string& name, const AppWorld* app) {
  PoolState pool{.app = name, .endpoints = {}, .paused = false, .on_demand = false};
  if (app == nullptr) return pool;
  pool.paused = app->paused;
  pool.on_demand = app->is_on_demand();
  for (const auto& [ordinal, slot] : app->slots) {
    for (const Tenant& tenant : slot.tenants) {
      const auto port = tenant.main_port();
      const bool is_local = !tenant.socket.empty();
      if (tenant.phase != Phase::ready || tenant.is_leaving() || (!port && !is_local)) continue;
      pool.endpoints.push_back(EndpointState{.instance = tenant.id,
                                             .replica = tenant.replica,
                                             .address = is_local ? tenant.socket : tenant.address,
                                             .port = port.value_or(0)});
    }
  }
  return pool;
}

void add_names(const spec::Template& text, std::set<std::string>& names) {
  for (const spec::Template::Part& part : text.parts()) {
    const auto* variable = std::get_if<spec::TemplateVariable>(&part);
    if (variable != nullptr && variable->name == "addr" && !variable->argument.empty())
      names.insert(variable->argument);
  }
}
}  // namespace

void Planner::publish_if_changed() {
  if (!world_.spec || !std::exchange(routes_dirty_, false)) return;
  std::set<std::string> names;
  for (const spec::Listener& listener : world_.spec->listeners) {
    for (std::string& app : listener.apps()) names.insert(std::move(app));
  }
  std::vector<PoolState> pools;
  for (const std::string& name : names) {
    const auto at = world_.apps.find(name);
    pools.push_back(pool_of(name, at == world_.apps.end() ? nullptr : &at->second));
  }
  if (routed_spec_ == world_.spec && same_pools(pools, routed_)) return;

  world_.published = SnapshotVersion{raw(world_.published) + 1};
  std::set<InstanceId> in;
  for (const PoolState& pool : pools) {
    for (const EndpointState& endpoint : pool.endpoints) in.insert(endpoint.instance);
  }
  for (auto& [name, app] : world_.apps) {
    for (auto& [ordinal, slot] : app.slots) {
      for (Tenant& tenant : slot.tenants) {
        const bool routed = in.contains(tenant.id);
        if (tenant.routed && !routed) tenant.left_in = world_.published;
        if (routed) tenant.idle = tenant.idle_asked = false;
        tenant.routed = routed;
      }
    }
  }
  routed_ = pools;
  routed_spec_ = world_.spec;
  act(Publish{.version = world_.published,
              .spec = world_.spec,
              .pools = std::move(pools),
              .why = "the ready set or the listeners changed"});
}

// A listener of the app if there is one, else its replicas, comma-separated.
std::string Planner::address_of(const std::string& name) const {
  std::string text;
  const auto append = [&text](const std::string& address) { text += (text.empty() ? "" : ",") + address; };
  for (const spec::Listener& listener : world_.spec->listeners) {
    if (!listener.leads_to(name) || !text.empty()) continue;
    for (const spec::BindAddress& bind : listener.bind) {
      if (bind.kind != spec::BindAddress::Kind::systemd) append(bind.text);
    }
  }
  const auto at = world_.apps.find(name);
  if (!text.empty() || at == world_.apps.end()) return text;
  const AppWorld& app = at->second;
  if (app.app->port.kind == spec::PortKind::numbered) {
    for (int ordinal = 0; ordinal < app.desired(); ++ordinal)
      append(fmt::format("127.0.0.1:{}", app.app->port.base + ordinal));
    return text;
  }
  for (const auto& [ordinal, slot] : app.slots) {
    for (const Tenant& tenant : slot.tenants) {
      const std::string address = tenant.shown_address();
      if (!address.empty() && !tenant.is_leaving()) append(address);
    }
  }
  return text;
}

// Once per app and step: a thousand starts of one app in one step ask the same.
const Planner::Addresses& Planner::addresses_for(const spec::App& app) {
  const auto [at, added] = addresses_.try_emplace(app.name);
  if (!added) return at->second;
  std::set<std::string> names;
  for (const spec::Dependency& dependency : app.after) names.insert(dependency.app);
  for (const spec::Template& text : app.run) add_names(text, names);
  for (const spec::EnvVar& variable : app.env) add_names(variable.value, names);
  add_names(app.dir, names);
  for (const spec::Template& text : app.health.cmd) add_names(text, names);
  if (app.live) {
    for (const spec::Template& text : app.live->cmd) add_names(text, names);
  }
  for (const std::string& name : names) at->second.emplace_back(name, address_of(name));
  return at->second;
}

}  // namespace muster::supervisor
