#include "cli/output.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string>

#include "fmt/core.h"
#include "supervisor/text.h"

namespace muster::cli {

bool stdout_is_terminal() {
  return ::isatty(STDOUT_FILENO) == 1;
}

bool colour_wanted(const Arguments& arguments) {
  return !arguments.no_color && stdout_is_terminal();
}

void print(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

void complain(std::string_view text) {
  // Errors of a spec are several lines; what else is in them may be anybody's.
  std::string lines;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    lines += (at == 0 ? "" : "\n") + supervisor::escape_for_terminal(text.substr(at, end - at));
    at = end + 1;
  }
  fmt::print(stderr, "muster: {}\n", lines);
}

int fail(const Error& error) {
  complain(error.message);
  return code_of(error.code);
}

int code_of(ExitCode code) {
  return static_cast<int>(code);
}

}  // namespace muster::cli
