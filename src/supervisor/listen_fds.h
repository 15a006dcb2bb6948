// Socket activation, sd_listen_fds(3): the listening sockets that the service manager passed, by name.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace muster::supervisor {

struct ListenFdsVariables {
  std::optional<std::string> pid, fds, names;  // LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES
};

// Descriptor numbers 3… with their names ("unknown" where the manager gave none; one name may come more than
// once). Empty when they are not for `pid`. Pure.
Result<std::vector<std::pair<std::string, int>>> parse_listen_fds(const ListenFdsVariables& variables,
                                                                  int pid);

// Takes them over: CLOEXEC is set, the three variables are removed from the environment. Call once, early, before
// other descriptors are opened.
Result<std::vector<std::pair<std::string, Fd>>> take_listen_fds();
// An earlier image has taken them: the variables alone are removed.
void forget_listen_fds();

}  // namespace muster::supervisor
