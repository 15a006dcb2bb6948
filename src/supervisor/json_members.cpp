#include "supervisor/json_members.h"

#include <algorithm>
#include <charconv>

#include "fmt/core.h"

namespace muster::supervisor {
namespace {

namespace json = boost::json;

constexpr std::int64_t file_ms_max = 9'000'000'000'000;  // the year 2255

}  // namespace

std::int64_t to_file_ms(WallTime at) {
  const std::int64_t ms = std::chrono::duration_cast<Millis>(at.time_since_epoch()).count();
  return std::clamp<std::int64_t>(ms, 0, file_ms_max);
}

JsonMembers::JsonMembers(const json::value* value)
    : object_(value != nullptr ? value->if_object() : nullptr) {
  if (object_ == nullptr) error_ = "it is no object";
}

void JsonMembers::wrong(std::string_view key, std::string_view what) {
  if (error_.empty()) error_ = fmt::format("'{}' {}", key, what);
}

bool JsonMembers::has(std::string_view key) const {
  return object_ != nullptr && object_->contains(key);
}

const json::value* JsonMembers::find(std::string_view key) {
  const json::value* found = object_ != nullptr ? object_->if_contains(key) : nullptr;
  if (found == nullptr) wrong(key, "is missing");
  return found;
}

std::string JsonMembers::text(std::string_view key) {
  const json::value* value = find(key);
  if (value != nullptr && value->is_string()) return std::string(value->get_string());
  wrong(key, "is no text");
  return "";
}

bool JsonMembers::flag(std::string_view key) {
  const json::value* value = find(key);
  if (value != nullptr && value->is_bool()) return value->get_bool();
  wrong(key, "is not true or false");
  return false;
}

std::int64_t JsonMembers::number(std::string_view key, std::int64_t least, std::int64_t most) {
  const json::value* value = find(key);
  const std::int64_t* found = value != nullptr ? value->if_int64() : nullptr;
  if (found != nullptr && *found >= least && *found <= most) return *found;
  wrong(key, fmt::format("is not a number from {} to {}", least, most));
  return least;
}

std::uint64_t JsonMembers::wide(std::string_view key) {
  const std::string digits = text(key);
  const char* const end = digits.data() + digits.size();
  std::uint64_t value = 0;
  const auto [stopped, problem] = std::from_chars(digits.data(), end, value);
  if (problem == std::errc{} && stopped == end) return value;
  wrong(key, "is not a number of 64 bits");
  return 0;
}

WallTime JsonMembers::time(std::string_view key) {
  return WallTime{} + Millis{number(key, 0, file_ms_max)};
}

const json::array* JsonMembers::list(std::string_view key) {
  const json::value* value = find(key);
  const json::array* found = value != nullptr ? value->if_array() : nullptr;
  if (found == nullptr) wrong(key, "is no list");
  return found;
}

const json::object* JsonMembers::object(std::string_view key) {
  const json::value* value = find(key);
  const json::object* found = value != nullptr ? value->if_object() : nullptr;
  if (found == nullptr) wrong(key, "is no object");
  return found;
}

std::vector<std::pair<std::string, std::string>> JsonMembers::pairs(std::string_view key) {
  using Pair = std::pair<std::string, std::string>;
  return list_of<Pair>(key, [](const json::value& entry) -> std::optional<Pair> {
    const json::array* pair = entry.if_array();
    if (pair == nullptr || pair->size() != 2 || !pair->at(0).is_string() || !pair->at(1).is_string())
      return std::nullopt;
    return Pair(std::string(pair->at(0).get_string()), std::string(pair->at(1).get_string()));
  });
}

}  // namespace muster::supervisor
