#include "supervisor/job_codec.h"

#include <algorithm>

#include "fmt/core.h"

namespace muster::supervisor {
namespace {

namespace json = boost::json;

constexpr std::int64_t time_ms_max = 9'000'000'000'000;  // the year 2255

// A wall clock that is far off makes no state that cannot be read.
std::int64_t ms_of(WallTime at) {
  const std::int64_t ms = std::chrono::duration_cast<Millis>(at.time_since_epoch()).count();
  return std::clamp<std::int64_t>(ms, 0, time_ms_max);
}

// The members of one object; the first that is wrong is the error.
class Fields {
 public:
  explicit Fields(const json::value* value) : object_(value != nullptr ? value->if_object() : nullptr) {
    if (object_ == nullptr) error_ = "it is no object";
  }
  [[nodiscard]] const std::string& error() const { return error_; }
  [[nodiscard]] const json::value* find(const char* key) const {
    return object_ == nullptr ? nullptr : object_->if_contains(key);
  }
  std::string text(const char* key) {
    const json::value* value = find(key);
    if (value != nullptr && value->is_string()) return std::string(value->get_string());
    wrong(key, "no text");
    return "";
  }
  bool flag(const char* key) {
    const json::value* value = find(key);
    if (value == nullptr || !value->is_bool()) wrong(key, "not true or false");
    return value != nullptr && value->is_bool() && value->get_bool();
  }
  WallTime time(const char* key) { return WallTime{} + Millis{number(key, 0, time_ms_max).value_or(0)}; }
  std::optional<int> small(const char* key) {
    if (find(key) == nullptr) return std::nullopt;
    const auto found = number(key, 0, 1000);
    return found ? std::optional(static_cast<int>(*found)) : std::nullopt;
  }

 private:
  void wrong(const char* key, const char* what) {
    if (error_.empty()) error_ = fmt::format("'{}' is {}", key, what);
  }
  std::optional<std::int64_t> number(const char* key, std::int64_t least, std::int64_t most) {
    const json::value* value = find(key);
    const std::int64_t* found = value == nullptr ? nullptr : value->if_int64();
    if (found != nullptr && *found >= least && *found <= most) return *found;
    wrong(key, "not a number in its range");
    return std::nullopt;
  }

  const json::object* object_;
  std::string error_;
};

}  // namespace

json::object exit_to_json(const LastExit& exit) {
  json::object made{{"reason", exit.reason}, {"at_ms", ms_of(exit.at)}};
  if (exit.status.code) made["code"] = *exit.status.code;
  if (exit.status.signal) made["signal"] = *exit.status.signal;
  return made;
}

Result<LastExit> exit_from_json(const json::value& value) {
  Fields fields(&value);
  LastExit made;
  made.reason = fields.text("reason");
  made.at = fields.time("at_ms");
  made.status.code = fields.small("code");
  made.status.signal = fields.small("signal");
  if (!fields.error().empty()) return Error{.message = fields.error()};
  return made;
}

json::object job_to_json(const PersistentJob& job) {
  json::object made{{"schedule", job.schedule}, {"timezone", job.timezone}};
  if (job.next) made["next_ms"] = ms_of(*job.next);
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
  Fields fields(&value);
  PersistentJob job;
  job.schedule = fields.text("schedule");
  job.timezone = fields.text("timezone");
  if (fields.find("next_ms") != nullptr) job.next = fields.time("next_ms");
  if (const json::value* last = fields.find("last"); last != nullptr) {
    Fields end(last);
    auto exit = exit_from_json(*last);
    if (!exit) return Error{.message = "the last end: " + exit.error().message};
    JobEnd made{.exit = std::move(exit.value()), .ok = end.flag("ok")};
    if (!end.error().empty()) return Error{.message = "the last end: " + end.error()};
    job.last = std::move(made);
  }
  job.met = fields.find("met") != nullptr && fields.flag("met");
  job.ran = fields.find("ran") != nullptr && fields.flag("ran");
  if (fields.find("ended_ok") != nullptr) job.ended_ok = fields.flag("ended_ok");
  if (!fields.error().empty()) return Error{.message = fields.error()};
  return job;
}

}  // namespace muster::supervisor
