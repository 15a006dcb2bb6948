// What is known of a volume that was ever made, and what that says of the directory that is there now. Pure.
//
// A volume is told by the device and inode of its directory. Device numbers may be others after a boot: then the stamp
// in the lock file beside the directory, which bears the record's id, says that it is the same disk.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"

namespace muster::supervisor {

struct DirectoryIdentity {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  bool operator==(const DirectoryIdentity&) const = default;
};

struct VolumeRecord {
  std::string path;  // of the directory, absolute
  ReplicaId replica;
  std::string key;  // the NAME of `volume.NAME`
  std::string id;   // 32 hex digits that no other volume has
  DirectoryIdentity directory;
  std::string boot_id = {};  // under which the device had its number
  std::uint32_t uid = 0;     // who owned it when it was registered
  std::uint32_t gid = 0;
  std::int64_t made_ms = 0;   // Unix time, of its registration
  std::uint32_t project = 0;  // of quotas; 0: none
  bool removing = false;      // `volumes rm` has begun: what is left of it is no volume
  bool operator==(const VolumeRecord&) const = default;
};

// "db/1/data", as the commands have it.
std::string volume_name(const ReplicaId& replica, std::string_view key);
std::string volume_name(const VolumeRecord& record);

// All volumes of a state folder; paths below it are written relative, so that the folder can be moved.
struct VolumeBook {
  std::vector<VolumeRecord> volumes;
  bool incomplete = false;  // volumes may have been made that are not in it: it was lost once
};

std::string encode_volumes(const VolumeBook& book, std::string_view state_dir);
// The error is a sentence without a subject: "is damaged: the checksum does not match".
Result<VolumeBook> decode_volumes(std::string_view text, std::string_view state_dir);

// In the lock file beside the directory.
struct VolumeStamp {
  std::string id;
  DirectoryIdentity directory;
  bool operator==(const VolumeStamp&) const = default;
};
std::string encode_stamp(const VolumeStamp& stamp);
std::optional<VolumeStamp> decode_stamp(std::string_view text);  // none: it is no stamp

// What is there now.
struct VolumeSight {
  enum class Kind : std::uint8_t { nothing, directory, other } kind = Kind::nothing;
  DirectoryIdentity directory = {};
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  bool empty = false;
  // The lock file beside it: `none` also where it is not muster's.
  enum class Lock : std::uint8_t { none, blank, stamped } lock = Lock::none;
  VolumeStamp stamp = {};
};

enum class VolumeVerdict : std::uint8_t {
  use,              // it is the one of the record
  renumbered,       // the same, on a device that has another number since the boot
  enroll,           // no record, but it is ours or an empty one of the app's user: to be registered
  make,             // there never was one
  missing,          // there was one
  replaced,         // another directory is in its place
  not_a_directory,  // a link or a file is
  foreign,          // no record, and somebody else's
  half_removed,     // `volumes rm` did not get to its end
};

struct VolumeQuestion {
  const VolumeRecord* record = nullptr;  // null: none
  VolumeSight sight = {};
  std::uint32_t uid = 0;  // the app's user, where there is no record
  std::string_view boot_id = {};
  bool incomplete = false;  // of the book
};
VolumeVerdict judge_volume(const VolumeQuestion& question);

// Whether a process may have it, now or once it is made.
bool is_usable(VolumeVerdict verdict);

// Why not, and what to do: "volume data of db/1 is missing: /… is not there; …". `owner` and `wanted_owner` are the
// names of the directory's owner and of the app's user.
struct VolumeRefusal {
  VolumeVerdict verdict = VolumeVerdict::missing;
  ReplicaId replica;
  std::string key;
  std::string path;
  std::string owner = {};
  std::string wanted_owner = {};
};
std::string refusal_sentence(const VolumeRefusal& refusal);

}  // namespace muster::supervisor
