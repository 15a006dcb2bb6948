// `volumes`: lists them, adopts what is there, removes one with its data once a person has said so.
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>

#include "cli/commands_run.h"
#include "cli/json_view.h"
#include "cli/output.h"
#include "cli/volume_names.h"
#include "cli/volumes_table.h"
#include "fmt/core.h"
#include "supervisor/text.h"

namespace muster::cli {

namespace {

namespace json = boost::json;
using supervisor::escape_for_terminal;

// The parsed body; its text goes to `body` as well.
Result<json::value> ask(const Client& client, const std::string& query, std::string* body) {
  auto answer = client.get("/v1/volumes" + query);
  if (!answer) return std::move(answer).error();
  if (answer.value().status != 200) return refusal(answer.value());
  if (body != nullptr) *body = answer.value().body;
  return parse_object(answer.value().body);
}

int list(const Context& context, const Client& client) {
  const Arguments& arguments = context.arguments;
  std::vector<std::pair<std::string, std::optional<std::string>>> fields;
  if (!arguments.targets.empty()) {
    const Target& target = arguments.targets.front();
    fields.emplace_back("app", target.app);
    if (target.ordinal) fields.emplace_back("ordinal", std::to_string(*target.ordinal));
  }
  std::string body;
  const auto parsed = ask(client, fields.empty() ? "" : query_text(fields), &body);
  if (!parsed) return fail(parsed.error());
  if (arguments.json()) {
    print(body + "\n");
  } else {
    print(volumes_table(JsonView(&parsed.value()),
                        {.wide = arguments.output == Output::wide, .colour = colour_wanted(arguments)}));
  }
  return 0;
}

struct Chosen {
  std::string name;
  std::string path;
  std::string use;
  std::string state;
};

// Those that are meant. One that is to be removed, or that is named in full, is one directory.
Result<std::vector<Chosen>> choose(const json::value& volumes, const std::string& word, bool one) {
  const auto name = parse_volume_name(word);
  if (!name) return name.error();
  if (one && name.value().path.empty() && !name.value().ordinal)
    return Error{.message = fmt::format("one volume is due, like {}/0/data", name.value().app),
                 .code = ExitCode::usage};
  const JsonView rows = JsonView(&volumes)["volumes"];
  const std::vector<std::size_t> meant = rows_named(rows, name.value());
  std::vector<Chosen> chosen;
  std::size_t at = 0;
  rows.each([&](JsonView row) {
    if (std::ranges::find(meant, at++) == meant.end()) return;
    chosen.push_back({.name = volume_name_of(row),
                      .path = row["path"].text(),
                      .use = use_text(row),
                      .state = row["state"].text()});
  });
  if (chosen.empty())
    return Error{.message = fmt::format("there is no volume {}", escape_for_terminal(word))};
  const bool in_full = one || !name.value().name.empty();
  if (!in_full && chosen.size() > 1) {
    std::erase_if(chosen, [](const Chosen& row) { return row.state != "foreign"; });
    if (chosen.empty())
      return Error{.message = fmt::format("nothing of {} is to be adopted", escape_for_terminal(word))};
  } else if (chosen.size() > 1) {
    std::string all;
    for (const Chosen& row : chosen)
      all += fmt::format("{}{} at {}", all.empty() ? "" : ", ", row.name, escape_for_terminal(row.path));
    return Error{.message = fmt::format("{} is {} volumes: {}; name one, or its path",
                                        escape_for_terminal(word), chosen.size(), all),
                 .code = ExitCode::usage};
  }
  return chosen;
}

// Whoever removes data types which.
Status confirm(const Chosen& volume) {
  complain(fmt::format("this removes {} with all its data ({} at {}) for ever", volume.name, volume.use,
                       escape_for_terminal(volume.path)));
  std::cerr << "type its name to go on: " << std::flush;
  std::string typed;
  if (std::getline(std::cin, typed) && typed == volume.name) return Unit{};
  return Error{.message = "not confirmed, nothing was removed"};
}

int remove(const Context& context, const Client& client, const std::string& word) {
  const bool terminal = ::isatty(STDIN_FILENO) == 1;
  if (!context.arguments.yes && !terminal)
    return fail(Error{.message = "`muster volumes rm` removes data: confirm it by --yes, or on a terminal",
                      .code = ExitCode::usage});
  const auto volumes = ask(client, context.arguments.yes ? "?use=0" : "", nullptr);
  if (!volumes) return fail(volumes.error());
  const auto chosen = choose(volumes.value(), word, true);
  if (!chosen) return fail(chosen.error());
  const Chosen& volume = chosen.value().front();
  if (!context.arguments.yes) {
    if (const Status confirmed = confirm(volume); !confirmed) return fail(confirmed.error());
  }
  return post_volume(context, client, "/v1/volumes/rm", "volumes rm " + volume.name, volume.path);
}

int adopt(const Context& context, const Client& client, const std::string& word) {
  const auto volumes = ask(client, "?use=0", nullptr);
  if (!volumes) return fail(volumes.error());
  const auto chosen = choose(volumes.value(), word, false);
  if (!chosen) return fail(chosen.error());
  int worst = 0;
  for (const Chosen& volume : chosen.value())
    worst = std::max(worst, post_volume(context, client, "/v1/volumes/adopt", "volumes adopt " + volume.name,
                                        volume.path));
  return worst;
}

}  // namespace

int run_volumes(const Context& context) {
  const std::vector<std::string>& words = context.arguments.operands;
  auto client = find_daemon(context);
  if (!client) return fail(client.error());
  const bool removes = !words.empty() && words.front() == "rm";
  const bool adopts = !words.empty() && words.front() == "adopt";
  if (!removes && !adopts) return list(context, client.value());
  int worst = 0;
  for (std::size_t at = 1; at < words.size(); ++at)
    worst = std::max(worst, removes ? remove(context, client.value(), words[at])
                                    : adopt(context, client.value(), words[at]));
  return worst;
}

}  // namespace muster::cli
