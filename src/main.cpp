// Which of its three roles this process has. The shim comes first: every start of a replica pays for what is before it.
#include <cstring>

#include "cli/run.h"
#include "supervisor/exec_shim.h"

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], muster::supervisor::exec_shim_flag) == 0)
    return muster::supervisor::exec_shim_main(argc, argv);
  return muster::cli::run(argc, argv);
}
