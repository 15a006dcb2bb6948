#include "cli/status_table.h"

#include "cli/json_view.h"
#include "cli/tables.h"
#include "fmt/core.h"
#include "supervisor/text.h"

namespace muster::cli {

namespace {

using supervisor::escape_for_terminal;

std::string count_text(JsonView value) {
  const auto number = value.whole();
  return number ? fmt::format("{}", *number) : "";
}

std::string joined(const std::string& left, const std::string& right) {
  return left.empty() || right.empty() ? left + right : left + "; " + right;
}

// A backoff's next try belongs to its reason.
std::string reason_text(JsonView replica) {
  std::string reason = replica["reason"].text();
  replica["warnings"].each([&](JsonView warning) { reason = joined(reason, "warning: " + warning.text()); });
  const auto next = replica["next_start_s"].number();
  return next ? joined(reason, fmt::format("next start in {}", short_age(*next))) : reason;
}

Cell state_cell(JsonView row) {
  const std::string state = row["state"].text();
  return {state, state_colour(state)};
}

std::vector<Cell> app_cells(JsonView app, bool wide) {
  const std::string hold = app["hold"].text();
  std::vector<Cell> row{
      {app["name"].text(), app_colour(app["name"].text())},
      state_cell(app),
      {fmt::format("{}/{}", app["ready"].whole().value_or(0), app["desired"].whole().value_or(0))},
      {},
      {},
      {},
      {},
      {},
      {}};
  if (wide) row.insert(row.end(), {{count_text(app["revision"])}, {}, {}, {}});
  row.push_back({joined(app["reason"].text(), hold.empty() ? "" : "held: " + hold)});
  return row;
}

std::vector<Cell> replica_cells(JsonView replica, bool wide) {
  const auto age = replica["uptime_s"].number();
  const auto cpu = replica["cpu_percent"].number();
  const auto memory = replica["memory_bytes"].number();
  std::vector<Cell> row{
      {"  " + replica["id"].text()},
      state_cell(replica),
      {},
      {count_text(replica["pid"])},
      {replica["address"].text()},
      {count_text(replica["restarts"])},
      {age ? short_age(*age) : ""},
      {cpu ? fmt::format("{:.1f}%", *cpu) : ""},
      {memory ? short_bytes(*memory) + (replica["memory_over_counts"].truth() ? "+" : "") : ""}};
  if (wide) {
    row.insert(row.end(), {{count_text(replica["revision"])},
                           {count_text(replica["in_flight"])},
                           {count_text(replica["requests"])},
                           {replica["last_exit"]["reason"].text()}});
  }
  row.push_back({reason_text(replica)});
  return row;
}

std::string head_lines(JsonView status, TableOptions options) {
  std::string text;
  const JsonView daemon = status["daemon"];
  const std::string error = daemon["spec"]["error"].text();
  if (!error.empty()) {
    text +=
        coloured("the spec has errors; what runs is the text before:", Colour::red, options.colour) + "\n";
    for (std::size_t at = 0; at < error.size();) {
      const std::size_t end = std::min(error.find('\n', at), error.size());
      text += "  " + escape_for_terminal(std::string_view(error).substr(at, end - at)) + "\n";
      at = end + 1;
    }
    text += "\n";
  }
  if (daemon["stopping"].truth())
    text += coloured("the daemon is stopping", Colour::yellow, options.colour) + "\n\n";
  if (!options.wide) return text;
  return text + fmt::format("muster {}, pid {}, up {}, {} (revision {}), containment: {}\n\n",
                            escape_for_terminal(daemon["version"].text()), daemon["pid"].whole().value_or(0),
                            short_age(daemon["uptime_s"].number().value_or(0)),
                            escape_for_terminal(daemon["spec"]["path"].text()),
                            daemon["spec"]["revision"].whole().value_or(0),
                            escape_for_terminal(daemon["containment"].text()));
}

std::string app_table(JsonView status, TableOptions options) {
  std::vector<std::string> headers{"ID", "STATE", "READY", "PID", "ADDRESS", "RESTARTS", "AGE", "CPU", "MEM"};
  if (options.wide) headers.insert(headers.end(), {"REV", "IN-FLIGHT", "REQUESTS", "LAST END"});
  headers.emplace_back("REASON");
  Table table(std::move(headers));
  status["apps"].each([&](JsonView app) {
    table.add(app_cells(app, options.wide));
    app["replicas"].each([&](JsonView replica) { table.add(replica_cells(replica, options.wide)); });
  });
  return table.empty() ? "no apps\n" : table.text(options.colour);
}

std::string last_text(JsonView last) {
  const std::string at = last["at"].text();
  return at.empty() ? "" : fmt::format("{} at {}", last["reason"].text(), at);
}

std::string job_table(JsonView status, TableOptions options) {
  if (status["jobs"].size() == 0) return "";
  std::vector<std::string> headers{"JOB", "STATE", "SCHEDULE", "NEXT", "LAST"};
  if (options.wide) headers.insert(headers.end() - 1, "TIMEZONE");
  headers.emplace_back("REASON");
  Table table(std::move(headers));
  status["jobs"].each([&](JsonView job) {
    const bool good = job["last"]["ok"].truth();
    std::vector<Cell> row{{job["name"].text(), app_colour(job["name"].text())},
                          state_cell(job),
                          {job["schedule"].text()},
                          {job["next"].text()}};
    if (options.wide) row.push_back({job["timezone"].text()});
    row.push_back({last_text(job["last"]), good ? Colour::none : Colour::red});
    row.push_back({job["reason"].text()});
    table.add(std::move(row));
  });
  return "\n" + table.text(options.colour);
}

// The day on which the first of a listener's certificates expires.
std::string earliest_end(JsonView certificates) {
  std::string earliest;
  certificates.each([&earliest](JsonView certificate) {
    const std::string end = certificate["not_after"].text();
    if (earliest.empty() || end < earliest) earliest = end;
  });
  return earliest.substr(0, earliest.find('T'));
}

std::string listener_table(JsonView status, TableOptions options) {
  if (status["listeners"].size() == 0) return "";
  Table table({"LISTENER", "BIND", "MODE", "APP", "CONNECTIONS", "REQUESTS", "TLS UNTIL", "REASON"});
  status["listeners"].each([&](JsonView row) {
    table.add({{row["name"].text()},
               {row["bind"].text()},
               {row["mode"].text()},
               {row["app"].text(), app_colour(row["app"].text())},
               {count_text(row["connections"])},
               {count_text(row["requests"])},
               {earliest_end(row["tls"]["certificates"])},
               {row["reason"].text(), Colour::red}});
  });
  return "\n" + table.text(options.colour);
}

}  // namespace

Result<std::string> status_table(const std::string& body, TableOptions options) {
  const auto parsed = parse_object(body);
  if (!parsed) return parsed.error();
  const JsonView status(&parsed.value());
  if (status["schema"].whole() != 1)
    return Error{.message =
                     "the daemon's status has another schema than this program knows (1); -o json prints it"};
  std::string text = head_lines(status, options) + app_table(status, options);
  text += job_table(status, options);
  if (options.wide) text += listener_table(status, options);
  return text;
}

}  // namespace muster::cli
