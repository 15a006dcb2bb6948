// The test program is also the exec shim of the processes it starts, as the muster binary is.
#include <gtest/gtest.h>

#include <cstring>

#include "supervisor/process_host.h"

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], muster::supervisor::exec_shim_flag) == 0) {
    return muster::supervisor::exec_shim_main(argc, argv);
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
