// One replica's (or app's) story as a chain of causes: what it is now, what its last end was, what the last probe
// found, what comes next, what it means for traffic, and what was seen on the way.
#include <algorithm>

#include "boost/json.hpp"
#include "fmt/core.h"
#include "supervisor/job_json.h"
#include "supervisor/json_text.h"
#include "supervisor/status_json.h"
#include "supervisor/text.h"

namespace muster::supervisor {

namespace json = boost::json;

namespace {

constexpr std::size_t events_shown_max = 12;

using Chain = std::vector<std::string>;

std::string seconds(Nanos length) {
  return fmt::format("{:.1f} s", std::max(0.0, std::chrono::duration<double>(length).count()));
}

void tell_probe(Chain& chain, const char* kind, const std::optional<health::Outcome>& probe) {
  if (!probe) return;
  chain.push_back(
      fmt::format("last {} probe: {} ({})", kind, probe->sentence, health::outcome_row(probe->code).word));
  if (!probe->output.empty() && !probe->healthy()) chain.push_back("it answered: " + probe->output);
}

void tell_tenant(Chain& chain, const Tenant& tenant, const WhyInput& input) {
  std::string line = fmt::format("{} is {}", to_string(tenant.replica), to_string(tenant.phase));
  if (tenant.started && !tenant.exited)
    line += fmt::format(" (pid {}, revision {}, for {})", tenant.pid, raw(tenant.revision),
                        seconds(input.now.mono - tenant.started_at));
  if (!tenant.reason.empty()) line += ": " + tenant.reason;
  chain.push_back(std::move(line));
  if (!tenant.warning.empty()) chain.push_back("warning: " + tenant.warning);
  if (!tenant.status_text.empty()) chain.push_back("the app says: " + tenant.status_text);
  if (std::string limits = limits_line(input.limits, tenant.id); !limits.empty())
    chain.push_back(std::move(limits));
  tell_probe(chain, "readiness", tenant.last_probe);
  tell_probe(chain, "liveness", tenant.last_live);
}

void tell_idle(Chain& chain, const Slot& slot, const WhyInput& input) {
  std::string line = fmt::format("{} is {}", to_string(slot.replica), to_string(slot.phase));
  if (!slot.reason.empty()) line += ": " + slot.reason;
  chain.push_back(std::move(line));
  if (slot.phase == Phase::backoff && slot.next_start)
    chain.push_back(fmt::format("next start in {}", seconds(*slot.next_start - input.now.mono)));
}

void tell_past(Chain& chain, const Slot& slot) {
  if (slot.last_exit)
    chain.push_back(fmt::format("last end: {} at {}", slot.last_exit->reason, rfc3339_s(slot.last_exit->at)));
  if (slot.failures > 0)
    chain.push_back(fmt::format("{} end{} in a row that nobody asked for, {} start{} of this revision",
                                slot.failures, slot.failures == 1 ? "" : "s", slot.starts,
                                slot.starts == 1 ? "" : "s"));
  if (slot.held) chain.push_back("stopped by hand; `start` ends that");
  if (slot.drained) chain.push_back("out of rotation by hand; `undrain` ends that");
}

// What it means for those who send requests.
void tell_traffic(Chain& chain, const AppWorld& app, const WhyInput& input) {
  std::string listeners;
  if (input.world->spec) {
    for (const spec::Listener& listener : input.world->spec->listeners) {
      if (listener.leads_to(app.app->name)) listeners += (listeners.empty() ? "" : ", ") + listener.name;
    }
  }
  if (listeners.empty()) return;
  int routed = 0;
  for (const auto& [ordinal, slot] : app.slots) {
    routed += static_cast<int>(std::ranges::count_if(slot.tenants, &Tenant::routed));
  }
  if (app.paused) {
    chain.push_back(
        fmt::format("traffic: requests to listener {} wait in the queue; `resume` ends that", listeners));
  } else if (routed == 0) {
    chain.push_back(fmt::format(
        "traffic: no replica is in rotation; requests to listener {} wait in the queue", listeners));
  } else {
    chain.push_back(fmt::format("traffic: {} of {} replicas in rotation behind listener {}", routed,
                                app.desired(), listeners));
  }
}

void tell_slot(Chain& chain, const Slot& slot, const WhyInput& input) {
  for (const Tenant& tenant : slot.tenants) {
    tell_tenant(chain, tenant, input);
    const auto failure = input.upstream_failures.find(tenant.id);
    if (failure != input.upstream_failures.end()) chain.push_back("last failed request: " + failure->second);
  }
  for (const Drift& drift : input.drift) {
    if (drift.app == slot.replica.app && drift.ordinal == slot.replica.ordinal)
      chain.push_back("drift: " + drift.text);
  }
  if (slot.tenants.empty()) tell_idle(chain, slot, input);
  tell_past(chain, slot);
}

void tell_app(Chain& chain, const AppWorld& app, const WhyInput& input) {
  const std::string reason = app_reason(*input.world, app);
  chain.push_back(fmt::format("{} is {}: {} of {} ready{}", app.app->name,
                              to_string(app_state(*input.world, app)), ready_count(app), app.desired(),
                              reason.empty() ? "" : "; " + reason));
  if (const std::string hold = hold_text(app); !hold.empty()) chain.push_back("held: " + hold);
  if (app.app->scale)
    chain.push_back(fmt::format("scale: {} of {} to {} replicas; {}", app.desired(), app.app->scale->min,
                                app.app->scale->max,
                                app.scale_reason.empty() ? "no look at the load yet" : app.scale_reason));
  if (!input.world->spec_error.empty())
    chain.push_back("the newest file is not used: " + input.world->spec_error);
}

json::array cleaned(const Chain& chain) {
  json::array made;
  for (const std::string& sentence : chain) made.push_back(json::value(escape_for_terminal(sentence)));
  return made;
}

}  // namespace

std::string why_body(const WhyInput& input, std::string_view state, const std::string& reason,
                     json::array chain) {
  json::array logs;
  for (const StoredLine& line : input.logs) {
    logs.push_back(json::object{{"time", rfc3339_ms(line.time)},
                                {"stream", to_string(line.stream)},
                                {"app", line.replica.app},
                                {"ordinal", line.replica.ordinal},
                                {"text", escape_for_terminal(line.text)}});
  }
  json::object body;
  body["app"] = input.app;
  body["ordinal"] = input.ordinal ? json::value(*input.ordinal) : json::value(nullptr);
  body["state"] = state;
  body["reason"] = reason.empty() ? json::value(nullptr) : json::value(escape_for_terminal(reason));
  body["chain"] = std::move(chain);
  body["logs"] = std::move(logs);
  return json_text(body);
}

std::optional<std::string> why_json(const WhyInput& input) {
  const auto at = input.world->apps.find(input.app);
  if (at == input.world->apps.end()) return std::nullopt;
  const AppWorld& app = at->second;
  Chain chain;
  std::string state(to_string(app_state(*input.world, app)));
  std::string reason = app_reason(*input.world, app);
  if (input.ordinal) {
    const auto slot = app.slots.find(*input.ordinal);
    if (slot == app.slots.end()) return std::nullopt;
    tell_slot(chain, slot->second, input);
    const auto views = replica_views(app);
    const auto view = std::ranges::find_if(
        views, [&](const ReplicaView& row) { return row.replica.ordinal == *input.ordinal; });
    state = to_string(view->phase);
    reason = view->reason;
  } else {
    tell_app(chain, app, input);
    for (const ReplicaView& view : replica_views(app)) {
      const bool drifts = std::ranges::any_of(input.drift, [&](const Drift& drift) {
        return drift.app == view.replica.app && drift.ordinal == view.replica.ordinal;
      });
      if ((view.phase == Phase::ready || view.phase == Phase::completed) && !drifts) continue;
      tell_slot(chain, *view.slot, input);
    }
  }
  tell_traffic(chain, app, input);
  const std::size_t first =
      input.events.size() > events_shown_max ? input.events.size() - events_shown_max : 0;
  for (std::size_t i = first; i < input.events.size(); ++i) {
    const LoggedEvent& event = input.events[i];
    std::string who = event.note.app;
    if (event.note.ordinal) who += fmt::format("/{}", *event.note.ordinal);
    chain.push_back(
        fmt::format("{} {} {}: {}", rfc3339_s(event.time), who, event.note.kind, event.note.text));
  }
  return why_body(input, state, reason, cleaned(chain));
}

}  // namespace muster::supervisor
