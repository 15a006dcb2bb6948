#include "base/local_peer.h"

#include <sys/socket.h>
#include <sys/stat.h>

#include <string>

namespace muster {

bool is_of_folder_owner(int connected, const char* path) {
  std::string folder(path);
  folder.resize(folder.rfind('/') == std::string::npos ? 0 : folder.rfind('/') + 1);
  struct stat info {};
  if (::stat(folder.c_str(), &info) != 0) return false;
  if (info.st_uid == 0) return true;
  ucred listener{};
  socklen_t size = sizeof listener;
  return ::getsockopt(connected, SOL_SOCKET, SO_PEERCRED, &listener, &size) == 0 &&
         listener.uid == info.st_uid;
}

}  // namespace muster
