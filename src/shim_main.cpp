// The small exec shim, a program of its own: linked statically and without name services, so that it starts quickly.
#include "supervisor/exec_shim.h"

int main(int argc, char** argv) {
  return muster::supervisor::exec_shim_main(argc, argv, nullptr);
}
