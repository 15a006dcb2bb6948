// Deadlines of a daemon that was itself stopped.
#pragma once

#include "base/time.h"

namespace muster {

// A deadline that is looked at so much later than it was due says that the daemon was stopped (SIGSTOP, a frozen
// container, no processor for it), not that somebody else was slow.
inline constexpr Millis late_look{100};

}  // namespace muster
