// What each command does: the exit code is the result. Named in run.cpp's table.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/arguments.h"
#include "cli/client.h"
#include "cli/paths.h"
#include "spec/load.h"

namespace muster::supervisor {
struct StartImage;
struct DaemonHandover;
}  // namespace muster::supervisor

namespace muster::cli {

struct Context {
  Arguments arguments;
  Surroundings around;
  std::vector<std::string> environment;                           // as the process was started, "NAME=value"
  std::shared_ptr<const supervisor::StartImage> image = nullptr;  // by which the daemon starts its next image
  std::shared_ptr<supervisor::DaemonHandover> handover = nullptr;  // that an earlier image left to this one
};

// run_daemon_command.cpp
int run_up(const Context& context);
int run_daemon(const Context& context);
// check_command.cpp
int run_check(const Context& context);
spec::Loaded load_as_its_daemon(const Context& context, const DaemonPaths& paths);
// plan_command.cpp
int run_plan(const Context& context);
// change_commands.cpp
int run_apply(const Context& context);
int run_job(const Context& context);
int run_targets(const Context& context);  // start stop restart scale drain undrain
int run_undo(const Context& context);     // rollout undo
int run_upgrade(const Context& context);
int run_down(const Context& context);
// To /v1/volumes/adopt or rm; `what` is what was asked for: "volumes rm db/0/data".
int post_volume(const Context& context, const Client& client, const std::string& to, const std::string& what,
                const std::string& path);
// volumes_command.cpp
int run_volumes(const Context& context);
// rollout_command.cpp
int run_rollout(const Context& context);
// ask_commands.cpp
int run_ps(const Context& context);
int run_logs(const Context& context);
int run_events(const Context& context);
int run_why(const Context& context);
int run_version(const Context& context);
// simulate_command.cpp; takes the words after the command, as it has no row in the table yet
int run_simulate(const std::vector<std::string>& words, std::vector<std::string> environment);
// Without a result as if the service had ended in order.
int run_end_leftovers(const std::vector<std::string>& words,
                      const std::optional<std::string>& service_result);
// completion.cpp
int run_completion(const Context& context);
// doctor.cpp, demo.cpp
int run_doctor(const Context& context);
int run_demo(const Context& context);

Result<Client> find_daemon(const Context& context);

}  // namespace muster::cli
