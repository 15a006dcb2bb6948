// `plan`: what the file as it is now would change, before anything does.
#include <unistd.h>

#include <chrono>

#include "cli/commands_run.h"
#include "cli/json_view.h"
#include "cli/output.h"
#include "cli/plan_table.h"
#include "spec/load.h"
#include "supervisor/plan.h"

namespace muster::cli {

namespace {

int show(const Context& context, const std::string& body, bool appliable) {
  const auto parsed = parse_object(body);
  if (!parsed) return fail(parsed.error());
  const JsonView plan(&parsed.value());
  const auto code = static_cast<int>(plan["code"].whole().value_or(1));
  if (context.arguments.json()) {
    print(body + "\n");
  } else if (const std::string message = plan["message"].text(); !message.empty()) {
    complain(message);
  } else {
    print(plan_table(plan, {.wide = context.arguments.output == Output::wide,
                            .colour = colour_wanted(context.arguments),
                            .appliable = appliable}));
  }
  return code;
}

// Against nothing: what a daemon that has just started would do.
int plan_offline(const Context& context) {
  const auto paths = daemon_paths(context.arguments, context.around);
  if (!paths) return fail(paths.error());
  spec::Loaded loaded = load_as_its_daemon(context, paths.value());
  if (!loaded.spec) {
    std::string errors;
    for (const spec::Diagnostic& found : loaded.diagnostics) errors += spec::render(found);
    complain(errors.substr(0, errors.find_last_not_of('\n') + 1));
    return code_of(loaded.exit_code);
  }
  const bool system = paths.value().spec == system_spec;
  supervisor::PlannerOptions options;
  options.mode = system ? supervisor::RunMode::daemon : supervisor::RunMode::up;
  const supervisor::Planner nothing(std::move(options));
  const supervisor::Now now{.mono = std::chrono::steady_clock::now(),
                            .wall = std::chrono::system_clock::now()};
  const auto fresh = std::make_shared<const spec::Spec>(std::move(*loaded.spec));
  return show(context, supervisor::plan_json(supervisor::make_plan(nothing, fresh, now, {})), false);
}

}  // namespace

int run_plan(const Context& context) {
  if (context.arguments.offline) return plan_offline(context);
  auto client = find_daemon(context);
  if (!client) return fail(client.error());
  auto answer = client.value().get("/v1/plan");
  if (!answer) return fail(answer.error());
  if (answer.value().status != 200) return fail(refusal(answer.value()));
  return show(context, answer.value().body, true);
}

}  // namespace muster::cli
