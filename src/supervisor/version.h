// What this build calls itself.
#pragma once

namespace muster::supervisor {

inline constexpr char version_text[] = MUSTER_VERSION;

}  // namespace muster::supervisor
