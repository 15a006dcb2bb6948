// The test program is also the keeper of the output that it makes, as the muster binary is.
#include <gtest/gtest.h>

#include <cstring>

#include "supervisor/keeper_steps.h"

int main(int argc, char** argv) {
  using namespace muster::supervisor;
  if (argc == 2 && std::strcmp(argv[1], output_keeper_flag) == 0) keep_output();
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
