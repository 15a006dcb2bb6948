#include "supervisor/volumes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "fmt/core.h"
#include "supervisor/accounts.h"
#include "supervisor/safe_path.h"
#include "supervisor/volume_lock.h"

namespace muster::supervisor {

namespace {

constexpr mode_t passage_mode = 0711;

Error volume_error(const spec::Volume& volume, const std::string& what) {
  return Error{.message = fmt::format("volume {}: {}", volume.key, what)};
}
Error volume_error(const spec::Volume& volume, const std::string& what, int error_number) {
  return volume_error(volume, fmt::format("{}: {}", what, errno_text(error_number)));
}

struct Place {
  std::string above;
  std::string name;
  [[nodiscard]] std::string path() const { return above + "/" + name; }
};

Place place_of(const std::string& state_dir, const ReplicaId& replica, const spec::Volume& volume) {
  if (volume.path) return {*volume.path, std::to_string(replica.ordinal)};
  return {fmt::format("{}/volumes/{}/{}", state_dir, replica.app, replica.ordinal), volume.name};
}

Status hand_over(const Fd& folder, const std::string& path, const spec::Volume& volume,
                 const spec::App& app) {
  if (app.user.empty() && app.group.empty()) return Unit{};
  const auto account = find_account(app.user);
  if (!account) return volume_error(volume, fmt::format("no such user: {}", app.user));
  gid_t gid = account->gid;
  if (!app.group.empty()) {
    const auto group = find_group(app.group);
    if (!group) return volume_error(volume, fmt::format("no such group: {}", app.group));
    gid = *group;
  }
  if (::fchown(folder.get(), account->uid, gid) != 0)
    return volume_error(volume, fmt::format("owner of {}", path), errno);
  return Unit{};
}

// The umask applies to mkdir(2); the mode that was asked for is set on the folder that we made ourselves.
Status make_volume(const Fd& above, const Place& place, const spec::Volume& volume, const spec::App& app) {
  const std::string path = place.path();
  const char* const name = place.name.c_str();
  if (::mkdirat(above.get(), name, 0700) != 0) {
    if (errno != EEXIST) return volume_error(volume, path, errno);
    struct stat found {};
    if (::fstatat(above.get(), name, &found, AT_SYMLINK_NOFOLLOW) != 0)
      return volume_error(volume, path, errno);
    if (!S_ISDIR(found.st_mode)) return volume_error(volume, path + " is not a directory");
    return Unit{};
  }
  const Fd folder(::openat(above.get(), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder) return volume_error(volume, path, errno);
  // Where the app's user may write above it, another folder can have taken its place by now.
  if (!is_untouched_folder(folder.get())) return volume_error(volume, path + " was replaced as it was made");
  if (const Status handed = hand_over(folder, path, volume, app); !handed) return handed;
  if (::fchmod(folder.get(), static_cast<mode_t>(volume.mode)) != 0)
    return volume_error(volume, fmt::format("mode of {}", path), errno);
  return Unit{};
}

Result<Fd> prepare_one(const Place& place, const ReplicaId& replica, const spec::Volume& volume,
                       const spec::App& app) {
  const auto above = open_or_make_folder(place.above, passage_mode);
  if (!above) return volume_error(volume, above.error().message);
  auto lock = lock_volume(above.value().get(), place.name);
  if (!lock && lock.error().errno_value == EWOULDBLOCK)
    return Error{
        .message = fmt::format("volume {} of {} is {}", volume.key, to_string(replica), lock.error().message),
        .errno_value = EWOULDBLOCK};
  if (!lock) return volume_error(volume, fmt::format("{}/{}", place.above, lock.error().message));
  if (const Status made = make_volume(above.value(), place, volume, app); !made) return made.error();
  return lock;
}

}  // namespace

std::string volume_path(const std::string& state_dir, const ReplicaId& replica, const spec::Volume& volume) {
  return place_of(state_dir, replica, volume).path();
}

Result<PreparedVolumes> prepare_volumes(const std::string& state_dir, const ReplicaId& replica,
                                        const spec::App& app) {
  PreparedVolumes prepared;
  for (const spec::Volume& volume : app.volumes) {
    const Place place = place_of(state_dir, replica, volume);
    auto lock = prepare_one(place, replica, volume, app);
    if (!lock) return std::move(lock).error();
    prepared.paths.emplace_back(volume.key, place.path());
    prepared.locks.push_back(std::move(lock).value());
  }
  return prepared;
}

}  // namespace muster::supervisor
