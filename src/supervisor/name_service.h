// Users and groups by getpwnam(3), getgrnam(3) and getgrouplist(3), in the exec shim: they may block for long.
#pragma once

#include <optional>
#include <string>

#include "supervisor/shim_order.h"

namespace muster::supervisor {

// "": not asked for. Names or numbers.
std::optional<ShimFailure> look_up_credentials(const std::string& user, const std::string& group,
                                               Credentials& found);

}  // namespace muster::supervisor
