#include "cli/arguments.h"

#include <algorithm>
#include <charconv>
#include <map>

#include "CLI/App.hpp"
#include "CLI/Config.hpp"
#include "CLI/Formatter.hpp"
#include "base/limits.h"
#include "cli/volume_names.h"
#include "fmt/core.h"
#include "supervisor/text.h"

namespace muster::cli {

namespace {

Error usage_error(std::string message) {
  return Error{.message = std::move(message), .code = ExitCode::usage};
}

std::optional<int> parse_number(std::string_view text, int max) {
  int value = -1;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = problem == std::errc() && end == text.data() + text.size() && !text.empty();
  if (!whole || value < 0 || value > max) return std::nullopt;
  return value;
}

bool is_app_name(std::string_view name) {
  const auto lower = [](char c) { return c >= 'a' && c <= 'z'; };
  const auto allowed = [&](char c) { return lower(c) || (c >= '0' && c <= '9') || c == '-'; };
  return !name.empty() && name.size() <= limits::name_chars_max && lower(name.front()) &&
         name.back() != '-' && std::ranges::all_of(name, allowed);
}

// What CLI11 found, before anything is made of it.
struct Raw {
  std::map<FlagKey, std::string> values;
  std::map<FlagKey, bool> switches;
  std::vector<std::string> operands;

  [[nodiscard]] bool on(FlagKey key) const {
    const auto at = switches.find(key);
    return at != switches.end() && at->second;
  }
  [[nodiscard]] std::optional<std::string> value(FlagKey key) const {
    const auto at = values.find(key);
    return at == values.end() ? std::nullopt : std::optional(at->second);
  }
};

void add_flag(CLI::App& app, const Flag& flag, Raw& raw) {
  const std::string names = flag.short_name.empty() ? std::string(flag.long_name)
                                                    : fmt::format("{},{}", flag.short_name, flag.long_name);
  if (flag.value.empty()) {
    app.add_flag_callback(names, [&raw, key = flag.key] { raw.switches[key] = true; })
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  } else {
    app.add_option_function<std::string>(
        names, [&raw, key = flag.key](const std::string& value) { raw.values[key] = value; });
  }
}

Error unknown_command(const std::string& word) {
  if (is_later_command(word)) return usage_error(fmt::format("`muster {}` is not in this version", word));
  const auto near = nearest_command(word);
  return usage_error(fmt::format("unknown command \"{}\"{}; `muster --help` lists them",
                                 supervisor::escape_for_terminal(word),
                                 near ? fmt::format(", did you mean \"{}\"?", *near) : ""));
}

// The first word that neither the command nor muster itself knows.
Error unexpected(const std::string& word, const CommandRow* row) {
  const std::string shown = supervisor::escape_for_terminal(word);
  if (word.size() > 1 && word.front() == '-') {
    const auto near = nearest_flag(word, row);
    return usage_error(
        fmt::format("unknown flag {}{}", shown, near ? fmt::format(", did you mean {}?", *near) : ""));
  }
  if (row == nullptr) return unknown_command(word);
  return usage_error(fmt::format("`muster {}` takes no word here: \"{}\"", row->name, shown));
}

Status check_operands(const Raw& raw, const CommandRow& row) {
  const std::size_t count = raw.operands.size();
  if (count > row.operands_max) return unexpected(raw.operands[row.operands_max], &row);
  if (count < row.operands_min)
    return usage_error(fmt::format("`muster {0}` needs {1}: muster {0} {1}", row.name, row.usage));
  return Unit{};
}

Result<Output> parse_output(const std::string& text, std::string_view said_by) {
  if (text == "table") return Output::table;
  if (text == "wide") return Output::wide;
  if (text == "json") return Output::json;
  return usage_error(
      fmt::format("{} is table, wide or json, not \"{}\"", said_by, supervisor::escape_for_terminal(text)));
}

bool is_set(const Environment& environment, const char* name) {
  const auto value = environment(name);
  return value && !value->empty();
}

std::optional<std::string> flag_or(const Raw& raw, FlagKey key, const Environment& environment,
                                   const char* name) {
  if (auto value = raw.value(key)) return value;
  auto value = environment(name);
  return value && !value->empty() ? value : std::nullopt;
}

Status fill_common(Arguments& made, const Raw& raw, const Environment& environment) {
  made.file = flag_or(raw, FlagKey::file, environment, "MUSTER_FILE");
  made.socket = flag_or(raw, FlagKey::socket, environment, "MUSTER_SOCKET");
  made.state_dir = flag_or(raw, FlagKey::state_dir, environment, "MUSTER_STATE_DIR");
  made.no_color =
      raw.on(FlagKey::no_color) || is_set(environment, "NO_COLOR") || is_set(environment, "MUSTER_NO_COLOR");
  const auto flag = raw.value(FlagKey::output);
  const auto text = flag_or(raw, FlagKey::output, environment, "MUSTER_OUTPUT");
  if (!text) return Unit{};
  auto output = parse_output(*text, flag ? "-o" : "MUSTER_OUTPUT");
  if (!output) return output.error();
  made.output = output.value();
  if (made.json() && !made.row->json) {
    // A variable that is set for all commands must not break those that print no data.
    if (flag) return usage_error(fmt::format("`muster {} -o json` is not in this version", made.row->name));
    made.output = Output::table;
  }
  return Unit{};
}

// What is asked for from a moment on that has not come yet is nothing; who writes that means something else.
Status check_since(const std::string& text, WallTime now) {
  const std::string shown = supervisor::escape_for_terminal(text);
  // A date alone is not taken: midnight here and midnight in UTC are two moments.
  const std::string as_time = text + "T00:00:00Z";
  const auto moment = supervisor::parse_since(text, now);
  const auto midnight = moment ? std::nullopt : supervisor::parse_since(as_time, now);
  if (const auto& said = moment ? moment : midnight; said && *said > now)
    return usage_error(fmt::format("--since {} is in the future", shown));
  if (moment) return Unit{};
  return usage_error(fmt::format("--since is a length of time like 5m or a time like {}, not \"{}\"",
                                 midnight ? as_time : "2026-01-01T00:00:00Z", shown));
}

constexpr Millis grace_max = std::chrono::minutes(10);

Status fill_own(Arguments& made, const Raw& raw, WallTime now) {
  made.plan = raw.value(FlagKey::plan);
  made.offline = raw.on(FlagKey::offline);
  made.retry = raw.on(FlagKey::retry);
  made.wait = !raw.on(FlagKey::no_wait);
  made.now = raw.on(FlagKey::now);
  made.yes = raw.on(FlagKey::yes);
  made.follow = raw.on(FlagKey::follow);
  if (const auto text = raw.value(FlagKey::timeout)) {
    const auto length = parse_length(*text);
    if (!length || length->count() <= 0)
      return usage_error(fmt::format("--timeout is a length of time like 30s or 10m, not \"{}\"", *text));
    made.timeout = *length;
  }
  if (const auto text = raw.value(FlagKey::grace)) {
    const auto length = parse_length(*text);
    if (!length || *length > grace_max)
      return usage_error(fmt::format("--grace is a length of time up to 10m, like 2s, not \"{}\"", *text));
    made.grace = *length;
  }
  if (const auto text = raw.value(FlagKey::since)) {
    if (Status checked = check_since(*text, now); !checked) return checked;
    made.since = *text;
  }
  if (const auto text = raw.value(FlagKey::tail)) {
    made.tail = parse_number(*text, 1'000'000'000);
    if (!made.tail) return usage_error(fmt::format("--tail is a number of lines, not \"{}\"", *text));
  }
  return Unit{};
}

// `volumes`, `volumes db/0`, `volumes rm db/0/data`: what is to be changed stays a word, see volume_names.h.
Status fill_volumes(Arguments& made) {
  if (made.operands.empty()) return Unit{};
  const std::string& first = made.operands.front();
  if (first == "adopt" || first == "rm") {
    if (made.operands.size() < 2)
      return usage_error(
          fmt::format("`muster volumes {0}` needs a volume: muster volumes {0} db/0/data", first));
    for (std::size_t at = 1; at < made.operands.size(); ++at) {
      if (const auto name = parse_volume_name(made.operands[at]); !name) return name.error();
    }
    return Unit{};
  }
  if (made.operands.size() > 1) return unexpected(made.operands[1], made.row);
  auto target = parse_target(first, Operand::app_or_replica);
  if (!target) return target.error();
  made.targets.push_back(std::move(target).value());
  return Unit{};
}

Status fill_targets(Arguments& made) {
  const Operand kind = made.row->operand;
  if (kind == Operand::none || kind == Operand::shell) return Unit{};
  if (kind == Operand::rollout) {
    const std::string& what = made.operands.front();
    if (what != "status" && what != "undo" && what != "history")
      return usage_error(fmt::format("`muster rollout` knows status, undo and history, not \"{}\"",
                                     supervisor::escape_for_terminal(what)));
    auto target = parse_target(made.operands.back(), Operand::app);
    if (!target) return target.error();
    made.targets.push_back(std::move(target).value());
    return Unit{};
  }
  if (kind == Operand::volumes) return fill_volumes(made);
  for (const std::string& word : made.operands) {
    auto target = parse_target(word, kind);
    if (!target) return target.error();
    made.targets.push_back(std::move(target).value());
  }
  return Unit{};
}

Result<Arguments> interpret(const CommandRow* row, const Raw& raw, const std::vector<std::string>& extras,
                            const Environment& environment, WallTime now) {
  Arguments made;
  made.row = row;
  made.help = raw.on(FlagKey::help);
  if (!extras.empty()) return unexpected(extras.front(), row);
  if (made.help) return made;
  if (row == nullptr) return usage_error("a command is due; `muster --help` lists them");
  made.operands = raw.operands;
  if (Status checked = check_operands(raw, *row); !checked) return checked.error();
  if (Status filled = fill_common(made, raw, environment); !filled) return filled.error();
  if (Status filled = fill_own(made, raw, now); !filled) return filled.error();
  if (Status filled = fill_targets(made); !filled) return filled.error();
  return made;
}

}  // namespace

std::optional<Millis> parse_length(const std::string& text) {
  // parse_since knows the lengths; the times that it knows as well have a "T" or a ":" in them.
  if (text.find_first_of("T:Z") != std::string::npos) return std::nullopt;
  const WallTime origin{};
  const auto moment = supervisor::parse_since(text, origin);
  if (!moment) return std::nullopt;
  return std::chrono::duration_cast<Millis>(origin - *moment);
}

Result<Target> parse_target(const std::string& word, Operand kind) {
  const std::string shown = supervisor::escape_for_terminal(word);
  const char mark = kind == Operand::app_count ? '=' : '/';
  const bool whole = kind == Operand::app || kind == Operand::job;
  const std::size_t at = whole ? std::string::npos : word.find(mark);
  Target target{.app = word.substr(0, at), .ordinal = std::nullopt, .replicas = std::nullopt};
  if (!is_app_name(target.app))
    return usage_error(
        fmt::format("\"{}\" is no name of {}", shown, kind == Operand::job ? "a job" : "an app"));
  if (at == std::string::npos) {
    if (kind == Operand::replica) return usage_error(fmt::format("a replica is due, like {}/0", shown));
    if (kind == Operand::app_count)
      return usage_error(fmt::format("a number is due, like {0}=4, or {0}=file for the file's", shown));
    return target;
  }
  const std::string rest = word.substr(at + 1);
  if (kind == Operand::app_count) {
    if (rest == "file") return target;
    target.replicas = parse_number(rest, limits::replicas_max);
    if (!target.replicas)
      return usage_error(
          fmt::format("\"{}\": replicas are 0 to {}, or \"file\"", shown, limits::replicas_max));
    return target;
  }
  target.ordinal = parse_number(rest, limits::replicas_max - 1);
  if (!target.ordinal) return usage_error(fmt::format("\"{}\": the ordinal after / is a number", shown));
  return target;
}

Result<Arguments> parse_arguments(std::vector<std::string> words, const Environment& environment,
                                  WallTime now) {
  Raw raw;
  // `muster help [CMD]` is what other tools taught.
  if (!words.empty() && words.front() == "help") {
    words.erase(words.begin());
    words.emplace_back("--help");
  }
  CLI::App app("", "muster");
  app.set_help_flag("");
  app.allow_extras();
  app.require_subcommand(0, 1);  // at most one: an app may be called like a command
  for (const FlagKey key : global_flags()) add_flag(app, flag_row(key), raw);
  for (const CommandRow& row : all_commands()) {
    CLI::App* sub = app.add_subcommand(std::string(row.name));
    sub->set_help_flag("");
    sub->fallthrough();
    for (const FlagKey key : row.flags) add_flag(*sub, flag_row(key), raw);
    sub->add_option("words", raw.operands);
  }
  std::ranges::reverse(words);  // CLI11 reads from the back
  try {
    app.parse(words);
  } catch (const CLI::ParseError& problem) {
    return usage_error(supervisor::escape_for_terminal(problem.what()));
  }
  const auto chosen = app.get_subcommands();
  const CommandRow* row = chosen.empty() ? nullptr : find_command(chosen.front()->get_name());
  return interpret(row, raw, app.remaining(true), environment, now);
}

}  // namespace muster::cli
