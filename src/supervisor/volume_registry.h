// Every volume that was ever made, in STATE/volumes.json: written before a process may use the volume, so that a
// directory that is gone is missed. For the control thread.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "supervisor/volume_record.h"

namespace muster::supervisor {

class VolumeRegistry {
 public:
  VolumeRegistry(std::string state_dir, std::string boot_id);

  // Once, before anything else: what the file says. Where it is lost or damaged, the volumes of the state folder whose
  // lock files are beside them are taken in, and what is said about it comes back. The daemon starts in any case.
  std::vector<std::string> load();

  [[nodiscard]] const VolumeRecord* find(const std::string& path) const;  // null: not registered
  [[nodiscard]] const std::map<std::string, VolumeRecord>& records() const { return records_; }  // by path
  [[nodiscard]] bool incomplete() const { return incomplete_; }
  [[nodiscard]] const std::string& boot_id() const { return boot_id_; }
  [[nodiscard]] const std::string& state_dir() const { return state_dir_; }
  [[nodiscard]] std::string file() const { return state_dir_ + "/volumes.json"; }

  // Written when they return, though not yet synced (fsync(2) may take long; see sync_kept): a power cut leaves the
  // list of before, and the stamp beside the volume. On an error nothing has changed.
  Status put(VolumeRecord record);
  Status remove(const std::string& path);
  // Whether something was written since the last call.
  bool take_unsynced() { return std::exchange(unsynced_, false); }

 private:
  Status write();
  std::size_t take_in_what_is_there();

  std::string state_dir_;
  std::string boot_id_;
  std::map<std::string, VolumeRecord> records_;  // by path
  bool incomplete_ = false;
  bool unsynced_ = false;
};

// What no other volume has.
std::string new_volume_id();

// The directory at `name` in the opened folder `above`, and the lock file beside it. Nothing is made or followed.
Result<VolumeSight> look_at_volume(int above, const std::string& name);

}  // namespace muster::supervisor
