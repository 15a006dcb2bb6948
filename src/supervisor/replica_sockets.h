// `port = "unix"`: each process has a folder of its own below the daemon's run folder, in which it makes its socket and
// which nobody but its user can enter. For the control thread.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>

#include "base/ids.h"
#include "base/result.h"

namespace muster::supervisor {

class ReplicaSockets {
 public:
  // `folder` belongs to this daemon alone, and is made when it is needed first; what an earlier daemon left in it, and
  // nobody keeps, is removed then.
  explicit ReplicaSockets(std::string folder) : folder_(std::move(folder)) {}
  ~ReplicaSockets();
  ReplicaSockets(const ReplicaSockets&) = delete;
  ReplicaSockets& operator=(const ReplicaSockets&) = delete;

  // Makes the folder of one process, for this user; the result is the path at which it is to listen. Nothing is there.
  Result<std::string> open(InstanceId instance, const ReplicaId& replica, uid_t uid, gid_t gid);
  // The socket of a process that another daemon has started. Before any open().
  void keep(InstanceId instance, const std::string& path);
  // Removes the folder with whatever the process left in it.
  void close(InstanceId instance);

 private:
  Status make_run_folder();

  std::string folder_;
  bool made_ = false;
  std::map<InstanceId, std::string> folders_;
};

}  // namespace muster::supervisor
