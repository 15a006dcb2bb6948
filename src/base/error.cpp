#include "base/error.h"

#include <cstring>

#include "fmt/core.h"

namespace muster {

std::string errno_text(int error_number) {
  const char* text = strerrordesc_np(error_number);
  return text != nullptr ? text : fmt::format("error {}", error_number);
}

Error system_error(std::string_view what, int error_number) {
  const bool denied = error_number == EPERM || error_number == EACCES;
  return Error{.message = fmt::format("{}: {}", what, errno_text(error_number)),
               .code = denied ? ExitCode::not_permitted : ExitCode::failed,
               .errno_value = error_number};
}

}  // namespace muster
