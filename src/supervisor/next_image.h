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
#include "supervisor/planner.h"
#include "supervisor/process_host.h"

namespace muster::supervisor {

// `muster --check-handover FILE up|daemon SPEC RUN_DIR APP…`: whether this build takes the handover in FILE, the state
// behind it, and the spec as that role would.
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

struct HandoverQuestion {
  std::string file;
  RunMode mode = RunMode::daemon;
  std::string spec_path;
  std::string run_dir;
  std::vector<std::string> only_apps = {};
};
std::vector<std::string> question_words(const std::string& binary, const HandoverQuestion& question);

// `words` behind the flag. The exit code and, on standard output, what a next image of this build would do about it.
int check_handover_main(const std::vector<std::string>& words, std::vector<std::string> environment);

// What `--check-handover` answered. The value is the version of the binary; the error's code is its own.
Result<std::string> verdict_of(const std::string& path, const CommandResult& result);

// Becomes the binary at image.path. Returns only when that failed, with everything as it was.
Error become(const StartImage& image, std::vector<std::string> environment, const DaemonHandover& handover,
             const lb::Handover& traffic);

}  // namespace muster::supervisor
