#include "cli/output.h"

#include <unistd.h>

#include <cstdio>

#include "fmt/core.h"

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
  fmt::print(stderr, "muster: {}\n", text);
}

int fail(const Error& error) {
  complain(error.message);
  return code_of(error.code);
}

int code_of(ExitCode code) {
  return static_cast<int>(code);
}

}  // namespace muster::cli
