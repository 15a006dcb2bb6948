#include "supervisor/event.h"

#include <csignal>
#include <cstring>

#include "fmt/core.h"

namespace muster::supervisor {

std::string signal_name(int signal_number) {
  const char* name = sigabbrev_np(signal_number);
  return name != nullptr ? std::string("SIG") + name : fmt::format("signal {}", signal_number);
}

std::string describe(const ExitStatus& status) {
  if (status.oom) return "killed: out of memory";
  if (status.signal) {
    return fmt::format("killed by {}{}", signal_name(*status.signal), status.core ? " (core dumped)" : "");
  }
  if (status.code) return fmt::format("exited with status {}", *status.code);
  return "ended; its exit status is unknown";
}

}  // namespace muster::supervisor
