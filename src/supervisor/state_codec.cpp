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

constexpr std::int64_t since_ms_max = 9'000'000'000'000;  // the year 2255

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

// Takes the members of one app's object; the first that is wrong is the error, later ones are not looked at.
class AppReader {
 public:
  AppReader(std::string_view name, const json::value& value) : name_(name), object_(value.if_object()) {
    if (!object_) wrong("app", "is not an object");
  }

  PersistentApp read() {
    PersistentApp app;
    app.revision =
        static_cast<std::uint32_t>(number("revision", 1, std::numeric_limits<std::uint32_t>::max()));
    app.revision_hash = hash("revision_hash");
    app.held = boolean("held");
    app.paused = object_ && object_->contains("paused") && boolean("paused");  // not in files before 0.2
    app.scale = scale();
    if (object_ && object_->contains("autoscaled"))
      app.autoscaled = static_cast<int>(number("autoscaled", 0, limits::replicas_max));
    app.held_ordinals = ordinals("held_ordinals");
    app.drained_ordinals = ordinals("drained_ordinals");
    app.failures = failures();
    app.file_revision = app.revision;
    if (object_ && object_->contains("history")) {  // not in files before 0.2
      app.file_revision =
          static_cast<std::uint32_t>(number("file_revision", 1, std::numeric_limits<std::uint32_t>::max()));
      app.undone = boolean("undone");
      app.history = history();
    }
    if (object_ && object_->contains("slots")) {  // not in files before 0.3
      app.gate_open = boolean("gate_open");
      app.slots = slots();
    }
    return app;
  }
  [[nodiscard]] const std::string& error() const { return error_; }

 private:
  void wrong(std::string_view key, std::string_view what) {
    if (error_.empty()) error_ = fmt::format("app '{}': '{}' {}", name_, key, what);
  }
  const json::value* member(std::string_view key) {
    const json::value* value = object_ && error_.empty() ? object_->if_contains(key) : nullptr;
    if (!value) wrong(key, "is missing");
    return value;
  }
  std::int64_t as_number(std::string_view key, const json::value* value, std::int64_t least,
                         std::int64_t most) {
    const std::int64_t* number = value ? value->if_int64() : nullptr;
    if (number && *number >= least && *number <= most) return *number;
    if (value) wrong(key, fmt::format("is not a number from {} to {}", least, most));
    return least;
  }
  std::int64_t number(std::string_view key, std::int64_t least, std::int64_t most) {
    return as_number(key, member(key), least, most);
  }
  bool boolean(std::string_view key) {
    const json::value* value = member(key);
    if (value && !value->is_bool()) wrong(key, "is not true or false");
    return value && value->is_bool() && value->get_bool();
  }
  std::uint64_t hash(std::string_view key) {
    const json::value* value = member(key);
    const json::string* text = value ? value->if_string() : nullptr;
    std::uint64_t parsed = 0;
    const char* end = text ? text->data() + text->size() : nullptr;
    const bool good = text && text->size() == 16 && std::from_chars(text->data(), end, parsed, 16).ptr == end;
    if (value && !good) wrong(key, "is not 16 hexadecimal digits");
    return parsed;
  }
  std::optional<ScaleHold> scale() {
    const json::value* value = object_ ? object_->if_contains("scale") : nullptr;
    if (!value) return std::nullopt;
    const json::object* object = value->if_object();
    if (!object) wrong("scale", "is not an object");
    if (!object) return std::nullopt;
    const auto replicas = [&](std::string_view key) {
      const json::value* found = object->if_contains(key);
      if (!found) wrong(key, "is missing");
      return static_cast<int>(as_number(key, found, 0, limits::replicas_max));
    };
    return ScaleHold{replicas("replicas"), replicas("file_replicas")};
  }
  std::vector<PastRevision> history() {
    std::vector<PastRevision> found;
    const json::value* value = member("history");
    const json::array* array = value ? value->if_array() : nullptr;
    if (value && !array) wrong("history", "is not a list");
    if (!array) return found;
    for (const json::value& entry : *array) {
      if (auto past = past_revision_of(entry)) found.push_back(std::move(*past));
    }
    return found;
  }
  std::optional<PastRevision> past_revision_of(const json::value& value) {
    const json::object* object = value.if_object();
    const json::value* number = object ? object->if_contains("number") : nullptr;
    const json::value* since = object ? object->if_contains("since_ms") : nullptr;
    const json::value* ready = object ? object->if_contains("was_ready") : nullptr;
    const json::value* app = object ? object->if_contains("app") : nullptr;
    if (!number || !since || !ready || !ready->is_bool() || !app) {
      wrong("history", "has an entry that is no revision");
      return std::nullopt;
    }
    PastRevision past;
    past.number = Revision{static_cast<std::uint32_t>(
        as_number("history", number, 1, std::numeric_limits<std::uint32_t>::max()))};
    past.since = WallTime{} + Millis{as_number("history", since, 0, since_ms_max)};
    past.was_ready = ready->get_bool();
    const json::value* failure = object->if_contains("failure");
    if (failure && failure->is_string()) past.failure = std::string(failure->get_string());
    const json::value* admitted = object->if_contains("admitted");
    past.admitted = !admitted || !admitted->is_bool() || admitted->get_bool();
    auto settings = settings_from_json(std::string(name_), *app);
    if (!settings) {
      wrong("history", "has a revision in which " + settings.error().message);
      return std::nullopt;
    }
    past.app = std::make_shared<const spec::App>(std::move(settings.value()));
    return past;
  }
  std::set<int> ordinals(std::string_view key) {
    std::set<int> found;
    const json::value* value = member(key);
    const json::array* array = value ? value->if_array() : nullptr;
    if (value && !array) wrong(key, "is not a list");
    if (!array) return found;
    for (const json::value& entry : *array)
      found.insert(static_cast<int>(as_number(key, &entry, 0, limits::replicas_max)));
    return found;
  }
  // The members of an object whose keys are ordinals.
  template <typename Value, typename Read>
  std::map<int, Value> by_ordinal(std::string_view member_key, Read read) {
    std::map<int, Value> found;
    const json::value* value = member(member_key);
    const json::object* object = value ? value->if_object() : nullptr;
    if (value && !object) wrong(member_key, "is not an object");
    if (!object) return found;
    for (const auto& entry : *object) {
      const std::string_view key{entry.key().data(), entry.key().size()};
      int ordinal = -1;
      const bool whole =
          std::from_chars(key.data(), key.data() + key.size(), ordinal).ptr == key.data() + key.size();
      if (!whole || ordinal < 0 || ordinal > limits::replicas_max)
        wrong(member_key, "has a key that is no ordinal");
      found[ordinal] = read(entry.value());
    }
    return found;
  }
  std::map<int, int> failures() {
    return by_ordinal<int>("failures", [&](const json::value& value) {
      return static_cast<int>(as_number("failures", &value, 0, std::numeric_limits<int>::max()));
    });
  }
  std::map<int, PersistentSlot> slots() {
    return by_ordinal<PersistentSlot>("slots", [&](const json::value& value) { return slot_of(value); });
  }
  PersistentSlot slot_of(const json::value& value) {
    PersistentSlot slot;
    const json::object* object = value.if_object();
    const json::value* starts = object ? object->if_contains("starts") : nullptr;
    if (!starts) wrong("slots", "has an entry that is no slot");
    if (!starts) return slot;
    slot.starts = static_cast<int>(as_number("slots", starts, 0, std::numeric_limits<int>::max()));
    if (const json::value* last = object->if_contains("last_exit")) {
      auto exit = exit_from_json(*last);
      if (!exit) wrong("slots", "has a last exit in which " + exit.error().message);
      if (exit) slot.last_exit = std::move(exit.value());
    }
    slot.completed = ended("completed", *object, slot.reason);
    slot.failed = ended("failed", *object, slot.reason);
    return slot;
  }
  bool ended(std::string_view how, const json::object& slot, std::string& reason) {
    const json::value* why = slot.if_contains(how);
    if (why && !why->is_string()) wrong("slots", fmt::format("has a '{}' that is no text", how));
    if (why && why->is_string()) reason = std::string(why->get_string());
    return why && why->is_string();
  }

  std::string_view name_;
  const json::object* object_;
  std::string error_;
};

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
    AppReader reader(name, entry.value());
    state.apps[name] = reader.read();
    if (!reader.error().empty()) return damaged("is damaged: " + reader.error());
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
