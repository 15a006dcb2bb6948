// The text of sd_notify(3) messages from replicas. Pure.
#pragma once

#include <string_view>

#include "supervisor/event.h"

namespace muster::supervisor {

// The lines of one datagram that muster knows: READY, STOPPING, STATUS, WATCHDOG, EXTEND_TIMEOUT_USEC. Others, and
// values that cannot be read, are ignored.
Notified parse_notification(InstanceId instance, std::string_view datagram);

}  // namespace muster::supervisor
