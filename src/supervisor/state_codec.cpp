#include "supervisor/state_codec.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <limits>

#include "base/limits.h"
#include "supervisor/job_codec.h"
#include "supervisor/json_members.h"
#include "supervisor/revision_codec.h"
#include "supervisor/sealed_text.h"

namespace muster::supervisor {
namespace {

namespace json = boost::json;

constexpr Seal state_seal{.kind = "muster_state",
                          .what = "a state of muster",
                          .version = state_version,
                          .bytes_max = limits::state_file_bytes_max};

json::array ordinals_to_json(const std::set<int>& ordinals) {
  return json::array(ordinals.begin(), ordinals.end());
}

// The newest of them, as many as fit.
json::array history_to_json(const std::vector<PastRevision>& history, std::size_t bytes_max) {
  json::array kept;
  std::size_t bytes = 0;
  // clang 14 cannot read std::views::reverse of libstdc++ 12.
  for (auto at = history.rbegin(); at != history.rend(); ++at) {  // NOLINT(modernize-loop-convert)
    json::object past;
    past["number"] = raw(at->number);
    past["since_ms"] = to_file_ms(at->since);
    past["was_ready"] = at->was_ready;
    if (!at->failure.empty()) past["failure"] = at->failure;
    if (!at->admitted) past["admitted"] = false;
    past["app"] = settings_to_json(*at->app);
    bytes += json::serialize(past).size();
    if (bytes > bytes_max) break;
    kept.insert(kept.begin(), std::move(past));
  }
  return kept;
}

json::object slots_to_json(const std::map<int, PersistentSlot>& slots) {
  json::object made;
  for (const auto& [ordinal, slot] : slots) {
    json::object memo{{"starts", slot.starts}};
    if (slot.last_exit) memo["last_exit"] = exit_to_json(*slot.last_exit);
    if (slot.completed) memo["completed"] = slot.reason;
    if (slot.failed) memo["failed"] = slot.reason;
    made[std::to_string(ordinal)] = std::move(memo);
  }
  return made;
}

json::object app_to_json(const PersistentApp& app, std::size_t bytes_max) {
  json::object failures;
  for (const auto& [ordinal, count] : app.failures) failures[std::to_string(ordinal)] = count;
  json::object object;
  object["revision"] = app.revision;
  object["revision_hash"] = fmt::format("{:016x}", app.revision_hash);
  object["held"] = app.held;
  object["paused"] = app.paused;
  if (app.scale)
    object["scale"] = {{"replicas", app.scale->replicas}, {"file_replicas", app.scale->file_replicas}};
  if (app.autoscaled) object["autoscaled"] = *app.autoscaled;
  object["held_ordinals"] = ordinals_to_json(app.held_ordinals);
  object["drained_ordinals"] = ordinals_to_json(app.drained_ordinals);
  object["failures"] = std::move(failures);
  object["file_revision"] = app.file_revision;
  object["undone"] = app.undone;
  object["gate_open"] = app.gate_open;
  object["slots"] = slots_to_json(app.slots);
  object["history"] = history_to_json(app.history, bytes_max);
  return object;
}

// What is wrong inside a member, in its place.
void blame(JsonMembers& fields, std::string_view key, std::string_view what) {
  if (!what.empty()) fields.wrong(key, fmt::format("is wrong in that {}", what));
}

Revision revision_at(JsonMembers& fields, std::string_view key) {
  return Revision{
      static_cast<std::uint32_t>(fields.number(key, 1, std::numeric_limits<std::uint32_t>::max()))};
}

int replicas_at(JsonMembers& fields, std::string_view key) {
  return static_cast<int>(fields.number(key, 0, limits::replicas_max));
}

std::uint64_t hash_at(JsonMembers& fields, std::string_view key) {
  const std::string digits = fields.text(key);
  const char* const end = digits.data() + digits.size();
  std::uint64_t hash = 0;
  if (digits.size() != 16 || std::from_chars(digits.data(), end, hash, 16).ptr != end)
    fields.wrong(key, "is not 16 hexadecimal digits");
  return hash;
}

std::optional<ScaleHold> scale_of(JsonMembers& fields) {
  if (!fields.has("scale")) return std::nullopt;
  JsonMembers scale(fields.find("scale"));
  const ScaleHold hold{replicas_at(scale, "replicas"), replicas_at(scale, "file_replicas")};
  blame(fields, "scale", scale.error());
  return hold;
}

std::optional<int> whole_of(const json::value& value, int most) {
  const std::int64_t* const number = value.if_int64();
  if (number == nullptr || *number < 0 || *number > most) return std::nullopt;
  return static_cast<int>(*number);
}

std::set<int> ordinals_at(JsonMembers& fields, std::string_view key) {
  const auto ordinals = fields.list_of<int>(
      key, [](const json::value& entry) { return whole_of(entry, limits::replicas_max); });
  return {ordinals.begin(), ordinals.end()};
}

PastRevision past_revision_of(const std::string& name, const json::value& value, std::string& error) {
  JsonMembers fields(&value);
  PastRevision past;
  past.number = revision_at(fields, "number");
  past.since = fields.time("since_ms");
  past.was_ready = fields.flag("was_ready");
  if (fields.has("failure")) past.failure = fields.text("failure");
  past.admitted = !fields.has("admitted") || fields.flag("admitted");
  if (const json::value* const app = fields.find("app")) {
    auto settings = settings_from_json(name, *app);
    if (!settings) blame(fields, "app", settings.error().message);
    if (settings) past.app = std::make_shared<const spec::App>(std::move(settings.value()));
  }
  error = fields.error();
  return past;
}

std::vector<PastRevision> history_of(const std::string& name, JsonMembers& fields) {
  std::vector<PastRevision> found;
  const json::array* const entries = fields.list("history");
  if (entries == nullptr) return found;
  for (const json::value& entry : *entries) {
    std::string error;
    found.push_back(past_revision_of(name, entry, error));
    blame(fields, "history", error);
  }
  return found;
}

// The members of an object whose keys are ordinals.
template <typename Value, typename Read>
std::map<int, Value> by_ordinal(JsonMembers& fields, std::string_view key, Read read) {
  std::map<int, Value> found;
  const json::object* const object = fields.object(key);
  if (object == nullptr) return found;
  for (const auto& entry : *object) {
    const char* const end = entry.key().data() + entry.key().size();
    int ordinal = -1;
    const bool whole = std::from_chars(entry.key().data(), end, ordinal).ptr == end;
    if (!whole || ordinal < 0 || ordinal > limits::replicas_max)
      fields.wrong(key, "has a key that is no ordinal");
    found[ordinal] = read(entry.value());
  }
  return found;
}

std::map<int, int> failures_of(JsonMembers& fields) {
  return by_ordinal<int>(fields, "failures", [&](const json::value& value) {
    const auto count = whole_of(value, std::numeric_limits<int>::max());
    if (!count) fields.wrong("failures", "has an entry that is no number");
    return count.value_or(0);
  });
}

bool ended(JsonMembers& slot, std::string_view how, std::string& reason) {
  if (!slot.has(how)) return false;
  reason = slot.text(how);
  return true;
}

std::map<int, PersistentSlot> slots_of(JsonMembers& fields) {
  return by_ordinal<PersistentSlot>(fields, "slots", [&](const json::value& value) {
    JsonMembers memo(&value);
    PersistentSlot slot;
    slot.starts = static_cast<int>(memo.number("starts", 0, std::numeric_limits<int>::max()));
    if (memo.has("last_exit")) {
      auto exit = exit_from_json(*memo.find("last_exit"));
      if (!exit) blame(memo, "last_exit", exit.error().message);
      if (exit) slot.last_exit = std::move(exit.value());
    }
    slot.completed = ended(memo, "completed", slot.reason);
    slot.failed = ended(memo, "failed", slot.reason);
    blame(fields, "slots", memo.error());
    return slot;
  });
}

Result<PersistentApp> app_from_json(const std::string& name, const json::value& value) {
  JsonMembers fields(&value);
  PersistentApp app;
  app.revision = raw(revision_at(fields, "revision"));
  app.revision_hash = hash_at(fields, "revision_hash");
  app.held = fields.flag("held");
  app.paused = fields.flag_or_not("paused");  // not in files before 0.2
  app.scale = scale_of(fields);
  if (fields.has("autoscaled")) app.autoscaled = replicas_at(fields, "autoscaled");
  app.held_ordinals = ordinals_at(fields, "held_ordinals");
  app.drained_ordinals = ordinals_at(fields, "drained_ordinals");
  app.failures = failures_of(fields);
  app.file_revision = app.revision;
  if (fields.has("history")) {  // not in files before 0.2
    app.file_revision = raw(revision_at(fields, "file_revision"));
    app.undone = fields.flag("undone");
    app.history = history_of(name, fields);
  }
  if (fields.has("slots")) {  // not in files before 0.3
    app.gate_open = fields.flag("gate_open");
    app.slots = slots_of(fields);
  }
  if (!fields.error().empty()) return Error{.message = fields.error()};
  return app;
}

Error damaged(std::string what) {
  return {std::move(what), ExitCode::failed, 0};
}

Result<PersistentState> read_body(std::string_view body) {
  boost::system::error_code error;
  const json::value value = json::parse(body, error);
  const json::object* object = error ? nullptr : value.if_object();
  const json::value* apps = object ? object->if_contains("apps") : nullptr;
  if (!apps || !apps->is_object()) return damaged("is damaged: it has no 'apps'");
  PersistentState state;
  for (const auto& entry : apps->get_object()) {
    const std::string name(entry.key());
    auto app = app_from_json(name, entry.value());
    if (!app) return damaged(fmt::format("is damaged: app '{}': {}", name, app.error().message));
    state.apps[name] = std::move(app.value());
  }
  const json::value* jobs = object->if_contains("jobs");  // not in files before 0.2
  if (jobs && !jobs->is_object()) return damaged("is damaged: 'jobs' is not an object");
  if (!jobs) return state;
  for (const auto& entry : jobs->get_object()) {
    auto job = job_from_json(entry.value());
    if (!job)
      return damaged(
          fmt::format("is damaged: job '{}': {}", std::string_view(entry.key()), job.error().message));
    state.jobs[std::string(entry.key())] = std::move(job.value());
  }
  return state;
}

}  // namespace

std::string encode_state(const PersistentState& state) {
  json::object apps;
  const std::size_t bytes_max = limits::revisions_bytes_max / std::max<std::size_t>(1, state.apps.size());
  for (const auto& [name, app] : state.apps) apps[name] = app_to_json(app, bytes_max);
  json::object root;
  root["apps"] = std::move(apps);
  json::object jobs;
  for (const auto& [name, job] : state.jobs) jobs[name] = job_to_json(job);
  root["jobs"] = std::move(jobs);
  return seal(state_seal, json::serialize(root) + "\n");
}

Result<PersistentState> decode_state(std::string_view text) {
  const auto body = unseal(state_seal, text);
  if (!body) return body.error();
  return read_body(body.value());
}

}  // namespace muster::supervisor
