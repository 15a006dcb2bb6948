#include "cli/record_text.h"

#include "cli/json_view.h"
#include "cli/tables.h"
#include "fmt/core.h"
#include "supervisor/text.h"

namespace muster::cli {

namespace {

using supervisor::escape_for_terminal;

std::string id_text(JsonView record) {
  const std::string app = escape_for_terminal(record["app"].text());
  const auto ordinal = record["ordinal"].whole();
  return ordinal ? fmt::format("{}/{}", app, *ordinal) : app;
}

std::string line_text(JsonView line, bool colour) {
  const std::string stream = line["stream"].text();
  return fmt::format(
      "{} {} {} {}\n", coloured(id_text(line), app_colour(line["app"].text()), colour),
      coloured(escape_for_terminal(line["time"].text()), Colour::grey, colour),
      coloured(escape_for_terminal(stream), stream == "err" ? Colour::yellow : Colour::grey, colour),
      escape_for_terminal(line["text"].text()));
}

// A client that is slower than its daemon is told what it missed.
std::string lost_text(JsonView record, const char* what) {
  return fmt::format("({} {} lost: read too slowly)\n", record["lost"].whole().value_or(0), what);
}

Colour severity_colour(const std::string& severity) {
  if (severity == "error") return Colour::red;
  return severity == "warning" ? Colour::yellow : Colour::none;
}

}  // namespace

std::string log_record_text(const std::string& json_line, bool colour) {
  const auto parsed = parse_object(json_line);
  if (!parsed) return escape_for_terminal(json_line) + "\n";
  const JsonView record(&parsed.value());
  if (record["lost"].number()) return lost_text(record, "lines");
  if (!record["error"].text().empty()) return escape_for_terminal(record["error"].text()) + "\n";
  return line_text(record, colour);
}

std::string event_record_text(const std::string& json_line, bool colour) {
  const auto parsed = parse_object(json_line);
  if (!parsed) return escape_for_terminal(json_line) + "\n";
  const JsonView record(&parsed.value());
  if (record["lost"].number()) return lost_text(record, "events");
  const std::string app = record["app"].text();
  const std::string who = app.empty() ? "muster" : id_text(record);
  const std::string what = fmt::format("{}: {}", escape_for_terminal(record["kind"].text()),
                                       escape_for_terminal(record["text"].text()));
  return fmt::format("{} {} {}\n", coloured(escape_for_terminal(record["time"].text()), Colour::grey, colour),
                     coloured(who, app.empty() ? Colour::bold : app_colour(app), colour),
                     coloured(what, severity_colour(record["severity"].text()), colour));
}

Result<std::string> why_text(const std::string& body, bool colour) {
  const auto parsed = parse_object(body);
  if (!parsed) return parsed.error();
  const JsonView why(&parsed.value());
  const std::string state = why["state"].text();
  const std::string reason = why["reason"].text();
  std::string text = fmt::format("{}: {}{}\n", coloured(id_text(why), app_colour(why["app"].text()), colour),
                                 coloured(escape_for_terminal(state), state_colour(state), colour),
                                 reason.empty() ? "" : ": " + escape_for_terminal(reason));
  why["chain"].each(
      [&](JsonView sentence) { text += fmt::format("  {}\n", escape_for_terminal(sentence.text())); });
  if (why["logs"].size() > 0) text += "last lines:\n";
  why["logs"].each([&](JsonView line) { text += "  " + line_text(line, colour); });
  return text;
}

}  // namespace muster::cli
