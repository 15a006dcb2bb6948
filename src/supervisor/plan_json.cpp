// A plan as the control API gives it.
#include <algorithm>

#include "boost/json.hpp"
#include "spec/secrets.h"
#include "supervisor/json_text.h"
#include "supervisor/plan.h"
#include "supervisor/text.h"

namespace muster::supervisor {

namespace json = boost::json;

namespace {

constexpr std::string_view masked = "********";

std::string_view word(PlannedChange change) {
  switch (change) {
    case PlannedChange::none:
      return "none";
    case PlannedChange::added:
      return "added";
    case PlannedChange::changed:
      return "changed";
    case PlannedChange::removed:
      return "removed";
  }
  return "";
}

std::string_view word(PlannedReplica::What what) {
  switch (what) {
    case PlannedReplica::What::start:
      return "start";
    case PlannedReplica::What::replace:
      return "replace";
    case PlannedReplica::What::stop:
      return "stop";
  }
  return "";
}

json::value text_or_null(const std::string& sentence) {
  return sentence.empty() ? json::value(nullptr) : json::value(escape_for_terminal(sentence));
}

// Only what has a name of its own can be a secret: a variable, a header field.
bool is_secret(const std::string& key) {
  const bool named = key.starts_with("env.") || key.starts_with("env_file.") || key.starts_with("headers.") ||
                     key.starts_with("response_headers.");
  return named && is_secret_name(key.substr(key.find('.') + 1));
}

bool is_command(const std::string& key) {
  return key == "run" || key == "stop.exec" || key.ends_with(".cmd");
}

json::value value_of(const std::string& key, const std::optional<std::string>& value) {
  if (!value) return nullptr;
  if (is_secret(key)) return json::value(masked);
  return json::value(escape_for_terminal(is_command(key) ? spec::mask_secrets(*value, false) : *value));
}

json::array fields_json(const std::vector<spec::FieldChange>& changes) {
  json::array made;
  for (const spec::FieldChange& change : changes) {
    made.push_back(json::object{{"key", escape_for_terminal(change.key)},
                                {"before", value_of(change.key, change.before)},
                                {"after", value_of(change.key, change.after)},
                                {"restarts", change.restarts}});
  }
  return made;
}

double seconds(Nanos length) {
  return static_cast<double>(std::chrono::duration_cast<Millis>(length).count()) / 1000.0;
}

json::value number(const std::optional<Revision>& revision) {
  return revision ? json::value(raw(*revision)) : json::value(nullptr);
}

json::object app_json(const PlannedApp& app) {
  json::array replicas;
  for (const PlannedReplica& row : app.replicas) {
    replicas.push_back(json::object{{"id", to_string(row.replica)},
                                    {"ordinal", row.replica.ordinal},
                                    {"action", word(row.what)},
                                    {"from", number(row.from)},
                                    {"to", number(row.to)},
                                    {"at_s", seconds(row.at)},
                                    {"why", text_or_null(row.why)}});
  }
  json::object made;
  made["name"] = app.name;
  made["change"] = word(app.change);
  made["revision"] = number(app.revision);
  made["next_revision"] = raw(app.next_revision);
  made["fields"] = fields_json(app.fields);
  made["strategy"] = text_or_null(app.strategy);
  made["replicas"] = std::move(replicas);
  made["wanted"] = app.wanted;
  made["ready"] = app.ready;
  made["ready_min"] = app.ready_min;
  made["takes_s"] = seconds(app.takes);
  made["hold"] = text_or_null(app.hold);
  made["failed"] = text_or_null(app.failure);
  return made;
}

}  // namespace

std::string plan_json(const Plan& plan) {
  json::object body;
  body["code"] = plan.changes() ? 2 : 0;
  body["id"] = plan.id;
  body["spec"] = escape_for_terminal(plan.spec_path);
  body["spec_revision"] = plan.spec_revision;
  body["summary"] = plan_summary(plan);
  body["whole"] = plan.whole;
  json::array apps;
  for (const PlannedApp& app : plan.apps) apps.push_back(app_json(app));
  body["apps"] = std::move(apps);
  json::array jobs;
  for (const PlannedJob& job : plan.jobs) {
    json::array runs;
    for (const std::string& why : job.runs) runs.push_back(json::value(escape_for_terminal(why)));
    jobs.push_back(json::object{{"name", job.name},
                                {"change", word(job.change)},
                                {"fields", fields_json(job.fields)},
                                {"runs", std::move(runs)}});
  }
  body["jobs"] = std::move(jobs);
  json::array listeners;
  for (const PlannedListener& listener : plan.listeners) {
    listeners.push_back(json::object{{"name", listener.name},
                                     {"change", word(listener.change)},
                                     {"fields", fields_json(listener.fields)}});
  }
  body["listeners"] = std::move(listeners);
  body["daemon"] = fields_json(plan.daemon);
  json::array drift;
  for (const Drift& found : plan.drift) {
    drift.push_back(
        json::object{{"app", found.app},
                     {"ordinal", found.ordinal ? json::value(*found.ordinal) : json::value(nullptr)},
                     {"kind", found.kind},
                     {"text", escape_for_terminal(found.text)}});
  }
  body["drift"] = std::move(drift);
  return json_text(body);
}

}  // namespace muster::supervisor
