// `end-leftovers [--state-dir DIR]`: for ExecStopPost= of the units, not in the help. The manager says in SERVICE_RESULT
// (systemd.exec(5)) how the service ended: after a crash its replicas wait for the next daemon and are left alone.
#include "cli/commands_run.h"
#include "cli/output.h"
#include "fmt/core.h"
#include "supervisor/cgroup_controllers.h"
#include "supervisor/leftovers.h"

namespace muster::cli {

namespace {
constexpr Millis wait_max{10'000};
constexpr char system_state_dir[] = "/var/lib/muster";

bool waits_for_next(const std::optional<std::string>& result) {
  return result && *result != "success" && *result != "timeout";
}
}  // namespace

int run_end_leftovers(const std::vector<std::string>& words,
                      const std::optional<std::string>& service_result) {
  const bool given = words.size() == 2 && words[0] == "--state-dir" && !words[1].empty();
  if (!words.empty() && !given)
    return fail({.message = "end-leftovers takes nothing but --state-dir DIR", .code = ExitCode::usage});
  // Else systemd could start no daemon beside replicas that live on.
  supervisor::withdraw_controllers_of_unit();
  if (waits_for_next(service_result)) return 0;
  const auto ended = supervisor::end_leftovers(given ? words[1] : system_state_dir, wait_max);
  if (!ended) return fail(ended.error());
  if (ended.value() > 0)
    print(fmt::format("{} replicas that were left running have been killed\n", ended.value()));
  return 0;
}

}  // namespace muster::cli
