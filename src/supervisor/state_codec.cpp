#include "supervisor/state_codec.h"

#include <fmt/format.h>

#include <boost/crc.hpp>
#include <boost/json.hpp>
#include <charconv>
#include <limits>

#include "base/limits.h"

namespace muster::supervisor {
namespace {

namespace json = boost::json;

constexpr std::string_view magic = R"({"muster_state":)";

std::string header_of(std::string_view body) {
  boost::crc_32_type crc;
  crc.process_bytes(body.data(), body.size());
  return fmt::format(R"({}{},"crc32":"{:08x}","bytes":{}}})", magic, state_version, crc.checksum(),
                     body.size());
}

json::array ordinals_to_json(const std::set<int>& ordinals) {
  return json::array(ordinals.begin(), ordinals.end());
}

json::object app_to_json(const PersistentApp& app) {
  json::object failures;
  for (const auto& [ordinal, count] : app.failures) failures[std::to_string(ordinal)] = count;
  json::object object;
  object["revision"] = app.revision;
  object["revision_hash"] = fmt::format("{:016x}", app.revision_hash);
  object["held"] = app.held;
  object["paused"] = app.paused;
  if (app.scale)
    object["scale"] = {{"replicas", app.scale->replicas}, {"file_replicas", app.scale->file_replicas}};
  object["held_ordinals"] = ordinals_to_json(app.held_ordinals);
  object["drained_ordinals"] = ordinals_to_json(app.drained_ordinals);
  object["failures"] = std::move(failures);
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
    app.held_ordinals = ordinals("held_ordinals");
    app.drained_ordinals = ordinals("drained_ordinals");
    app.failures = failures();
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
  std::map<int, int> failures() {
    std::map<int, int> found;
    const json::value* value = member("failures");
    const json::object* object = value ? value->if_object() : nullptr;
    if (value && !object) wrong("failures", "is not an object");
    if (!object) return found;
    for (const auto& entry : *object) {
      const std::string_view key{entry.key().data(), entry.key().size()};
      int ordinal = -1;
      const bool whole =
          std::from_chars(key.data(), key.data() + key.size(), ordinal).ptr == key.data() + key.size();
      if (!whole || ordinal < 0 || ordinal > limits::replicas_max)
        wrong("failures", "has a key that is no ordinal");
      found[ordinal] =
          static_cast<int>(as_number("failures", &entry.value(), 0, std::numeric_limits<int>::max()));
    }
    return found;
  }

  std::string_view name_;
  const json::object* object_;
  std::string error_;
};

Error damaged(std::string what) {
  return {std::move(what), ExitCode::failed, 0};
}

// What the first line says its version is; none when it is no header of ours.
std::optional<int> version_of(std::string_view header) {
  if (!header.starts_with(magic)) return std::nullopt;
  header.remove_prefix(magic.size());
  int version = 0;
  const auto [end, error] = std::from_chars(header.data(), header.data() + header.size(), version);
  if (error != std::errc{} || end == header.data() + header.size() || *end != ',') return std::nullopt;
  return version;
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
  return state;
}

}  // namespace

std::string encode_state(const PersistentState& state) {
  json::object apps;
  for (const auto& [name, app] : state.apps) apps[name] = app_to_json(app);
  json::object root;
  root["apps"] = std::move(apps);
  const std::string body = json::serialize(root) + "\n";
  return header_of(body) + "\n" + body;
}

Result<PersistentState> decode_state(std::string_view text) {
  if (text.size() > limits::state_file_bytes_max) return damaged("is damaged: it is too large");
  const std::size_t end = text.find('\n');
  if (end == std::string_view::npos) return damaged(text.empty() ? "is empty" : "is damaged: it is cut off");
  const std::string_view header = text.substr(0, end);
  const std::string_view body = text.substr(end + 1);
  const auto version = version_of(header);
  if (!version) return damaged("is damaged: it does not begin as a state of muster");
  if (*version > state_version)
    return damaged(fmt::format("was written by a newer muster (version {}; this one knows {})", *version,
                               state_version));
  if (header != header_of(body)) return damaged("is damaged: the checksum does not match");
  return read_body(body);
}

}  // namespace muster::supervisor
