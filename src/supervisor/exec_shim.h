// The exec shim: a fresh, single-threaded process between the daemon's clone and the app's exec. It may block, look up
// users and fail; the daemon only reads one pipe. Two programs take this part: `muster --exec-shim FD`, and
// `muster-shim --exec-shim FD` (shim_main.cpp), which has no C library, starts in a quarter of the time and can look
// up nobody. Both go through the steps of shim_steps.h.
#pragma once

namespace muster::supervisor {

inline constexpr char exec_shim_flag[] = "--exec-shim";

// Becomes the app of the order in the memfd, or reports "step + errno" over the CLOEXEC pipe and ends. Returns an
// exit status when there is no order.
int exec_shim_main(int argc, char** argv);

}  // namespace muster::supervisor
