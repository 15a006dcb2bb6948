#include "supervisor/folders.h"

#include <sys/stat.h>

#include <cerrno>

namespace muster::supervisor {
namespace {

// 0: it is one.
int why_no_folder(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return errno;
  return S_ISDIR(info.st_mode) ? 0 : ENOTDIR;
}

}  // namespace

Status make_folders(const std::string& path, mode_t mode) {
  for (std::size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string part = path.substr(0, end);
    if (mkdir(part.c_str(), mode) != 0) {
      const int error = errno;  // a folder on a read-only disk answers EROFS before EEXIST
      const int why = why_no_folder(part);
      if (why != 0) return system_error("make the folder " + part, error == EEXIST ? why : error);
    }
    if (end == std::string::npos) return Unit{};
  }
}

}  // namespace muster::supervisor
