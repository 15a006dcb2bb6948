// Standard output and error of the client's commands.
#pragma once

#include <string_view>

#include "base/result.h"
#include "cli/arguments.h"

namespace muster::cli {

bool stdout_is_terminal();

// Whether colour is due on standard output: a terminal, and nobody said no.
bool colour_wanted(const Arguments& arguments);

void print(std::string_view text);     // as it is; flushed at once
void complain(std::string_view text);  // "muster: TEXT" and a line feed, to standard error

// Complains and gives the exit code.
int fail(const Error& error);
int code_of(ExitCode code);

}  // namespace muster::cli
