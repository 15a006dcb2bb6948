#include "cli/plan_table.h"

#include <algorithm>
#include <map>

#include "cli/tables.h"
#include "fmt/core.h"
#include "supervisor/text.h"

namespace muster::cli {

using supervisor::escape_for_terminal;

namespace {

constexpr std::size_t replicas_shown_max = 20;
constexpr std::size_t key_width_max = 24;

struct Mark {
  std::string_view sign;
  Colour colour;
};

Mark mark_of(const std::string& change) {
  if (change == "added") return {"+", Colour::green};
  if (change == "removed") return {"-", Colour::red};
  if (change == "changed") return {"~", Colour::yellow};
  return {" ", Colour::none};
}

std::string shown(JsonView value) {
  if (value.is_null()) return "(not set)";
  const std::string text = escape_for_terminal(value.text());
  return text.empty() ? "\"\"" : text;
}

// The changed keys, one a line, those that need new processes marked.
std::string field_lines(JsonView fields, bool restarts_told) {
  std::size_t width = 0;
  fields.each([&](JsonView field) { width = std::max(width, code_points(field["key"].text())); });
  width = std::min(width, key_width_max);
  std::string text;
  fields.each([&](JsonView field) {
    const std::string key = escape_for_terminal(field["key"].text());
    const std::size_t pad = width > code_points(key) ? width - code_points(key) : 0;
    text += fmt::format("    {}{}  {} -> {}", key, std::string(pad, ' '), shown(field["before"]),
                        shown(field["after"]));
    if (restarts_told) text += field["restarts"].truth() ? "  (new revision)" : "  (live)";
    text += "\n";
  });
  return text;
}

std::string plural(std::int64_t count, std::string_view word) {
  return fmt::format("{} {}{}", count, word, count == 1 ? "" : "s");
}

std::string length_text(double seconds) {
  return seconds < 10 ? fmt::format("{:.1f} s", seconds) : short_age(seconds);
}

std::map<std::string, int> counts(JsonView app) {
  std::map<std::string, int> by_action;
  app["replicas"].each([&](JsonView row) { ++by_action[row["action"].text()]; });
  return by_action;
}

// "4 to replace, rolling: surge 1, unavailable 1; never fewer than 3 of 4 ready; about 5.0 s"
std::string course_line(JsonView app) {
  std::string text;
  const auto add = [&text](const std::string& part, std::string_view between) {
    text += (text.empty() ? "" : std::string(between)) + part;
  };
  auto by_action = counts(app);
  for (const char* action : {"start", "replace", "stop"}) {
    if (by_action[action] > 0) add(fmt::format("{} to {}", by_action[action], action), ", ");
  }
  if (text.empty()) return "";
  if (const std::string strategy = app["strategy"].text(); !strategy.empty()) add(strategy, ", ");
  const auto ready = app["ready"].whole().value_or(0);
  const auto wanted = app["wanted"].whole().value_or(0);
  if (ready > 0 && wanted > 0)
    add(fmt::format("never fewer than {} of {} ready", app["ready_min"].whole().value_or(0), wanted), "; ");
  add("about " + length_text(app["takes_s"].number().value_or(0)), "; ");
  return "    " + text + "\n";
}

std::string replica_lines(JsonView app, bool wide) {
  std::string text;
  std::size_t count = 0;
  app["replicas"].each([&](JsonView row) {
    if (++count > replicas_shown_max && !wide) return;
    text += fmt::format("      {:<8} {}  {}\n", row["action"].text(), row["id"].text(),
                        escape_for_terminal(row["why"].text()));
  });
  if (count > replicas_shown_max && !wide)
    text += fmt::format("      and {} more; -o wide shows them\n", count - replicas_shown_max);
  return text;
}

std::string headline(JsonView app) {
  const std::string change = app["change"].text();
  if (change == "added") return plural(app["wanted"].whole().value_or(0), "replica");
  if (change == "removed") return "no longer in the file";
  const auto now = app["revision"].whole().value_or(0);
  const auto then = app["next_revision"].whole().value_or(0);
  return now == then ? fmt::format("revision {} stays", now) : fmt::format("revision {} -> {}", now, then);
}

std::string app_text(JsonView app, const PlanTableOptions& options) {
  const Mark mark = mark_of(app["change"].text());
  std::string text = fmt::format("{} {}: {}\n", coloured(std::string(mark.sign), mark.colour, options.colour),
                                 app["name"].text(), headline(app));
  text += field_lines(app["fields"], true);
  if (const std::string hold = app["hold"].text(); !hold.empty())
    text += fmt::format("    held: {}\n", escape_for_terminal(hold));
  if (const std::string failed = app["failed"].text(); !failed.empty())
    text += fmt::format("    {}; `apply --retry` tries it again\n", escape_for_terminal(failed));
  text += course_line(app);
  return text + replica_lines(app, options.wide);
}

std::string job_text(JsonView job, const PlanTableOptions& options) {
  const std::string change = job["change"].text();
  const Mark mark = mark_of(change);
  std::string text =
      fmt::format("{} job {}{}\n", coloured(std::string(mark.sign), mark.colour, options.colour),
                  job["name"].text(), change == "removed" ? ": no longer in the file" : "");
  text += field_lines(job["fields"], false);
  job["runs"].each(
      [&](JsonView why) { text += fmt::format("    begins: {}\n", escape_for_terminal(why.text())); });
  return text;
}

std::string listener_text(JsonView listener, const PlanTableOptions& options) {
  const std::string change = listener["change"].text();
  const Mark mark = mark_of(change);
  std::string text =
      fmt::format("{} listener {}", coloured(std::string(mark.sign), mark.colour, options.colour),
                  listener["name"].text());
  if (change == "changed") return text + "\n" + field_lines(listener["fields"], false);
  if (change == "removed") return text + ": no longer in the file\n";
  listener["fields"].each([&](JsonView field) {
    if (field["key"].text() == "bind") text += ": " + escape_for_terminal(field["after"].text());
  });
  return text + "\n";
}

std::string drift_text(JsonView drift, const PlanTableOptions& options) {
  const std::string app = drift["app"].text();
  const auto ordinal = drift["ordinal"].whole();
  const std::string who = app.empty() ? "muster" : ordinal ? fmt::format("{}/{}", app, *ordinal) : app;
  return fmt::format("{} {}: {}\n", coloured("!", Colour::yellow, options.colour), who,
                     escape_for_terminal(drift["text"].text()));
}

}  // namespace

std::string plan_table(JsonView plan, const PlanTableOptions& options) {
  std::string text;
  plan["apps"].each([&](JsonView app) { text += app_text(app, options); });
  plan["jobs"].each([&](JsonView job) { text += job_text(job, options); });
  plan["listeners"].each([&](JsonView listener) { text += listener_text(listener, options); });
  if (plan["daemon"].size() > 0)
    text += fmt::format("{} daemon\n", coloured("~", Colour::yellow, options.colour)) +
            field_lines(plan["daemon"], false);
  plan["drift"].each([&](JsonView drift) { text += drift_text(drift, options); });
  if (!text.empty()) text += "\n";
  if (!plan["whole"].truth())
    text += "the course is longer than two hours or too many steps: what comes later is not shown\n";
  const std::string id = plan["id"].text();
  text += fmt::format("plan {}: {}\n", id, plan["summary"].text());
  if (options.appliable && plan["code"].whole().value_or(0) != 0)
    text += fmt::format("`muster apply --plan {}` does this, or refuses when something has changed\n", id);
  return text;
}

}  // namespace muster::cli
