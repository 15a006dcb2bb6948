// An expected failure as a value: one sentence for a person, an exit code by sysexits(3), the errno behind
// it.
#pragma once

#include <string>
#include <string_view>

namespace muster {

enum class ExitCode : int {
  ok = 0,
  failed = 1,
  plan_has_changes = 2,
  usage = 64,
  bad_spec = 65,
  no_spec = 66,
  unreachable = 69,
  timed_out = 75,
  not_permitted = 77,
};

struct Error {
  std::string message;
  ExitCode code = ExitCode::failed;
  int errno_value = 0;  // 0 when no system call stands behind it
};

// "WHAT: Connection refused"; `error_number` is an errno.
Error system_error(std::string_view what, int error_number);

// The text of an errno, thread-safe (strerrordesc_np).
std::string errno_text(int error_number);

}  // namespace muster
