// The command line: everything but the exec shim.
#pragma once

namespace muster::cli {

// The exit code of the process.
int run(int argc, char** argv);

}  // namespace muster::cli
