#include "supervisor/volume_list.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/fd.h"
#include "fmt/core.h"
#include "supervisor/proc_scan.h"
#include "supervisor/project_quota.h"
#include "supervisor/safe_path.h"
#include "supervisor/volume_lock.h"
#include "supervisor/volume_registry.h"
#include "supervisor/volume_tree.h"
#include "supervisor/volumes.h"

namespace muster::supervisor {
namespace {

constexpr std::size_t locks_bytes_max = 16U << 20U;

class Look {
 public:
  explicit Look(const VolumeLook& how) : how_(how) {
    if (auto text = read_small_file("/proc/locks", locks_bytes_max)) locks_ = std::move(text.value());
  }

  std::optional<VolumeRow> row(const VolumeCandidate& candidate) const {
    VolumeRow made{.of = candidate, .state = {}, .reason = {}, .owner = {}};
    const VolumePlace place = volume_place(candidate.path);
    const auto above = find_file(place.above);
    VolumeSight sight;
    if (above) {
      auto seen = look_at_volume(above.value().get(), place.name);
      if (!seen) return unreadable(std::move(made), seen.error());
      sight = std::move(seen).value();
    } else if (above.error().errno_value != ENOENT && above.error().errno_value != ENOTDIR) {
      return unreadable(std::move(made), above.error());
    }
    const bool there = sight.kind != VolumeSight::Kind::nothing;
    if (!candidate.record && !there && sight.lock == VolumeSight::Lock::none) return std::nullopt;
    const auto owner = volume_owner(candidate.user, candidate.group);
    const uid_t uid = owner ? owner.value().uid : 0;
    const VolumeVerdict verdict = judge_volume({.record = candidate.record ? &*candidate.record : nullptr,
                                                .sight = sight,
                                                .uid = uid,
                                                .boot_id = how_.boot_id,
                                                .incomplete = how_.incomplete});
    if (verdict == VolumeVerdict::make) return std::nullopt;
    const bool in_use = candidate.in_use || (above && has_tenant(above.value(), place.name));
    made.state = volume_state(verdict, in_use, candidate.in_spec);
    if (there) made.owner = owner_name(sight.uid);
    made.reason = refusal_sentence({.verdict = verdict,
                                    .replica = candidate.replica,
                                    .key = candidate.key,
                                    .path = candidate.path,
                                    .owner = made.owner,
                                    .wanted_owner = owner_name(uid)});
    if (how_.with_use && sight.kind == VolumeSight::Kind::directory) count(above.value(), place.name, made);
    return made;
  }

 private:
  static VolumeRow unreadable(VolumeRow made, const Error& error) {
    made.state = "missing";
    made.reason = error.message;
    return made;
  }

  [[nodiscard]] bool has_tenant(const Fd& above, const std::string& name) const {
    struct stat info {};
    const std::string lock = volume_lock_name(name);
    return ::fstatat(above.get(), lock.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 &&
           is_locked(locks_, info.st_dev, info.st_ino);
  }

  void count(const Fd& above, const std::string& name, VolumeRow& row) const {
    const Fd folder(::openat(above.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!folder) return;
    const std::uint32_t project = row.of.record ? row.of.record->project : 0;
    if (row.of.enforced && project != 0) {
      if (const auto use = kernel_project_quota().use(folder.get(), project)) {
        row.used_bytes = use.value().used_bytes;
        return;
      }
    }
    if (how_.enough()) return;
    const FilesUse use = use_of_tree(folder.get(), {.enough = how_.enough});
    row.used_bytes = use.bytes;
    row.used_complete = use.complete;
  }

  const VolumeLook& how_;
  std::string locks_;
};

}  // namespace

std::vector<VolumeRow> look_at_volumes(const std::vector<VolumeCandidate>& candidates,
                                       const VolumeLook& look) {
  const Look one(look);
  std::vector<VolumeRow> rows;
  for (const VolumeCandidate& candidate : candidates) {
    if (auto row = one.row(candidate)) rows.push_back(std::move(*row));
  }
  return rows;
}

std::string volume_state(VolumeVerdict verdict, bool in_use, bool in_spec) {
  switch (verdict) {
    case VolumeVerdict::missing:
      return "missing";
    case VolumeVerdict::half_removed:
      return "removing";
    case VolumeVerdict::replaced:
    case VolumeVerdict::not_a_directory:
    case VolumeVerdict::foreign:
      return "foreign";
    case VolumeVerdict::use:
    case VolumeVerdict::renumbered:
    case VolumeVerdict::enroll:
    case VolumeVerdict::make:
      break;
  }
  if (in_use) return "in use";
  return in_spec ? "idle" : "orphan";
}

// "12: FLOCK  ADVISORY  WRITE 812 fd:01:1234 0 EOF"; one that waits for it has "->" behind its number.
bool is_locked(std::string_view proc_locks, std::uint64_t device, std::uint64_t inode) {
  const std::string wanted = fmt::format(" {:02x}:{:02x}:{} ", ::major(device), ::minor(device), inode);
  while (!proc_locks.empty()) {
    const std::string_view line = proc_locks.substr(0, proc_locks.find('\n'));
    proc_locks.remove_prefix(std::min(line.size() + 1, proc_locks.size()));
    const bool held = line.find(": FLOCK ") != std::string_view::npos;
    if (held && line.find(wanted) != std::string_view::npos) return true;
  }
  return false;
}

}  // namespace muster::supervisor
