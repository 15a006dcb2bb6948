// The installed binary as the daemon's next image: how this process was started, what the binary says to a handover, and
// execve(2) into it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "supervisor/handover.h"
#include "supervisor/process_host.h"

namespace muster::supervisor {

// `muster --check-handover FILE`: whether this build takes the handover in FILE, and the state behind it.
inline constexpr char check_handover_flag[] = "--check-handover";
inline constexpr char handover_variable[] = "MUSTER_HANDOVER";  // the number of a memfd

// As main() was called; the next image is started by it.
struct StartImage {
  std::string path;  // absolute: of the installed binary, whatever it is by then
  std::vector<std::string> argv;
};

// argv[0] as execvp(3) would find it now, before anybody changes the folder.
StartImage start_image(int argc, char** argv);

// What a first image left, taken out of the environment; none: this is a first start.
Result<std::optional<DaemonHandover>> take_handover();

// The exit code and, on standard output, what take_handover() of this build will do about the file.
int check_handover_main(const std::string& path);

// What `--check-handover` answered. The value is the version of the binary.
Result<std::string> verdict_of(const std::string& path, const CommandResult& result);

// Becomes the binary at image.path. Returns only when that failed, with everything as it was.
Error become(const StartImage& image, std::vector<std::string> environment, const DaemonHandover& handover,
             const lb::Handover& traffic);

}  // namespace muster::supervisor
