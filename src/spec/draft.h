// Apps and listeners while they are read: with the places of what the rules look at afterwards, and with what
// was not said.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "spec/reader.h"
#include "spec/spec.h"

namespace muster::spec {

struct NamedMark {
  std::string name;
  Mark at;
};

struct AppDraft {
  App app;
  bool of_job = false;      // it is the `task` of one
  Mark at;                  // of the name in [app.NAME]
  Mark port_at;             // of the value; at.line 0 = not given
  bool port_given = false;  // also "none"
  bool health_given = false;
  bool live_given = false;
  Mark health_at;
  Mark live_at;
  bool group_given = false;
  Mark strategy_at;                 // of `update`; line 0 = not given
  Mark surge_at;                    // of `surge`, else of `unavailable`
  std::vector<NamedMark> ports_at;  // as app.ports
  std::vector<Mark> after_at;       // as app.after
  Mark replicas_at;                 // line 0 = not given
  Mark scale_in_flight_at;          // of `in_flight` in `scale`
  Mark scale_min_at;                // of `min`
  Mark scale_memory_at;             // of `memory` in `scale`
  std::vector<VariableUse> uses;
  [[nodiscard]] std::string label() const { return (of_job ? "job '" : "app '") + app.name + "'"; }
};

struct JobDraft {
  AppDraft task;
  Job job;  // without its task
  Mark schedule_at;
  std::vector<Mark> before_at;  // as job.before
};

struct ListenerDraft {
  Listener listener;
  Mark at;  // of the name, or of the value of the short form
  Mark to_at;
  std::vector<Mark> routes_at;     // as listener.routes; line 0 = its host or path is wrong
  std::vector<Mark> routes_to_at;  // their `to`
  std::vector<Mark> bind_at;       // as listener.bind
  Mark access_log_at;
};

struct DaemonDraft {
  Daemon daemon;
  Mark port_range_at;  // line 0 = the default
};

struct Draft {
  std::vector<AppDraft> apps;
  std::vector<ListenerDraft> listeners;
  std::vector<JobDraft> jobs;
  DaemonDraft daemon;
};

// One for each section of the file; they report what is wrong and read on.
AppDraft read_app(const Reader& reader, const Member& member);
// What a job has in common with an app; its other keys go to `other`.
AppDraft read_task(const Reader& reader, const Member& member,
                   const std::function<void(std::string_view key, const Node& value)>& other);
JobDraft read_job(const Reader& reader, const Member& member);
HealthCheck read_health(const Reader& reader, const Node& node, bool live, std::vector<VariableUse>& uses);
// `timeout` of a listener or of a route.
void read_timeouts(const Reader& reader, const Node& node, ListenTimeouts& timeouts);
// The routes of a listener whose own timeouts are known.
void read_routes(const Reader& reader, const Node& node, ListenerDraft& draft);
// `headers` and `response_headers`.
HeaderEdits read_headers(const Reader& reader, const Node& node, bool request);
// `balance`, `sticky` and `eject`; what a tcp listener cannot have is added to `http_only`.
void read_balance(const Reader& reader, const Node& value, Listener& listener,
                  std::vector<NamedMark>& http_only);
void read_sticky(const Reader& reader, const Node& value, Listener& listener);
void read_eject(const Reader& reader, const Node& value, Listener& listener);
// An HTTP token (RFC 9110 5.6.2).
bool is_token(std::string_view text);
// `tls` of the listener of this name; null: something is wrong with it.
std::shared_ptr<const Tls> read_tls(const Reader& reader, const Node& node, const std::string& listener);
// "10.0.0.0/8", "192.0.2.7", "fd00::/8".
Parsed<Network> parse_network(const std::string& text);
ListenerDraft read_listener(const Reader& reader, const Member& member);
// The `listen` of an app: app, app-2, app-3 …
std::vector<ListenerDraft> read_short_listeners(const Reader& reader, const std::string& app,
                                                const Node& node);
DaemonDraft read_daemon(const Reader& reader, const Node* node);

// "127.0.0.1:8080", "unix:/p", "systemd:NAME".
Parsed<BindAddress> parse_bind(const std::string& text, const std::string& folder);

// Everything that concerns more than one key: ports, names, variables, cycles, users. Fills in what follows
// from other keys (automatic ports, the default health check).
void apply_rules(const Reader& reader, Draft& draft);
// No two claims on one port, one address or one listener's name.
void check_ports(const Reader& reader, const Draft& draft);
// No app and no job comes after itself.
void check_cycles(const Reader& reader, const Draft& draft);

}  // namespace muster::spec
