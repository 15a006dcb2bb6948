// Which of its roles this process has. The shim comes first: every start of a replica pays for what is before it.
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>

#include "cli/run.h"
#include "supervisor/exec_shim.h"
#include "supervisor/keeper_steps.h"

namespace {
// Closed ones would be given to the next file that is opened, and what is printed would go there.
void fill_standard_streams() {
  int fd = -1;
  do fd = open("/dev/null", O_RDWR);
  while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0) close(fd);
}

// Of a small object: nothing of what runs can be decided any more. The service manager starts the daemon anew, and with
// `on_crash = "keep"` the replicas run on meanwhile.
[[noreturn]] void out_of_memory() {
  constexpr std::string_view text = "muster: out of memory\n";
  static_cast<void>(!write(STDERR_FILENO, text.data(), text.size()));
  std::abort();
}
}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], muster::supervisor::exec_shim_flag) == 0)
    return muster::supervisor::exec_shim_main(argc, argv);
  if (argc == 2 && std::strcmp(argv[1], muster::supervisor::output_keeper_flag) == 0)
    muster::supervisor::keep_output();
  std::set_new_handler(out_of_memory);
  fill_standard_streams();
  return muster::cli::run(argc, argv);
}
