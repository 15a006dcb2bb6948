#include "cli/commands.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "fmt/core.h"

namespace muster::cli {

namespace {

constexpr std::size_t many = 1000;

constexpr std::array flags{
    Flag{FlagKey::file, "-f", "--file", "SPEC", "the spec; its project's daemon (MUSTER_FILE)"},
    Flag{FlagKey::socket, "", "--socket", "PATH", "the control socket (MUSTER_SOCKET)"},
    Flag{FlagKey::state_dir, "", "--state-dir", "DIR", "state, volumes and logs (MUSTER_STATE_DIR)"},
    Flag{FlagKey::output, "-o", "--output", "FORMAT", "table, wide or json (MUSTER_OUTPUT)"},
    Flag{FlagKey::no_color, "", "--no-color", "", "plain text (NO_COLOR, MUSTER_NO_COLOR)"},
    Flag{FlagKey::help, "-h", "--help", "", "this text"},
    Flag{FlagKey::timeout, "", "--timeout", "TIME", "give up waiting after this long (10m); exit 75"},
    Flag{FlagKey::no_wait, "", "--no-wait", "", "return once the request is accepted"},
    Flag{FlagKey::now, "", "--now", "", "all at once instead of in order"},
    Flag{FlagKey::follow, "-f", "--follow", "", "go on as more comes"},
    Flag{FlagKey::since, "", "--since", "TIME", "from then on: 5m, 2h30m, 2026-01-01T00:00:00Z"},
    Flag{FlagKey::tail, "", "--tail", "N", "the last N lines"},
    Flag{FlagKey::plan, "", "--plan", "ID", "only what `plan` has shown under this id"},
    Flag{FlagKey::retry, "", "--retry", "", "try revisions again that failed"},
    Flag{FlagKey::offline, "", "--offline", "", "without a daemon: as if nothing ran"},
    Flag{FlagKey::yes, "", "--yes", "", "without asking"},
    Flag{FlagKey::grace, "", "--grace", "TIME", "for requests in flight (2s); then they are cut"},
};

constexpr std::array everywhere{FlagKey::file,   FlagKey::socket,   FlagKey::state_dir,
                                FlagKey::output, FlagKey::no_color, FlagKey::help};

// Made at first use: the exec shim is this same binary and must not pay for it.
const std::vector<CommandRow>& rows() {  // NOLINT(readability-function-size): a table
  static const std::vector<FlagKey> waits{FlagKey::timeout, FlagKey::no_wait};
  static const std::vector<FlagKey> waits_or_now{FlagKey::now, FlagKey::timeout, FlagKey::no_wait};
  static const std::vector<FlagKey> applies{FlagKey::timeout, FlagKey::no_wait, FlagKey::plan,
                                            FlagKey::retry};
  static const std::vector<CommandRow> table{
      {Command::up,
       "up",
       "[APP…]",
       Operand::app,
       0,
       many,
       "run the stack of ./muster.toml in the foreground and watch the file; with APP: these and what they "
       "need",
       {},
       true},
      {Command::daemon,
       "daemon",
       "",
       Operand::none,
       0,
       0,
       "run the system's stack as a service; with -f: a project's stack",
       {},
       false},
      {Command::check,
       "check",
       "",
       Operand::none,
       0,
       0,
       "check a spec without a daemon: every mistake at once",
       {},
       true},
      {Command::plan,
       "plan",
       "",
       Operand::none,
       0,
       0,
       "what the file as it is now would change: exit 0 nothing, 2 something",
       {FlagKey::offline},
       true},
      {Command::apply, "apply", "", Operand::none, 0, 0, "the daemon reads its spec again and acts", applies,
       true},
      {Command::apply, "reload", "", Operand::none, 0, 0, "the same as apply", applies, true},
      {Command::ps,
       "ps",
       "",
       Operand::none,
       0,
       0,
       "apps, replicas and jobs; -o wide: also listeners and last exits",
       {},
       true},
      {Command::logs,
       "logs",
       "[APP[/N]]",
       Operand::app_or_replica,
       0,
       1,
       "the replicas' lines",
       {FlagKey::follow, FlagKey::since, FlagKey::tail},
       true},
      {Command::events,
       "events",
       "[APP[/N]]",
       Operand::app_or_replica,
       0,
       1,
       "what muster did, and why",
       {FlagKey::follow},
       true},
      {Command::why,
       "why",
       "APP[/N]",
       Operand::app_or_replica,
       1,
       1,
       "the chain of causes behind the state of an app or replica",
       {},
       true},
      {Command::start, "start", "APP[/N]…", Operand::app_or_replica, 1, many, "end a stop or a backoff",
       waits, true},
      {Command::stop, "stop", "APP[/N]…", Operand::app_or_replica, 1, many,
       "stop in order; held over reload and restart, until start", waits, true},
      {Command::restart, "restart", "APP[/N]…", Operand::app_or_replica, 1, many,
       "replace the replicas, rolling, with a fresh env_file", waits_or_now, true},
      {Command::scale, "scale", "APP=N…", Operand::app_count, 1, many,
       "another number of replicas; APP=file: the file's again", waits, true},
      {Command::drain, "drain", "APP/N…", Operand::replica, 1, many,
       "take a replica out of rotation; its process keeps running", waits, true},
      {Command::undrain, "undrain", "APP/N…", Operand::replica, 1, many, "put a drained replica back", waits,
       true},
      {Command::pause, "pause", "APP…", Operand::app, 1, many,
       "hold its requests in the queue; held over reload and restart, until resume", waits, true},
      {Command::resume, "resume", "APP…", Operand::app, 1, many, "let paused requests go on", waits, true},
      {Command::rollout, "rollout", "status|undo|history APP", Operand::rollout, 2, 2,
       "how far a new revision is; back to the one before, held until `resume` or an edit; which there were",
       waits, true},
      {Command::run, "run", "JOB", Operand::job, 1, 1, "run a job now, and wait until it has ended", waits,
       true},
      {Command::volumes,
       "volumes",
       "[APP[/N]] | adopt|rm APP/N[/NAME]…",
       Operand::volumes,
       0,
       many,
       "the volumes: where, how full, whose; adopt: take the directory that is there; rm: remove one with "
       "its data",
       {FlagKey::yes, FlagKey::timeout},
       true},
      {Command::upgrade,
       "upgrade",
       "",
       Operand::none,
       0,
       0,
       "the running daemon becomes the installed binary: same PID, same connections",
       {FlagKey::grace, FlagKey::timeout},
       true},
      {Command::down, "down", "", Operand::none, 0, 0, "stop everything in order, then the daemon",
       waits_or_now, true},
      {Command::demo,
       "demo",
       "",
       Operand::none,
       0,
       0,
       "show muster at work with a stack of its own, then clean up",
       {},
       false},
      {Command::doctor,
       "doctor",
       "",
       Operand::none,
       0,
       0,
       "what this host can do, and what is missing costs",
       {},
       true},
      {Command::completion,
       "completion",
       "SHELL",
       Operand::shell,
       1,
       1,
       "a completion script for bash, zsh or fish",
       {},
       false},
      {Command::version,
       "version",
       "",
       Operand::none,
       0,
       0,
       "the version of this program and of the daemon",
       {},
       true},
  };
  return table;
}

// Of the contract, but not built yet: refused by name instead of "unknown".
constexpr std::array<std::string_view, 6> later{"top", "init", "export", "import", "schema", "explain"};

// Levenshtein's distance, with a swap of neighbours as one step.
std::size_t distance(std::string_view left, std::string_view right) {
  std::vector<std::size_t> two_back(right.size() + 1);
  std::vector<std::size_t> back(right.size() + 1);
  std::vector<std::size_t> current(right.size() + 1);
  for (std::size_t j = 0; j <= right.size(); ++j) back[j] = j;
  for (std::size_t i = 1; i <= left.size(); ++i) {
    current[0] = i;
    for (std::size_t j = 1; j <= right.size(); ++j) {
      const std::size_t changed = back[j - 1] + (left[i - 1] == right[j - 1] ? 0 : 1);
      current[j] = std::min({changed, back[j] + 1, current[j - 1] + 1});
      const bool swapped = i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1];
      if (swapped) current[j] = std::min(current[j], two_back[j - 2] + 1);
    }
    std::swap(two_back, back);
    std::swap(back, current);
  }
  return back[right.size()];
}

std::string flag_words(const Flag& flag) {
  std::string words = flag.short_name.empty() ? "    " : fmt::format("{}, ", flag.short_name);
  words += flag.long_name;
  if (!flag.value.empty()) words += fmt::format(" {}", flag.value);
  return words;
}

std::string flag_lines(std::span<const FlagKey> keys) {
  std::string text;
  for (const FlagKey key : keys) {
    const Flag& flag = flag_row(key);
    if (!flag.later) text += fmt::format("  {:<22}  {}\n", flag_words(flag), flag.does);
  }
  return text;
}

}  // namespace

std::span<const Flag> all_flags() {
  return flags;
}

const Flag& flag_row(FlagKey key) {
  const auto* const at = std::ranges::find(flags, key, &Flag::key);
  MUSTER_CHECK(at != flags.end());
  return *at;
}

std::span<const FlagKey> global_flags() {
  return everywhere;
}

std::span<const CommandRow> all_commands() {
  return rows();
}

const CommandRow* find_command(std::string_view name) {
  const auto at = std::ranges::find(rows(), name, &CommandRow::name);
  return at == rows().end() ? nullptr : &*at;
}

bool is_later_command(std::string_view name) {
  return std::ranges::find(later, name) != later.end();
}

std::optional<std::string> nearest(std::string_view typed, std::span<const std::string_view> known) {
  // A third of the word may be wrong, one letter in any case.
  std::size_t best = std::max<std::size_t>(1, typed.size() / 3) + 1;
  std::optional<std::string> found;
  for (const std::string_view word : known) {
    const std::size_t steps = distance(typed, word);
    if (steps >= best) continue;
    best = steps;
    found = std::string(word);
  }
  return found;
}

std::optional<std::string> nearest_command(std::string_view typed) {
  // What people know from other tools by another name.
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 4> others{
      {{"status", "ps"}, {"log", "logs"}, {"list", "ps"}, {"validate", "check"}}};
  for (const auto& [theirs, ours] : others) {
    if (typed == theirs) return std::string(ours);
  }
  std::vector<std::string_view> names;
  names.reserve(rows().size());
  for (const CommandRow& row : rows()) names.push_back(row.name);
  return nearest(typed, names);
}

std::optional<std::string> nearest_flag(std::string_view typed, const CommandRow* row) {
  std::vector<std::string_view> names;
  names.reserve(everywhere.size() + (row == nullptr ? 0 : row->flags.size()));
  for (const FlagKey key : everywhere) names.push_back(flag_row(key).long_name);
  if (row != nullptr) {
    for (const FlagKey key : row->flags) names.push_back(flag_row(key).long_name);
  }
  return nearest(typed.substr(0, typed.find('=')), names);
}

std::string general_help() {
  std::string text =
      "muster runs the processes of one host and balances traffic over them.\n\n"
      "usage: muster COMMAND [FLAG…] [WORD…]\n\ncommands:\n";
  for (const CommandRow& row : rows()) {
    const std::string words = fmt::format("{} {}", row.name, row.usage);
    text += fmt::format("  {:<22}  {}\n", words, row.does);
  }
  text += "\nflags of every command:\n" + flag_lines(everywhere);
  text +=
      "\nexit codes: 0 done, 1 failed, 2 a plan with changes, 64 usage, 65 bad spec, 66 no spec file,\n"
      "69 no daemon answers, 75 timed out, 77 not permitted\n";
  return text;
}

std::string command_help(const CommandRow& row) {
  std::string text = fmt::format("usage: muster {}{}{} [FLAG…]\n\n{}\n", row.name,
                                 row.usage.empty() ? "" : " ", row.usage, row.does);
  if (!row.flags.empty()) text += "\nflags:\n" + flag_lines(row.flags);
  // On `logs` and `events` -f is --follow, as everybody's fingers expect.
  const bool follows = std::ranges::find(row.flags, FlagKey::follow) != row.flags.end();
  std::string common = flag_lines(everywhere);
  if (follows) common.replace(common.find("-f, "), 4, "    ");
  return text + "\nflags of every command:\n" + common;
}

}  // namespace muster::cli
