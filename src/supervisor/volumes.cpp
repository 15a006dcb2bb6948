#include "supervisor/volumes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/fd.h"
#include "fmt/core.h"
#include "supervisor/accounts.h"
#include "supervisor/folders.h"

namespace muster::supervisor {

namespace {

constexpr mode_t passage_mode = 0711;

Error volume_error(const spec::Volume& volume, const std::string& what) {
  return Error{.message = fmt::format("volume {}: {}", volume.key, what)};
}
Error volume_error(const spec::Volume& volume, const std::string& what, int error_number) {
  return volume_error(volume, fmt::format("{}: {}", what, errno_text(error_number)));
}

// The umask applies to mkdir(2); the mode that was asked for is set on the folder that we made ourselves.
Status make_volume(const std::string& path, const spec::Volume& volume, const spec::App& app) {
  if (::mkdir(path.c_str(), 0700) != 0) {
    if (errno != EEXIST) return volume_error(volume, path, errno);
    struct stat found {};
    if (::lstat(path.c_str(), &found) != 0) return volume_error(volume, path, errno);
    if (!S_ISDIR(found.st_mode)) return volume_error(volume, path + " is not a directory");
    return Unit{};
  }
  const Fd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder) return volume_error(volume, path, errno);
  if (!app.user.empty() || !app.group.empty()) {
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
  }
  if (::fchmod(folder.get(), static_cast<mode_t>(volume.mode)) != 0)
    return volume_error(volume, fmt::format("mode of {}", path), errno);
  return Unit{};
}

}  // namespace

std::string volume_path(const std::string& state_dir, const ReplicaId& replica, const spec::Volume& volume) {
  if (volume.path) return fmt::format("{}/{}", *volume.path, replica.ordinal);
  return fmt::format("{}/volumes/{}/{}/{}", state_dir, replica.app, replica.ordinal, volume.name);
}

Result<std::vector<std::pair<std::string, std::string>>> prepare_volumes(const std::string& state_dir,
                                                                         const ReplicaId& replica,
                                                                         const spec::App& app) {
  std::vector<std::pair<std::string, std::string>> paths;
  for (const spec::Volume& volume : app.volumes) {
    const std::string path = volume_path(state_dir, replica, volume);
    const std::string above = path.substr(0, path.rfind('/'));
    if (const Status made = make_folders(above, passage_mode); !made)
      return volume_error(volume, made.error().message);
    if (const Status made = make_volume(path, volume, app); !made) return made.error();
    paths.emplace_back(volume.key, path);
  }
  return paths;
}

}  // namespace muster::supervisor
