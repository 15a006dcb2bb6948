// The test program is also the exec shim of the processes it starts, as the muster binary is; and a small daemon that
// can be killed.
#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "host_rig.h"
#include "supervisor/exec_shim.h"

int main(int argc, char** argv) {
  using namespace muster::supervisor;
  if (argc > 1 && std::strcmp(argv[1], exec_shim_flag) == 0) return exec_shim_main(argc, argv);
  if (argc > 3 && std::strcmp(argv[1], victim_flag) == 0)
    return victim_main(argv[2], argv[3], argc > 4 ? argv[4] : "", argc > 5 ? argv[5] : "");
  if (argc > 4 && std::strcmp(argv[1], without_flag) == 0)
    return without_main(std::stoi(argv[2]), argv[3], argv[4]);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
