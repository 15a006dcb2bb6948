// Where spec, socket, state and logs are: the contract's table, for the daemon's side and for its clients.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/limits.h"
#include "base/result.h"
#include "cli/arguments.h"

namespace muster::cli {

inline constexpr std::string_view system_spec = "/etc/muster/muster.toml";
inline constexpr std::string_view system_socket = "/run/muster/muster.sock";
using limits::socket_path_bytes_max;

// What paths are made of.
struct Surroundings {
  std::string cwd;
  uid_t uid = 0;
  std::string runtime_dir;  // $XDG_RUNTIME_DIR where it is a folder; empty: none
};
Surroundings real_surroundings(const Environment& environment);

struct DaemonPaths {
  std::string spec;  // real path
  std::string socket;
  std::string state_dir;
  std::string log_dir;
  std::string run_dir;  // sockets of replicas
};

// `up` without -f reads ./muster.toml, `daemon` without -f the system's. 66 when there is no such file.
Result<DaemonPaths> daemon_paths(const Arguments& arguments, const Surroundings& around);

// "shop-1a2b3c4d": the folder's name and a hash of the spec's real path.
std::string project_id(const std::string& spec_real_path);

// Where a project's daemon listens.
std::string project_socket(const std::string& spec_real_path, const Surroundings& around);

// Where the replicas of the daemon with this control socket have theirs. Replicas that run as another user have to get
// there, which root's own runtime folder does not let them.
std::string run_folder(const std::string& socket_path, const Surroundings& around);

// 64 with the reason when a unix socket cannot have this path.
Status check_socket_path(const std::string& path);

// Makes the folder of a project's socket: 0700. A folder in /tmp that is a symlink, somebody else's or open to
// others is refused.
Status prepare_socket_folder(const std::string& socket_path, const Surroundings& around);

// Where a client looks for its daemon, in this order.
struct SocketCandidate {
  std::string path;
  std::string reason;  // "--socket", "of /srv/shop/muster.toml", "the system's"
};
Result<std::vector<SocketCandidate>> client_candidates(const Arguments& arguments,
                                                       const Surroundings& around);

// Whether a client may trust what listens there: nobody else can have put it into /tmp.
Status check_socket_folder(const std::string& socket_path, const Surroundings& around);

std::string absolute_path(const std::string& path, const std::string& cwd);

}  // namespace muster::cli
