#include "supervisor/event.h"

#include <csignal>
#include <cstring>

#include "fmt/core.h"
#include "spec/fields.h"

namespace muster::supervisor {

std::string signal_name(int signal_number) {
  const char* name = sigabbrev_np(signal_number);
  return name != nullptr ? std::string("SIG") + name : fmt::format("signal {}", signal_number);
}

std::string describe(const ExitStatus& status) {
  if (status.oom) {
    // Without a limit of its own it was the host, or a group above.
    const std::string limit =
        status.oom_limit ? fmt::format(" (limit {})", spec::size_text(*status.oom_limit)) : "";
    return "killed by the kernel: out of memory" + limit;
  }
  if (status.signal) {
    return fmt::format("killed by {}{}", signal_name(*status.signal), status.core ? " (core dumped)" : "");
  }
  if (status.code) return fmt::format("exited with status {}", *status.code);
  return "ended; its exit status is unknown";
}

}  // namespace muster::supervisor
