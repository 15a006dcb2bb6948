// How far an app's rollout is, what it waits for, and which revisions there were. Never what they were run with: only
// the names of the keys that changed.
#include <algorithm>

#include "boost/json.hpp"
#include "fmt/core.h"
#include "supervisor/json_text.h"
#include "supervisor/revision_codec.h"
#include "supervisor/status_json.h"
#include "supervisor/text.h"

namespace muster::supervisor {

namespace json = boost::json;

namespace {

json::value text_or_null(const std::string& sentence) {
  return sentence.empty() ? json::value(nullptr) : json::value(escape_for_terminal(sentence));
}

// Processes by revision, those on their way out too.
json::array revisions(const AppWorld& app) {
  struct Row {
    int total = 0;
    int ready = 0;
  };
  std::map<Revision, Row> rows;
  rows[app.revision];
  for (const auto& [ordinal, slot] : app.slots) {
    for (const Tenant& tenant : slot.tenants) {
      Row& row = rows[tenant.revision];
      ++row.total;
      if (tenant.phase == Phase::ready) ++row.ready;
    }
  }
  json::array made;
  for (const auto& [number, row] : rows) {
    made.push_back(json::object{{"revision", raw(number)},
                                {"in_force", number == app.revision},
                                {"processes", row.total},
                                {"ready", row.ready}});
  }
  return made;
}

bool is_old(const AppWorld& app, const Tenant& tenant) {
  return !tenant.is_leaving() && (tenant.outdated || tenant.revision != app.revision);
}

// The first thing that has to happen before it is over; empty: it is over.
std::string what_it_waits_for(const AppWorld& app, Instant now) {
  if (is_stuck(app)) return "an edit of the app, or `apply --retry`";
  bool old = false;
  for (const auto& [ordinal, slot] : app.slots) {
    old = old || std::ranges::any_of(slot.tenants, [&](const Tenant& each) { return is_old(app, each); });
  }
  const bool under_way = old || (app.rollout && !app.rollout->done);
  if (!under_way) return "";
  for (const auto& [ordinal, slot] : app.slots) {
    if (ordinal >= app.desired()) continue;
    if (slot.tenants.empty() && slot.phase != Phase::completed)
      return fmt::format("{}: {}", to_string(slot.replica), slot.reason);
    for (const Tenant& tenant : slot.tenants) {
      if (tenant.is_leaving() || is_old(app, tenant)) continue;
      if (tenant.phase != Phase::ready) return fmt::format("{}: {}", to_string(slot.replica), tenant.reason);
      if (now < tenant.ready_since + app.app->update.min_ready)
        return fmt::format("{} to have been ready for min_ready", to_string(slot.replica));
    }
  }
  for (const auto& [ordinal, slot] : app.slots) {
    for (const Tenant& tenant : slot.tenants) {
      if (is_old(app, tenant))
        return fmt::format("{} of revision {} to be replaced", to_string(slot.replica), raw(tenant.revision));
    }
  }
  return "the last processes to settle";
}

std::string_view state_of(const AppWorld& app, const PastRevision& past) {
  if (!past.failure.empty()) return "failed";
  if (past.number == app.revision) return past.was_ready ? "in force" : "rolling out";
  return past.was_ready ? "was ready" : "never ready";
}

json::array history(const AppWorld& app) {
  json::array made;
  const PastRevision* before = nullptr;
  for (const PastRevision& past : app.history) {
    json::array changed;
    if (before != nullptr) {
      for (const std::string& key : changed_keys(*before->app, *past.app))
        changed.push_back(json::value(key));
    }
    made.push_back(json::object{{"revision", raw(past.number)},
                                {"in_force", past.number == app.revision},
                                {"since", rfc3339_s(past.since)},
                                {"state", state_of(app, past)},
                                {"reason", text_or_null(past.failure)},
                                {"changed", std::move(changed)}});
    before = &past;
  }
  return made;
}

}  // namespace

std::optional<std::string> rollout_json(const World& world, const std::string& name, Instant now) {
  const auto at = world.apps.find(name);
  if (at == world.apps.end()) return std::nullopt;
  const AppWorld& app = at->second;
  json::object body;
  body["app"] = name;
  body["state"] = to_string(app_state(world, app));
  body["reason"] = text_or_null(app_reason(world, app));
  body["hold"] = text_or_null(hold_text(app));
  body["revision"] = raw(app.revision);
  body["file_revision"] = raw(app.file_revision);
  body["desired"] = app.desired();
  body["ready"] = ready_count(app);
  body["failed"] = text_or_null(failure_text(app));
  body["waits_for"] = text_or_null(what_it_waits_for(app, now));
  body["revisions"] = revisions(app);
  body["history"] = history(app);
  return json_text(body);
}

}  // namespace muster::supervisor
