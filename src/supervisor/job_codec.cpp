#include "supervisor/job_codec.h"

#include "supervisor/json_members.h"

namespace muster::supervisor {
namespace {

namespace json = boost::json;

constexpr std::int64_t status_max = 1000;

std::optional<int> status_of(JsonMembers& members, const char* key) {
  if (!members.has(key)) return std::nullopt;
  return static_cast<int>(members.number(key, 0, status_max));
}

}  // namespace

json::object exit_to_json(const LastExit& exit) {
  json::object made{{"reason", exit.reason}, {"at_ms", to_file_ms(exit.at)}};
  if (exit.status.code) made["code"] = *exit.status.code;
  if (exit.status.signal) made["signal"] = *exit.status.signal;
  return made;
}

Result<LastExit> exit_from_json(const json::value& value) {
  JsonMembers fields(&value);
  LastExit made;
  made.reason = fields.text("reason");
  made.at = fields.time("at_ms");
  made.status.code = status_of(fields, "code");
  made.status.signal = status_of(fields, "signal");
  if (!fields.error().empty()) return Error{.message = fields.error()};
  return made;
}

json::object job_to_json(const PersistentJob& job) {
  json::object made{{"schedule", job.schedule}, {"timezone", job.timezone}};
  if (job.next) made["next_ms"] = to_file_ms(*job.next);
  if (job.last) {
    json::object last = exit_to_json(job.last->exit);
    last["ok"] = job.last->ok;
    made["last"] = std::move(last);
  }
  if (job.met) made["met"] = true;
  if (job.ran) made["ran"] = true;
  if (job.ended_ok) made["ended_ok"] = *job.ended_ok;
  return made;
}

Result<PersistentJob> job_from_json(const json::value& value) {
  JsonMembers fields(&value);
  PersistentJob job;
  job.schedule = fields.text("schedule");
  job.timezone = fields.text("timezone");
  if (fields.has("next_ms")) job.next = fields.time("next_ms");
  if (fields.has("last")) {
    const json::value* const last = fields.find("last");
    JsonMembers end(last);
    auto exit = exit_from_json(*last);
    if (!exit) return Error{.message = "the last end: " + exit.error().message};
    JobEnd made{.exit = std::move(exit.value()), .ok = end.flag("ok")};
    if (!end.error().empty()) return Error{.message = "the last end: " + end.error()};
    job.last = std::move(made);
  }
  job.met = fields.flag_or_not("met");
  job.ran = fields.flag_or_not("ran");
  if (fields.has("ended_ok")) job.ended_ok = fields.flag("ended_ok");
  if (!fields.error().empty()) return Error{.message = fields.error()};
  return job;
}

}  // namespace muster::supervisor
