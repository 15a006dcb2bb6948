#include "cli/rollout_table.h"

#include "cli/tables.h"
#include "fmt/core.h"
#include "supervisor/text.h"

namespace muster::cli {

using supervisor::escape_for_terminal;

std::string rollout_table(JsonView rollout, bool colour) {
  const std::string name = rollout["app"].text();
  const std::string state = rollout["state"].text();
  std::string text =
      fmt::format("{}: {}, revision {}, {} of {} ready\n", coloured(name, app_colour(name), colour),
                  coloured(escape_for_terminal(state), state_colour(state), colour),
                  rollout["revision"].whole().value_or(0), rollout["ready"].whole().value_or(0),
                  rollout["desired"].whole().value_or(0));
  const auto line = [&](std::string_view label, const std::string& sentence) {
    if (!sentence.empty()) text += fmt::format("{}{}\n", label, escape_for_terminal(sentence));
  };
  line("waits for ", rollout["waits_for"].text());
  line("", rollout["failed"].text());
  line("held: ", rollout["hold"].text());
  Table table({"REVISION", "READY", "PROCESSES", ""});
  rollout["revisions"].each([&](JsonView row) {
    table.add({{fmt::format("{}", row["revision"].whole().value_or(0))},
               {fmt::format("{}", row["ready"].whole().value_or(0))},
               {fmt::format("{}", row["processes"].whole().value_or(0))},
               {row["in_force"].truth() ? "in force" : ""}});
  });
  return text + "\n" + table.text(colour);
}

std::string history_table(JsonView rollout, bool colour) {
  Table table({"REVISION", "SINCE", "STATE", "CHANGED", "REASON"});
  rollout["history"].each([&](JsonView row) {
    std::string changed;
    row["changed"].each([&](JsonView key) { changed += (changed.empty() ? "" : ", ") + key.text(); });
    const std::string state = row["state"].text();
    const Colour shade = state == "failed"         ? Colour::red
                         : row["in_force"].truth() ? Colour::green
                                                   : Colour::none;
    table.add({{fmt::format("{}", row["revision"].whole().value_or(0))},
               {row["since"].text()},
               {state, shade},
               {changed},
               {row["reason"].text()}});
  });
  return table.text(colour);
}

}  // namespace muster::cli
