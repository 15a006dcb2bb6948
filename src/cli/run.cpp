#include "cli/run.h"

#include <unistd.h>

#include <chrono>
#include <cstdlib>

#include "cli/arguments.h"
#include "cli/commands_run.h"
#include "cli/output.h"
#include "supervisor/next_image.h"

namespace muster::cli {

namespace {

std::optional<std::string> real_environment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value != nullptr ? std::optional<std::string>(value) : std::nullopt;
}

std::vector<std::string> environment_as_started() {
  std::vector<std::string> entries;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) entries.emplace_back(*entry);
  return entries;
}

int run_command(const Context& context) {
  switch (context.arguments.command()) {
    case Command::up:
      return run_up(context);
    case Command::daemon:
      return run_daemon(context);
    case Command::check:
      return run_check(context);
    case Command::plan:
      return run_plan(context);
    case Command::apply:
      return run_apply(context);
    case Command::ps:
      return run_ps(context);
    case Command::logs:
      return run_logs(context);
    case Command::events:
      return run_events(context);
    case Command::why:
      return run_why(context);
    case Command::start:
    case Command::stop:
    case Command::restart:
    case Command::scale:
    case Command::drain:
    case Command::undrain:
    case Command::pause:
    case Command::resume:
      return run_targets(context);
    case Command::rollout:
      return run_rollout(context);
    case Command::run:
      return run_job(context);
    case Command::volumes:
      return run_volumes(context);
    case Command::upgrade:
      return run_upgrade(context);
    case Command::down:
      return run_down(context);
    case Command::demo:
      return run_demo(context);
    case Command::doctor:
      return run_doctor(context);
    case Command::completion:
      return run_completion(context);
    case Command::version:
      return run_version(context);
  }
  return code_of(ExitCode::usage);
}

}  // namespace

int run(int argc, char** argv) {
  std::vector<std::string> words(argv + (argc > 0 ? 1 : 0), argv + argc);
  if (!words.empty() && words.front() == supervisor::check_handover_flag)
    return supervisor::check_handover_main({words.begin() + 1, words.end()}, environment_as_started());
  auto image = std::make_shared<const supervisor::StartImage>(supervisor::start_image(argc, argv));
  auto left = supervisor::take_handover();
  if (!left) return fail(left.error());
  std::shared_ptr<supervisor::DaemonHandover> handover;
  if (left.value()) handover = std::make_shared<supervisor::DaemonHandover>(std::move(*left.value()));
  if (words.size() == 1 && (words.front() == "--version" || words.front() == "-V")) words.front() = "version";
  if (!words.empty() && words.front() == "simulate")
    return run_simulate({words.begin() + 1, words.end()}, environment_as_started());
  if (!words.empty() && words.front() == "end-leftovers")
    return run_end_leftovers({words.begin() + 1, words.end()}, real_environment("SERVICE_RESULT"));
  auto arguments = parse_arguments(std::move(words), real_environment, std::chrono::system_clock::now());
  if (!arguments) return fail(arguments.error());
  if (arguments.value().help) {
    const CommandRow* row = arguments.value().row;
    print(row != nullptr ? command_help(*row) : general_help());
    return 0;
  }
  return run_command({.arguments = std::move(arguments).value(),
                      .around = real_surroundings(real_environment),
                      .environment = environment_as_started(),
                      .image = std::move(image),
                      .handover = std::move(handover)});
}

}  // namespace muster::cli
