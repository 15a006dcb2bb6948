#include "spec/spec.h"

#include <algorithm>
#include <tuple>

namespace muster::spec {

namespace {

// Every member but the position: a line inserted above an app changes nothing.
auto compared(const App& app) {
  return std::tie(app.name, app.run, app.shell, app.replicas, app.port, app.ports, app.health, app.live,
                  app.watchdog, app.after, app.restart, app.stop, app.update, app.env, app.env_files,
                  app.env_file_vars, app.dir, app.inherit_env, app.user, app.group, app.umask, app.nice,
                  app.no_new_privs, app.volumes, app.limits, app.log, app.watch, app.scale);
}

auto compared(const Listener& listener) {
  return std::tie(listener.name, listener.bind, listener.mode, listener.app, listener.routes,
                  listener.timeout, listener.balance, listener.sticky_cookie, listener.eject,
                  listener.retries, listener.queue_size, listener.queue_timeout, listener.body_max,
                  listener.max_conns, listener.max_in_flight, listener.proxy_protocol, listener.headers,
                  listener.response_headers, listener.trusted_proxies, listener.access_log);
}

template <typename T>
const T* find_named(const std::vector<T>& sorted, std::string_view name) {
  const auto found = std::ranges::lower_bound(sorted, name, {}, &T::name);
  return found != sorted.end() && found->name == name ? &*found : nullptr;
}

}  // namespace

std::string socket_path(const std::string& folder, const std::string& app, int ordinal,
                        std::uint64_t instance) {
  return folder + "/" + app + "-" + std::to_string(ordinal) + "." + std::to_string(instance) + "/sock";
}

bool App::exclusive_slots() const {
  if (!volumes.empty() || port.kind == PortKind::numbered) return true;
  return std::ranges::any_of(ports,
                             [](const NamedPort& named) { return named.port.kind == PortKind::numbered; });
}

bool App::operator==(const App& other) const {
  return compared(*this) == compared(other);
}
bool Tls::operator==(const Tls& other) const {
  const auto same = [](const auto& a, const auto& b) { return *a == *b; };
  return min == other.min && std::ranges::equal(certificates, other.certificates, same) &&
         same_certificates(client_ca, other.client_ca);
}

bool Listener::operator==(const Listener& other) const {
  const bool same_tls = tls == other.tls || (tls != nullptr && other.tls != nullptr && *tls == *other.tls);
  return same_tls && compared(*this) == compared(other);
}

bool Job::operator==(const Job& other) const {
  const bool same_zone = zone == other.zone || (zone && other.zone && *zone == *other.zone);
  return same_zone && std::tie(task, schedule, timezone, timeout, overlap, retries, before) ==
                          std::tie(other.task, other.schedule, other.timezone, other.timeout, other.overlap,
                                   other.retries, other.before);
}

const Job* Spec::find_job(std::string_view name) const {
  const auto found = std::ranges::lower_bound(jobs, name, {}, &Job::name);
  return found != jobs.end() && found->name() == name ? &*found : nullptr;
}

const App* Spec::find_app(std::string_view name) const {
  return find_named(apps, name);
}
const Listener* Spec::find_listener(std::string_view name) const {
  return find_named(listeners, name);
}

bool Network::contains(const std::array<std::uint8_t, 16>& other) const {
  for (int bit = 0; bit < bits; bit += 8) {
    const auto at = static_cast<std::size_t>(bit / 8);
    const int counted = std::min(8, bits - bit);
    const auto mask = static_cast<std::uint8_t>(0xffU << static_cast<unsigned>(8 - counted));
    if (((address[at] ^ other[at]) & mask) != 0) return false;
  }
  return true;
}

std::vector<std::string> Listener::apps() const {
  std::vector<std::string> all;
  const auto add = [&all](const std::string& name_of_app) {
    if (!name_of_app.empty() && std::ranges::find(all, name_of_app) == all.end()) all.push_back(name_of_app);
  };
  add(app);
  for (const Route& route : routes) add(route.app);
  return all;
}

bool Listener::leads_to(std::string_view app_name) const {
  return app == app_name || std::ranges::find(routes, app_name, &Route::app) != routes.end();
}

}  // namespace muster::spec
