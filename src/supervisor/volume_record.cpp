#include "supervisor/volume_record.h"

#include <boost/json.hpp>
#include <limits>

#include "base/limits.h"
#include "fmt/core.h"
#include "supervisor/json_members.h"
#include "supervisor/sealed_text.h"

namespace muster::supervisor {
namespace {

namespace json = boost::json;

constexpr Seal book_seal{.kind = "muster_volumes",
                         .what = "a list of muster's volumes",
                         .version = 1,
                         .bytes_max = limits::state_file_bytes_max};
constexpr Seal stamp_seal{.kind = "muster_volume",
                          .what = "the lock of a volume",
                          .version = 1,
                          .bytes_max = limits::volume_stamp_bytes_max};

// Device and inode numbers use all 64 bits.
json::object identity_to_json(const DirectoryIdentity& directory) {
  return {{"device", std::to_string(directory.device)}, {"inode", std::to_string(directory.inode)}};
}

DirectoryIdentity identity_of(JsonMembers& from) {
  return {.device = from.wide("device"), .inode = from.wide("inode")};
}

std::string relative_to(std::string_view state_dir, const std::string& path) {
  const bool below =
      path.size() > state_dir.size() && path.starts_with(state_dir) && path[state_dir.size()] == '/';
  return below ? path.substr(state_dir.size() + 1) : path;
}

json::object to_json(const VolumeRecord& record, std::string_view state_dir) {
  json::object made{{"path", relative_to(state_dir, record.path)},
                    {"app", record.replica.app},
                    {"ordinal", record.replica.ordinal},
                    {"key", record.key},
                    {"id", record.id},
                    {"boot_id", record.boot_id},
                    {"uid", record.uid},
                    {"gid", record.gid},
                    {"made_ms", to_file_ms(WallTime{} + Millis{record.made_ms})}};
  for (auto& member : identity_to_json(record.directory)) made[member.key()] = member.value();
  if (record.project != 0) made["project"] = record.project;
  if (record.removing) made["removing"] = true;
  return made;
}

constexpr std::int64_t id_max = std::numeric_limits<std::uint32_t>::max();

Result<VolumeRecord> record_of(const json::value& value, std::string_view state_dir) {
  JsonMembers from(&value);
  VolumeRecord record;
  record.path = from.text("path");
  record.replica.app = from.text("app");
  record.replica.ordinal = static_cast<int>(from.number("ordinal", 0, limits::replicas_max));
  record.key = from.text("key");
  record.id = from.text("id");
  record.directory = identity_of(from);
  record.boot_id = from.text("boot_id");
  record.uid = static_cast<std::uint32_t>(from.number("uid", 0, id_max));
  record.gid = static_cast<std::uint32_t>(from.number("gid", 0, id_max));
  record.made_ms = std::chrono::duration_cast<Millis>(from.time("made_ms").time_since_epoch()).count();
  if (from.has("project")) record.project = static_cast<std::uint32_t>(from.number("project", 0, id_max));
  record.removing = from.flag_or_not("removing");
  if (!from.error().empty()) return Error{.message = "is damaged: " + from.error()};
  if (record.path.empty()) return Error{.message = "is damaged: a volume has no path"};
  if (record.path.front() != '/') record.path.insert(0, std::string(state_dir) + "/");
  return record;
}

Result<json::value> parsed(const Seal& seal, std::string_view text) {
  const auto body = unseal(seal, text);
  if (!body) return body.error();
  boost::system::error_code problem;
  json::value value = json::parse(json::string_view(body.value().data(), body.value().size()), problem);
  if (problem) return Error{.message = "is damaged: " + problem.message()};
  return value;
}

}  // namespace

std::string volume_name(const ReplicaId& replica, std::string_view key) {
  return fmt::format("{}/{}/{}", replica.app, replica.ordinal, key);
}
std::string volume_name(const VolumeRecord& record) {
  return volume_name(record.replica, record.key);
}

std::string encode_volumes(const VolumeBook& book, std::string_view state_dir) {
  json::array rows;
  for (const VolumeRecord& record : book.volumes) rows.push_back(to_json(record, state_dir));
  json::object made{{"volumes", std::move(rows)}};
  if (book.incomplete) made["incomplete"] = true;
  return seal(book_seal, json::serialize(made));
}

Result<VolumeBook> decode_volumes(std::string_view text, std::string_view state_dir) {
  const auto value = parsed(book_seal, text);
  if (!value) return value.error();
  JsonMembers from(&value.value());
  VolumeBook book;
  book.incomplete = from.flag_or_not("incomplete");
  const json::array* rows = from.list("volumes");
  if (!from.error().empty()) return Error{.message = "is damaged: " + from.error()};
  for (const json::value& row : *rows) {
    auto record = record_of(row, state_dir);
    if (!record) return std::move(record).error();
    book.volumes.push_back(std::move(record).value());
  }
  return book;
}

std::string encode_stamp(const VolumeStamp& stamp) {
  json::object made = identity_to_json(stamp.directory);
  made["id"] = stamp.id;
  return seal(stamp_seal, json::serialize(made));
}

std::optional<VolumeStamp> decode_stamp(std::string_view text) {
  const auto value = parsed(stamp_seal, text);
  if (!value) return std::nullopt;
  JsonMembers from(&value.value());
  VolumeStamp stamp{.id = from.text("id"), .directory = identity_of(from)};
  if (!from.error().empty()) return std::nullopt;
  return stamp;
}

namespace {

VolumeVerdict judge_known(const VolumeRecord& record, const VolumeSight& sight, std::string_view boot_id) {
  if (record.removing) return VolumeVerdict::half_removed;
  if (sight.kind == VolumeSight::Kind::nothing) return VolumeVerdict::missing;
  if (sight.directory == record.directory) return VolumeVerdict::use;
  const bool same_disk =
      record.boot_id != boot_id && sight.lock == VolumeSight::Lock::stamped && sight.stamp.id == record.id;
  return same_disk && sight.directory.inode == record.directory.inode ? VolumeVerdict::renumbered
                                                                      : VolumeVerdict::replaced;
}

VolumeVerdict judge_unknown(const VolumeQuestion& question) {
  const VolumeSight& sight = question.sight;
  const bool stamped = sight.lock == VolumeSight::Lock::stamped;
  const bool blank = sight.lock == VolumeSight::Lock::blank;
  // A blank lock without a directory is what a daemon leaves that is killed while it makes a volume, and what is left
  // of an older volume that was removed; where the book is whole it can only be the first.
  if (sight.kind == VolumeSight::Kind::nothing)
    return stamped || (blank && question.incomplete) ? VolumeVerdict::missing : VolumeVerdict::make;
  if (stamped)
    return sight.stamp.directory.inode == sight.directory.inode ? VolumeVerdict::enroll
                                                                : VolumeVerdict::foreign;
  return sight.uid == question.uid && (sight.empty || blank) ? VolumeVerdict::enroll : VolumeVerdict::foreign;
}

}  // namespace

VolumeVerdict judge_volume(const VolumeQuestion& question) {
  if (question.sight.kind == VolumeSight::Kind::other) return VolumeVerdict::not_a_directory;
  return question.record != nullptr ? judge_known(*question.record, question.sight, question.boot_id)
                                    : judge_unknown(question);
}

bool is_usable(VolumeVerdict verdict) {
  switch (verdict) {
    case VolumeVerdict::use:
    case VolumeVerdict::renumbered:
    case VolumeVerdict::enroll:
    case VolumeVerdict::make:
      return true;
    case VolumeVerdict::missing:
    case VolumeVerdict::replaced:
    case VolumeVerdict::not_a_directory:
    case VolumeVerdict::foreign:
    case VolumeVerdict::half_removed:
      return false;
  }
  return false;
}

std::string refusal_sentence(const VolumeRefusal& refusal) {
  const std::string name = volume_name(refusal.replica, refusal.key);
  const std::string who = fmt::format("volume {} of {}", refusal.key, to_string(refusal.replica));
  switch (refusal.verdict) {
    case VolumeVerdict::missing:
      return fmt::format(
          "{} is missing: {} is not there; mount it or put it back, or give its data up with `muster volumes "
          "rm {}`",
          who, refusal.path, name);
    case VolumeVerdict::replaced:
      return fmt::format(
          "{} is another directory than before: {}; put the old one back, or take this one with `muster "
          "volumes "
          "adopt {}`",
          who, refusal.path, name);
    case VolumeVerdict::not_a_directory:
      return fmt::format("{}: {} is not a directory but a link or a file; put the directory back", who,
                         refusal.path);
    case VolumeVerdict::foreign:
      return fmt::format(
          "{}: {} was there before muster and belongs to {}{}; take it as it is with `muster volumes adopt "
          "{}`",
          who, refusal.path, refusal.owner,
          refusal.owner == refusal.wanted_owner ? "" : ", not to " + refusal.wanted_owner, name);
    case VolumeVerdict::half_removed:
      return fmt::format("{} is being removed, or was removed in part; `muster volumes rm {}` does the rest",
                         who, name);
    case VolumeVerdict::use:
    case VolumeVerdict::renumbered:
    case VolumeVerdict::enroll:
    case VolumeVerdict::make:
      return "";
  }
  return "";
}

}  // namespace muster::supervisor
