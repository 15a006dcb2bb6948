#include "supervisor/volumes.h"

#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <optional>

#include "fmt/core.h"
#include "supervisor/accounts.h"
#include "supervisor/safe_path.h"
#include "supervisor/volume_lock.h"

namespace muster::supervisor {

namespace {

constexpr mode_t passage_mode = 0711;

// One volume on its way to a start.
class Preparation {
 public:
  Preparation(VolumeRegistry& registry, const ReplicaId& replica, const spec::App& app,
              const spec::Volume& volume)
      : registry_(registry),
        replica_(replica),
        app_(app),
        volume_(volume),
        place_(volume_place(volume_path(registry.state_dir(), replica, volume))),
        path_(place_.path()) {}

  Result<PreparedVolume> run();

 private:
  [[nodiscard]] Error problem(const std::string& what) const {
    return Error{.message = fmt::format("volume {}: {}", volume_.key, what)};
  }
  [[nodiscard]] Error problem(const std::string& what, int error_number) const {
    return problem(fmt::format("{}: {}", what, errno_text(error_number)));
  }
  [[nodiscard]] std::string unfinished() const { return fmt::format(".{}.new", place_.name); }

  Status look_first();
  Result<VolumeVerdict> judge(const VolumeSight& sight);
  Result<VolumeSight> look(const Fd& above) const;
  Status make(const Fd& above);
  Status finish(const Fd& above);
  [[nodiscard]] bool is_unfinished(const Fd& above) const;
  VolumeRecord record_of(const VolumeSight& sight) const;
  Status know_owner();

  VolumeRegistry& registry_;
  const ReplicaId& replica_;
  const spec::App& app_;
  const spec::Volume& volume_;
  VolumePlace place_;
  std::string path_;
  std::optional<VolumeOwner> owner_;
  VolumeSight::Lock lock_found_ = VolumeSight::Lock::none;  // before ours was made
};

Status Preparation::know_owner() {
  if (owner_) return Unit{};
  const auto owner = volume_owner(app_.user, app_.group);
  if (!owner) return problem(owner.error().message);
  owner_ = owner.value();
  return Unit{};
}

// One that is made but for its name counts as there: a daemon was killed as it made it.
bool Preparation::is_unfinished(const Fd& above) const {
  const VolumeRecord* record = registry_.find(path_);
  struct stat info {};
  return record != nullptr && ::fstatat(above.get(), unfinished().c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 &&
         S_ISDIR(info.st_mode) &&
         record->directory == DirectoryIdentity{.device = info.st_dev, .inode = info.st_ino};
}

Result<VolumeSight> Preparation::look(const Fd& above) const {
  auto sight = look_at_volume(above.get(), place_.name);
  if (!sight) return problem(fmt::format("{}/{}", place_.above, sight.error().message));
  if (sight.value().kind == VolumeSight::Kind::nothing && is_unfinished(above)) {
    sight.value().kind = VolumeSight::Kind::directory;
    sight.value().directory = registry_.find(path_)->directory;
  }
  return sight;
}

Result<VolumeVerdict> Preparation::judge(const VolumeSight& sight) {
  const VolumeRecord* record = registry_.find(path_);
  if (record == nullptr && sight.kind == VolumeSight::Kind::directory) {
    if (const Status known = know_owner(); !known) return known.error();
  }
  const VolumeVerdict verdict = judge_volume({.record = record,
                                              .sight = sight,
                                              .uid = owner_ ? owner_->uid : 0,
                                              .boot_id = registry_.boot_id(),
                                              .incomplete = registry_.incomplete()});
  if (is_usable(verdict)) return verdict;
  return Error{.message = refusal_sentence({.verdict = verdict,
                                            .replica = replica_,
                                            .key = volume_.key,
                                            .path = path_,
                                            .owner = owner_name(sight.uid),
                                            .wanted_owner = owner_name(owner_ ? owner_->uid : sight.uid)}),
               .errno_value = ESTALE};
}

// Nothing is made where something is wrong: no lock on the disk below a mount point whose disk is missing.
Status Preparation::look_first() {
  const auto above = find_file(place_.above);
  VolumeSight sight;
  if (above) {
    auto seen = look(above.value());
    if (!seen) return std::move(seen).error();
    sight = std::move(seen).value();
    lock_found_ = sight.lock;
  } else if (above.error().errno_value != ENOENT && above.error().errno_value != ENOTDIR) {
    return problem(above.error().message);
  }
  if (const auto verdict = judge(sight); !verdict) return verdict.error();
  return Unit{};
}

// The umask applies to mkdir(2); the mode that was asked for is set on the folder that we made ourselves. It is
// registered before it has its name: whoever is killed on the way leaves either nothing or what finish() goes on with.
Status Preparation::make(const Fd& above) {
  if (Status known = know_owner(); !known) return known;
  const std::string name = unfinished();
  static_cast<void>(::unlinkat(above.get(), name.c_str(), AT_REMOVEDIR));  // of one who was killed before
  if (::mkdirat(above.get(), name.c_str(), 0700) != 0) return problem(place_.above + "/" + name, errno);
  const Fd folder(::openat(above.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder) return problem(path_, errno);
  // Where the app's user may write above it, another folder can have taken its place by now.
  if (!is_untouched_folder(folder.get())) return problem(path_ + " was replaced as it was made");
  const bool other = !app_.user.empty() || !app_.group.empty();
  if (other && ::fchown(folder.get(), owner_->uid, owner_->gid) != 0)
    return problem("owner of " + path_, errno);
  if (::fchmod(folder.get(), static_cast<mode_t>(volume_.mode)) != 0)
    return problem("mode of " + path_, errno);
  struct stat info {};
  if (::fstat(folder.get(), &info) != 0) return problem(path_, errno);
  VolumeSight sight;
  sight.directory = {.device = info.st_dev, .inode = info.st_ino};
  sight.uid = info.st_uid;
  sight.gid = info.st_gid;
  if (const Status put = registry_.put(record_of(sight)); !put)
    return problem("it cannot be registered: " + put.error().message);
  return finish(above);
}

Status Preparation::finish(const Fd& above) {
  const std::string from = unfinished();
  int renamed = ::renameat2(above.get(), from.c_str(), above.get(), place_.name.c_str(), RENAME_NOREPLACE);
  if (renamed != 0 && (errno == EINVAL || errno == ENOSYS))  // a file system that does not know that
    renamed = ::renameat(above.get(), from.c_str(), above.get(), place_.name.c_str());
  if (renamed != 0) return problem(path_, errno);
  const VolumeRecord* record = registry_.find(path_);
  const auto sight = look_at_volume(above.get(), place_.name);
  if (record == nullptr || !sight || !(sight.value().directory == record->directory))
    return problem(path_ + " was replaced as it was made");
  return Unit{};
}

VolumeRecord Preparation::record_of(const VolumeSight& sight) const {
  const VolumeRecord* known = registry_.find(path_);
  VolumeRecord record = known != nullptr ? *known : VolumeRecord{};
  record.path = path_;
  record.replica = replica_;
  record.key = volume_.key;
  if (record.id.empty())
    record.id = sight.lock == VolumeSight::Lock::stamped ? sight.stamp.id : new_volume_id();
  if (known == nullptr || !(record.directory == sight.directory)) {
    record.directory = sight.directory;
    record.boot_id = registry_.boot_id();
  }
  if (known == nullptr) {
    record.uid = sight.uid;
    record.gid = sight.gid;
  }
  return record;
}

Status stamp_lock(int lock, const VolumeStamp& stamp) {
  const std::string text = encode_stamp(stamp);
  if (::ftruncate(lock, 0) != 0) return system_error("the lock", errno);
  if (::pwrite(lock, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()))
    return system_error("the lock", errno);
  return Unit{};
}

Result<PreparedVolume> Preparation::run() {
  if (const Status fine = look_first(); !fine) return fine.error();
  auto above = open_or_make_folder(place_.above, passage_mode);
  if (!above) return problem(above.error().message);
  const Fd& folder = above.value();
  auto lock = lock_volume(folder.get(), place_.name);
  if (!lock && lock.error().errno_value == EWOULDBLOCK)
    return Error{.message = fmt::format("volume {} of {} is {}", volume_.key, to_string(replica_),
                                        lock.error().message),
                 .errno_value = EWOULDBLOCK};
  if (!lock) return problem(fmt::format("{}/{}", place_.above, lock.error().message));
  auto sight = look(folder);
  if (!sight) return std::move(sight).error();
  // The lock that was just made says nothing about the directory beside it.
  if (lock_found_ == VolumeSight::Lock::none) sight.value().lock = VolumeSight::Lock::none;
  const auto verdict = judge(sight.value());
  if (!verdict) {
    if (lock_found_ == VolumeSight::Lock::none)
      ::unlinkat(folder.get(), volume_lock_name(place_.name).c_str(), 0);
    return verdict.error();
  }
  const bool made = verdict.value() == VolumeVerdict::make;
  if (made) {
    if (const Status done = make(folder); !done) return done.error();
  } else if (is_unfinished(folder)) {
    if (const Status done = finish(folder); !done) return done.error();
  }
  const VolumeRecord record = made ? *registry_.find(path_) : record_of(sight.value());
  if (const Status put = registry_.put(record); !put)
    return problem("it cannot be registered: " + put.error().message);
  const VolumeStamp stamp{.id = record.id, .directory = record.directory};
  // Without the stamp it is the volume all the same; only a lost list, or another boot, would ask for it.
  if (!(sight.value().lock == VolumeSight::Lock::stamped && sight.value().stamp == stamp))
    static_cast<void>(stamp_lock(lock.value().get(), stamp));
  return PreparedVolume{.key = volume_.key,
                        .path = path_,
                        .lock = std::move(lock).value(),
                        .folder = Fd(::openat(folder.get(), place_.name.c_str(),
                                              O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)),
                        .made = made};
}

}  // namespace

std::string volume_path(const std::string& state_dir, const ReplicaId& replica, const spec::Volume& volume) {
  if (volume.path) return fmt::format("{}/{}", *volume.path, replica.ordinal);
  return fmt::format("{}/volumes/{}/{}/{}", state_dir, replica.app, replica.ordinal, volume.name);
}

VolumePlace volume_place(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return {.above = path.substr(0, slash), .name = path.substr(slash + 1)};
}

Result<VolumeOwner> volume_owner(const std::string& user, const std::string& group) {
  if (user.empty() && group.empty()) return VolumeOwner{.uid = ::geteuid(), .gid = ::getegid()};
  const auto account = find_account(user);
  if (!account) return Error{.message = "no such user: " + user};
  VolumeOwner owner{.uid = account->uid, .gid = account->gid};
  if (group.empty()) return owner;
  const auto found = find_group(group);
  if (!found) return Error{.message = "no such group: " + group};
  owner.gid = *found;
  return owner;
}

std::string owner_name(uid_t uid) {
  constexpr std::size_t room = 16384;  // more than sysconf(_SC_GETPW_R_SIZE_MAX) asks for
  std::array<char, room> buffer{};
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr)
    return found->pw_name;
  return fmt::format("uid {}", uid);
}

Result<PreparedVolume> prepare_volume(VolumeRegistry& registry, const ReplicaId& replica,
                                      const spec::App& app, const spec::Volume& volume) {
  return Preparation(registry, replica, app, volume).run();
}

Result<PreparedVolumes> prepare_volumes(VolumeRegistry& registry, const ReplicaId& replica,
                                        const spec::App& app) {
  PreparedVolumes prepared;
  for (const spec::Volume& volume : app.volumes) {
    auto one = prepare_volume(registry, replica, app, volume);
    if (!one) return std::move(one).error();
    prepared.paths.emplace_back(one.value().key, one.value().path);
    prepared.locks.push_back(std::move(one.value().lock));
  }
  return prepared;
}

Result<HeldVolume> hold_volume(const std::string& path) {
  HeldVolume held;
  held.place = volume_place(path);
  auto above = find_file(held.place.above);
  if (!above) return std::move(above).error();
  held.above = std::move(above).value();
  // Before a lock is made: one that nobody made says nothing.
  auto sight = look_at_volume(held.above.get(), held.place.name);
  if (!sight) return std::move(sight).error();
  if (sight.value().kind == VolumeSight::Kind::nothing && sight.value().lock == VolumeSight::Lock::none) {
    held.sight = std::move(sight).value();
    return held;
  }
  auto lock = lock_volume(held.above.get(), held.place.name);
  if (!lock) return std::move(lock).error();
  held.lock = std::move(lock).value();
  auto again = look_at_volume(held.above.get(), held.place.name);
  if (!again) return std::move(again).error();
  held.sight = std::move(again).value();
  return held;
}

Status enroll_volume(VolumeRegistry& registry, VolumeRecord record, const HeldVolume& held) {
  record.path = held.place.path();
  record.id = new_volume_id();
  record.directory = held.sight.directory;
  record.boot_id = registry.boot_id();
  record.uid = held.sight.uid;
  record.gid = held.sight.gid;
  record.removing = false;
  record.made_ms = 0;
  const VolumeStamp stamp{.id = record.id, .directory = record.directory};
  if (Status put = registry.put(std::move(record)); !put) return put;
  return stamp_lock(held.lock.get(), stamp);
}

}  // namespace muster::supervisor
