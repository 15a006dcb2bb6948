// `rollout status|undo|history APP`.
#include "cli/commands_run.h"
#include "cli/json_view.h"
#include "cli/output.h"
#include "cli/rollout_table.h"
#include "fmt/core.h"

namespace muster::cli {

int run_rollout(const Context& context) {
  const Arguments& arguments = context.arguments;
  const std::string& what = arguments.operands.front();
  if (what == "undo") return run_undo(context);
  auto client = find_daemon(context);
  if (!client) return fail(client.error());
  auto answer = client.value().get("/v1/rollout" + query_text({{"app", arguments.targets.front().app}}));
  if (!answer) return fail(answer.error());
  if (answer.value().status != 200) return fail(refusal(answer.value()));
  const auto parsed = parse_object(answer.value().body);
  if (!parsed) return fail(parsed.error());
  const JsonView rollout(&parsed.value());
  if (arguments.json()) {
    print(answer.value().body + "\n");
  } else {
    const bool colour = colour_wanted(arguments);
    print(what == "history" ? history_table(rollout, colour) : rollout_table(rollout, colour));
  }
  return rollout["failed"].text().empty() || what == "history" ? 0 : code_of(ExitCode::failed);
}

}  // namespace muster::cli
