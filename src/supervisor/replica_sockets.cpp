#include "supervisor/replica_sockets.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "base/fd.h"
#include "base/limits.h"
#include "fmt/core.h"
#include "spec/spec.h"
#include "supervisor/folders.h"

namespace muster::supervisor {

namespace fs = std::filesystem;

namespace {
constexpr mode_t passage_mode = 0711;  // other users reach their own folders
constexpr mode_t own_mode = 0700;

void remove_all(const std::string& path) {
  std::error_code ignored;
  fs::remove_all(path, ignored);
}
}  // namespace

ReplicaSockets::~ReplicaSockets() {
  if (made_) ::rmdir(folder_.c_str());  // what is in it is of processes that outlive us
}

Status ReplicaSockets::make_run_folder() {
  if (made_) return Unit{};
  if (Status made = make_folders(folder_, passage_mode); !made) return made;
  struct stat info {};
  if (::lstat(folder_.c_str(), &info) != 0) return system_error(folder_, errno);
  if (!S_ISDIR(info.st_mode) || info.st_uid != ::geteuid() || (info.st_mode & 022U) != 0)
    return Error{.message = fmt::format("{} must be a folder that only muster's user can write to", folder_)};
  std::error_code problem;
  for (const fs::directory_entry& left : fs::directory_iterator(folder_, problem)) {
    const std::string path = left.path().string();
    const bool of_output = left.path().filename() == "output";  // those of OutputFifos
    if (!of_output && std::ranges::none_of(folders_, [&](const auto& kept) { return kept.second == path; }))
      remove_all(path);
  }
  made_ = true;
  return Unit{};
}

Result<std::string> ReplicaSockets::open(InstanceId instance, const ReplicaId& replica, uid_t uid,
                                         gid_t gid) {
  if (Status made = make_run_folder(); !made) return std::move(made).error();
  std::string path = spec::socket_path(folder_, replica.app, replica.ordinal, raw(instance));
  if (path.size() > limits::socket_path_bytes_max)
    return Error{.message = fmt::format("the path of the socket {} has {} bytes and may have {}", path,
                                        path.size(), limits::socket_path_bytes_max)};
  const std::string folder = path.substr(0, path.rfind('/'));
  if (::mkdir(folder.c_str(), own_mode) != 0) return system_error("make the folder " + folder, errno);
  folders_[instance] = folder;
  const Fd opened(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!opened || ::fchmod(opened.get(), own_mode) != 0 || ::fchown(opened.get(), uid, gid) != 0) {
    const int error = errno;
    close(instance);
    return system_error("hand over the folder " + folder, error);
  }
  return path;
}

void ReplicaSockets::keep(InstanceId instance, const std::string& path) {
  folders_[instance] = path.substr(0, path.rfind('/'));
}

void ReplicaSockets::close(InstanceId instance) {
  const auto at = folders_.find(instance);
  if (at == folders_.end()) return;
  remove_all(at->second);
  folders_.erase(at);
}

}  // namespace muster::supervisor
