// The exec shim: a fresh, single-threaded process between the daemon's clone and the app's exec. It may allocate,
// look up users and fail; the daemon only reads one pipe. Two programs take this part: `muster --exec-shim FD`, and
// `muster-shim --exec-shim FD`, which is small and static, starts in a third of the time and knows no name services.
#pragma once

#include <optional>

#include "supervisor/shim_order.h"

namespace muster::supervisor {

inline constexpr char exec_shim_flag[] = "--exec-shim";

// By getpwnam(3), getgrnam(3) and getgrouplist(3).
using CredentialLookUp = std::optional<ShimFailure> (*)(const ShimOrder& order, Credentials& found);
std::optional<ShimFailure> look_up_credentials(const ShimOrder& order, Credentials& found);

// Reads its order from the memfd, sets the process up step by step, execs. Reports "step + errno" over the CLOEXEC
// pipe when a step fails, and returns only then. Without `look_up` only orders that need none can be carried out.
int exec_shim_main(int argc, char** argv, CredentialLookUp look_up);

}  // namespace muster::supervisor
