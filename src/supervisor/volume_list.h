// The volumes as `muster volumes` shows them: what is registered or in the spec, against what is there.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/volume_record.h"

namespace muster::supervisor {

// A volume that is registered, or has a place by the spec.
struct VolumeCandidate {
  ReplicaId replica;
  std::string key;
  std::string path;
  std::optional<VolumeRecord> record = {};
  bool in_spec = false;
  bool in_use = false;  // a replica of this daemon has it
  std::optional<std::uint64_t> size = {};
  bool enforced = false;     // the size
  std::string why_not = {};  // it is not
  std::string user = {};     // the app's; empty: the daemon's own
  std::string group = {};
};

struct VolumeRow {
  VolumeCandidate of;
  std::string state;   // "in use", "idle", "orphan", "missing", "foreign", "removing"
  std::string reason;  // where something has to be done about it
  std::string owner;   // of the directory; empty: none is there
  std::optional<std::uint64_t> used_bytes = {};
  bool used_complete = true;  // false: it is at least so much
};

struct VolumeLook {
  std::string boot_id;
  bool incomplete = false;
  bool with_use = true;
  std::function<bool()> enough;  // no more is counted
};

// Rows for those that are there or should be. For threads of the pool.
std::vector<VolumeRow> look_at_volumes(const std::vector<VolumeCandidate>& candidates,
                                       const VolumeLook& look);

// Pure.
std::string volume_state(VolumeVerdict verdict, bool in_use, bool in_spec);
// Whether /proc/locks shows an flock(2) of the file.
bool is_locked(std::string_view proc_locks, std::uint64_t device, std::uint64_t inode);

}  // namespace muster::supervisor
