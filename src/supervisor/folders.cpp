#include "supervisor/folders.h"

#include <sys/stat.h>

#include <cerrno>

namespace muster::supervisor {
namespace {

bool is_folder(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

}  // namespace

Status make_folders(const std::string& path, mode_t mode) {
  for (std::size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string part = path.substr(0, end);
    if (mkdir(part.c_str(), mode) != 0) {
      const int error = errno;  // a folder on a read-only disk answers EROFS before EEXIST
      if (!is_folder(part)) return system_error("make the folder " + part, error == EEXIST ? ENOTDIR : error);
    }
    if (end == std::string::npos) return Unit{};
  }
}

}  // namespace muster::supervisor
