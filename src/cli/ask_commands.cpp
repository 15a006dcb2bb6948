// Commands that only look: ps, logs, events, why, version.
#include "cli/commands_run.h"
#include "cli/json_view.h"
#include "cli/output.h"
#include "cli/record_text.h"
#include "cli/status_table.h"
#include "cli/tables.h"
#include "fmt/core.h"
#include "supervisor/text.h"

namespace muster::cli {

namespace {

std::optional<std::string> number_text(const std::optional<int>& number) {
  return number ? std::optional(std::to_string(*number)) : std::nullopt;
}

// The fields of a query that name an app or a replica.
std::vector<std::pair<std::string, std::optional<std::string>>> target_fields(const Arguments& arguments) {
  if (arguments.targets.empty()) return {};
  const Target& target = arguments.targets.front();
  return {{"app", target.app}, {"ordinal", number_text(target.ordinal)}};
}

int stream(const Context& context, const std::string& target,
           std::string (*text_of)(const std::string&, bool)) {
  auto client = find_daemon(context);
  if (!client) return fail(client.error());
  const bool colour = colour_wanted(context.arguments);
  const bool json = context.arguments.json();
  const std::optional<Millis> silence =
      context.arguments.follow ? std::nullopt : std::optional<Millis>(std::chrono::minutes(1));
  const Status done = client.value().stream(target, silence, [&](const std::string& line) {
    print(json ? line + "\n" : text_of(line, colour));
    return true;
  });
  return done ? 0 : fail(done.error());
}

}  // namespace

Result<Client> find_daemon(const Context& context) {
  const auto candidates = client_candidates(context.arguments, context.around);
  if (!candidates) return candidates.error();
  return Client::find(candidates.value(), context.around);
}

int run_ps(const Context& context) {
  auto client = find_daemon(context);
  if (!client) return fail(client.error());
  auto answer = client.value().get("/v1/status");
  if (!answer) return fail(answer.error());
  if (answer.value().status != 200) return fail(refusal(answer.value()));
  if (context.arguments.json()) {
    print(answer.value().body + "\n");
    return 0;
  }
  const auto text = status_table(answer.value().body, {.wide = context.arguments.output == Output::wide,
                                                       .colour = colour_wanted(context.arguments)});
  if (!text) return fail(text.error());
  print(text.value());
  return 0;
}

int run_logs(const Context& context) {
  const Arguments& arguments = context.arguments;
  auto fields = target_fields(arguments);
  fields.emplace_back("tail", number_text(arguments.tail));
  fields.emplace_back("since", arguments.since);
  fields.emplace_back("follow", arguments.follow ? std::optional<std::string>("1") : std::nullopt);
  return stream(context, "/v1/logs" + query_text(fields), log_record_text);
}

int run_events(const Context& context) {
  auto fields = target_fields(context.arguments);
  fields.emplace_back("follow", context.arguments.follow ? std::optional<std::string>("1") : std::nullopt);
  return stream(context, "/v1/events" + query_text(fields), event_record_text);
}

int run_why(const Context& context) {
  auto client = find_daemon(context);
  if (!client) return fail(client.error());
  auto answer = client.value().get("/v1/why" + query_text(target_fields(context.arguments)));
  if (!answer) return fail(answer.error());
  if (answer.value().status != 200) return fail(refusal(answer.value()));
  if (context.arguments.json()) {
    print(answer.value().body + "\n");
    return 0;
  }
  const auto text = why_text(answer.value().body, colour_wanted(context.arguments));
  if (!text) return fail(text.error());
  print(text.value());
  return 0;
}

int run_version(const Context& context) {
  auto client = find_daemon(context);
  auto answer = client ? client.value().get("/v1/version") : Result<Answer>(client.error());
  const auto parsed = answer && answer.value().status == 200 ? parse_object(answer.value().body)
                                                             : Result<boost::json::value>(Error{});
  if (context.arguments.json()) {
    boost::json::object body{{"schema", 1}, {"version", MUSTER_VERSION}};
    body["daemon"] = parsed ? parsed.value() : boost::json::value(nullptr);
    print(boost::json::serialize(body) + "\n");
    return 0;
  }
  print("muster " MUSTER_VERSION "\n");
  if (parsed) {
    const JsonView daemon(&parsed.value());
    print(fmt::format("daemon {}, pid {}, at {}\n", supervisor::escape_for_terminal(daemon["version"].text()),
                      daemon["pid"].whole().value_or(0), client.value().path()));
  }
  return 0;
}

}  // namespace muster::cli
