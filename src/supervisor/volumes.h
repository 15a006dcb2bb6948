// Volumes as directories, one per ordinal and name: made once, registered, never removed but by `volumes rm`.
// STATE/volumes/APP/ORDINAL/NAME, or PATH/ORDINAL where the spec gives a path. Each has a lock file beside it, see
// volume_lock.h.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/ids.h"
#include "base/result.h"
#include "spec/spec.h"
#include "supervisor/volume_registry.h"

namespace muster::supervisor {

std::string volume_path(const std::string& state_dir, const ReplicaId& replica, const spec::Volume& volume);

// PATH as the folder that a volume is in and its name there.
struct VolumePlace {
  std::string above;
  std::string name;
  [[nodiscard]] std::string path() const { return above + "/" + name; }
};
VolumePlace volume_place(const std::string& path);

// Who is to own an app's volumes: its user and group. The error is a sentence: "no such user: www".
struct VolumeOwner {
  uid_t uid = 0;
  gid_t gid = 0;
};
Result<VolumeOwner> volume_owner(const std::string& user, const std::string& group);
std::string owner_name(uid_t uid);  // "www", "uid 1234"

struct PreparedVolume {
  std::string key;
  std::string path;
  Fd lock;
  Fd folder;          // O_PATH
  bool made = false;  // just now
};
struct PreparedVolumes {
  std::vector<std::pair<std::string, std::string>> paths;  // key -> path
  std::vector<Fd> locks;                                   // to be handed on to the replica's processes
};

// Locks the volume, makes what is missing where it was never made, and registers it: the folder itself with the volume's
// mode and the app's user and group, those above it 0711 (the app's user must be able to pass). One that exists stays
// as it is. EWOULDBLOCK: "volume data of db/1 is in use by pid 812 (redis-server)". ESTALE: it is not there any more, or
// something else is; what to do is in the message, and nothing was made.
Result<PreparedVolume> prepare_volume(VolumeRegistry& registry, const ReplicaId& replica,
                                      const spec::App& app, const spec::Volume& volume);

Result<PreparedVolumes> prepare_volumes(VolumeRegistry& registry, const ReplicaId& replica,
                                        const spec::App& app);

// A volume whose directory is there, with its lock held.
struct HeldVolume {
  VolumePlace place;
  Fd above;
  Fd lock;
  VolumeSight sight;
};
// Makes nothing but the lock file. EWOULDBLOCK: in use; ENOENT: the folder that it is in is not there.
Result<HeldVolume> hold_volume(const std::string& path);

// The record of what is there now, stamped into the held lock file and registered.
Status enroll_volume(VolumeRegistry& registry, VolumeRecord record, const HeldVolume& held);

}  // namespace muster::supervisor
