#include "supervisor/status_json.h"

#include <algorithm>
#include <cmath>

#include "boost/json.hpp"
#include "fmt/core.h"
#include "supervisor/job_json.h"
#include "supervisor/json_text.h"
#include "supervisor/text.h"

namespace muster::supervisor {

namespace json = boost::json;

namespace {

// Sentences can carry bytes of an app's output; as JSON they must be valid UTF-8, and safe on a terminal.
json::value text(const std::string& sentence) {
  return json::value(escape_for_terminal(sentence));
}
json::value text_or_null(const std::string& sentence) {
  return sentence.empty() ? json::value(nullptr) : text(sentence);
}

double seconds(Nanos length) {
  const double exact = std::chrono::duration<double>(length).count();
  return std::round(exact * 1000.0) / 1000.0;
}

json::value last_exit(const std::optional<LastExit>& exit) {
  if (!exit) return nullptr;
  json::object made;
  made["code"] = exit->status.code ? json::value(*exit->status.code) : json::value(nullptr);
  made["signal"] =
      exit->status.signal ? json::value(signal_name(*exit->status.signal)) : json::value(nullptr);
  made["reason"] = text(exit->reason);
  made["at"] = rfc3339_s(exit->at);
  return made;
}

const lb::InstanceStats* stats_of(const lb::Stats& stats, InstanceId id) {
  const auto at = std::ranges::find(stats.instances, id, &lb::InstanceStats::instance);
  return at == stats.instances.end() ? nullptr : &*at;
}

void add_tenant(json::object& row, const Tenant& tenant, const StatusInput& input) {
  row["pid"] = tenant.started && !tenant.exited ? json::value(tenant.pid) : json::value(nullptr);
  const auto port = tenant.main_port();
  row["port"] = port ? json::value(*port) : json::value(nullptr);
  row["address"] = text_or_null(tenant.shown_address());
  row["uptime_s"] =
      tenant.started ? json::value(seconds(input.now.mono - tenant.started_at)) : json::value(nullptr);
  const auto usage = input.usage.find(tenant.id);
  const bool known = usage != input.usage.end();
  row["cpu_percent"] =
      known ? json::value(std::round(usage->second.cpu_percent * 10.0) / 10.0) : json::value(nullptr);
  row["memory_bytes"] = known ? json::value(usage->second.memory_bytes) : json::value(nullptr);
  row["memory_over_counts"] = known && usage->second.memory_over_counts;
  const lb::InstanceStats* stats = stats_of(input.stats, tenant.id);
  row["in_flight"] = stats != nullptr ? stats->in_flight : 0;
  row["requests"] = stats != nullptr ? stats->requests : 0;
  row["status_text"] = text_or_null(tenant.status_text);
  row["limits"] = limits_json(input.limits, tenant.id);
}

void add_nobody(json::object& row) {
  for (const char* key : {"pid", "port", "address", "uptime_s", "cpu_percent", "memory_bytes"})
    row[key] = nullptr;
  row["memory_over_counts"] = false;
  row["in_flight"] = 0;
  row["requests"] = 0;
  row["status_text"] = nullptr;
  row["limits"] = json::object();
}

json::object replica(const ReplicaView& view, const AppWorld& app, const StatusInput& input) {
  json::object row;
  const Slot& slot = *view.slot;
  row["id"] = to_string(view.replica);
  row["ordinal"] = view.replica.ordinal;
  row["revision"] = raw(view.tenant != nullptr ? view.tenant->revision : app.revision);
  row["state"] = to_string(view.phase);
  row["reason"] = text_or_null(view.reason);
  if (view.tenant != nullptr) {
    add_tenant(row, *view.tenant, input);
  } else {
    add_nobody(row);
  }
  json::array warnings;
  if (view.tenant != nullptr && !view.tenant->warning.empty()) warnings.push_back(text(view.tenant->warning));
  for (const Drift& drift : input.drift) {
    const bool is_of_it = drift.app == view.replica.app && drift.ordinal == view.replica.ordinal;
    if (is_of_it && view.tenant != nullptr && !view.tenant->is_leaving())
      warnings.push_back(text(drift.text));
  }
  row["warnings"] = std::move(warnings);
  row["restarts"] = std::max(0, slot.starts - 1);
  row["since"] = rfc3339_s(view.tenant != nullptr ? view.tenant->since : slot.since);
  const bool pausing = view.tenant == nullptr && view.phase == Phase::backoff && slot.next_start;
  row["next_start_s"] =
      pausing ? json::value(std::max(0.0, seconds(*slot.next_start - input.now.mono))) : json::value(nullptr);
  row["last_exit"] = last_exit(slot.last_exit);
  return row;
}

json::object app_row(const World& world, const AppWorld& app, const StatusInput& input) {
  json::object row;
  row["name"] = app.app->name;
  row["desired"] = app.desired();
  row["ready"] = ready_count(app);
  row["state"] = to_string(app_state(world, app));
  row["reason"] = text_or_null(app_reason(world, app));
  row["revision"] = raw(app.revision);
  row["hold"] = text_or_null(hold_text(app));
  row["scale"] = app.app->scale ? json::value(json::object{{"min", app.app->scale->min},
                                                           {"max", app.app->scale->max},
                                                           {"reason", text_or_null(app.scale_reason)}})
                                : json::value(nullptr);
  json::array replicas;
  for (const ReplicaView& view : replica_views(app)) replicas.push_back(replica(view, app, input));
  row["replicas"] = std::move(replicas);
  return row;
}

json::value tls_row(const spec::Tls* tls) {
  if (tls == nullptr) return nullptr;
  json::object row;
  row["min"] = tls->min == spec::TlsVersion::tls1_3 ? "1.3" : "1.2";
  row["client_certificates"] = !tls->client_ca.empty();
  json::array certificates;
  for (const auto& certificate : tls->certificates) {
    json::array names;
    for (const std::string& name : certificate->names()) names.push_back(text(name));
    certificates.push_back(
        json::object{{"names", std::move(names)}, {"not_after", rfc3339_s(certificate->not_after())}});
  }
  row["certificates"] = std::move(certificates);
  return row;
}

json::object listener_row(const spec::Listener& listener, const World& world, const lb::Stats& stats) {
  json::object row;
  std::string binds;
  for (const spec::BindAddress& bind : listener.bind) binds += (binds.empty() ? "" : ", ") + bind.text;
  row["name"] = listener.name;
  row["bind"] = binds;
  row["mode"] = listener.mode == spec::ListenMode::http ? "http" : "tcp";
  std::string apps;
  for (const std::string& app : listener.apps()) apps += (apps.empty() ? "" : ", ") + app;
  row["app"] = apps;
  const auto at = std::ranges::find(stats.listeners, listener.name, &lb::ListenerStats::name);
  row["tls"] = tls_row(listener.tls.get());
  const auto error = world.listener_errors.find(listener.name);
  row["reason"] = error == world.listener_errors.end() ? json::value(nullptr) : text(error->second);
  row["connections"] = at == stats.listeners.end() ? 0 : at->connections;
  row["requests"] = at == stats.listeners.end() ? 0 : at->requests;
  return row;
}

}  // namespace

json::object limits_json(const std::map<InstanceId, LimitStates>& limits, InstanceId id) {
  json::object made;
  const auto found = limits.find(id);
  if (found == limits.end()) return made;
  for (const LimitState& state : found->second) {
    const json::value value = state.kind == LimitKind::cpu
                                  ? json::value(static_cast<double>(state.value) / 1000.0)
                                  : json::value(state.value);
    made[to_string(state.kind)] = json::object{{"limit", value}, {"enforced", text(enforcer_text(state))}};
  }
  return made;
}

std::string limits_line(const std::map<InstanceId, LimitStates>& limits, InstanceId id) {
  const auto found = limits.find(id);
  return found == limits.end() ? "" : "limits: " + limits_text(found->second);
}

std::string status_json(const StatusInput& input) {
  const World& world = *input.world;
  json::object body;
  body["schema"] = 1;
  json::object daemon;
  daemon["pid"] = input.pid;
  daemon["version"] = input.version;
  daemon["uptime_s"] = seconds(input.now.mono - input.daemon_started);
  daemon["containment"] = input.containment;
  daemon["stopping"] = world.shutting_down;
  daemon["spec"] = json::object{
      {"path", text(world.spec ? world.spec->path : "")},
      {"revision", world.spec_revision},
      {"error", world.spec_error.empty() ? json::value(nullptr) : json::value(world.spec_error)}};
  body["daemon"] = std::move(daemon);
  json::array apps;
  for (const auto& [name, app] : world.apps) apps.push_back(app_row(world, app, input));
  body["apps"] = std::move(apps);
  json::array listeners;
  if (world.spec) {
    for (const spec::Listener& listener : world.spec->listeners)
      listeners.push_back(listener_row(listener, world, input.stats));
  }
  body["listeners"] = std::move(listeners);
  body["jobs"] = jobs_json(input);
  return json_text(body);
}

}  // namespace muster::supervisor
