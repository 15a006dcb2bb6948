#include "cli/volumes_table.h"

#include "cli/tables.h"
#include "cli/volume_names.h"
#include "fmt/core.h"
#include "supervisor/text.h"

namespace muster::cli {

namespace {

using supervisor::escape_for_terminal;

Colour colour_of(const std::string& state) {
  if (state == "in use") return Colour::green;
  if (state == "missing" || state == "foreign") return Colour::red;
  return state == "removing" ? Colour::yellow : Colour::none;
}

Cell size_cell(JsonView row) {
  const auto size = row["size_bytes"].number();
  if (!size) return {"-"};
  return {row["size_enforced"].truth() ? short_bytes(*size) : short_bytes(*size) + " (watched)"};
}

Cell use_cell(JsonView row) {
  const auto size = row["size_bytes"].number();
  const bool over = size && row["used_bytes"].number().value_or(0) > *size;
  return {use_text(row), over ? Colour::red : Colour::none};
}

}  // namespace

std::string use_text(JsonView row) {
  const auto used = row["used_bytes"].number();
  if (!used) return row["state"].text() == "missing" ? "-" : "?";
  return short_bytes(*used) + (row["used_complete"].truth() ? "" : "+");
}

std::string volumes_table(JsonView body, VolumesTableOptions options) {
  std::vector<std::string> headers{"VOLUME", "STATE", "USED", "SIZE", "PATH"};
  if (options.wide) headers.insert(headers.end(), {"OWNER", "MADE"});
  Table table(std::move(headers));
  std::string reasons;
  body["volumes"].each([&](JsonView row) {
    const std::string state = row["state"].text();
    std::vector<Cell> cells{{volume_name_of(row), app_colour(row["app"].text())},
                            {escape_for_terminal(state), colour_of(state)},
                            use_cell(row),
                            size_cell(row),
                            {escape_for_terminal(row["path"].text())}};
    if (options.wide) {
      cells.push_back({escape_for_terminal(row["owner"].text())});
      cells.push_back({escape_for_terminal(row["made"].text())});
    }
    table.add(std::move(cells));
    if (const std::string reason = row["reason"].text(); !reason.empty())
      reasons += escape_for_terminal(reason) + "\n";
    if (const std::string note = row["size_note"].text(); options.wide && !note.empty())
      reasons +=
          fmt::format("size of {} is not enforced: {}\n", volume_name_of(row), escape_for_terminal(note));
  });
  if (table.empty()) return "no volumes\n";
  return table.text(options.colour) + (reasons.empty() ? "" : "\n" + reasons);
}

}  // namespace muster::cli
