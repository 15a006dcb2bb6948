// The one table of commands and flags: parsing, help, completion and "not in this version" are read from it. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace muster::cli {

enum class Command : std::uint8_t {
  up,
  daemon,
  check,
  plan,
  apply,
  ps,
  logs,
  events,
  why,
  start,
  stop,
  restart,
  scale,
  drain,
  undrain,
  pause,
  resume,
  rollout,
  run,
  volumes,
  upgrade,
  down,
  demo,
  doctor,
  completion,
  version,
};

enum class FlagKey : std::uint8_t {
  file,
  socket,
  state_dir,
  output,
  no_color,
  help,
  timeout,
  no_wait,
  now,
  follow,
  since,
  tail,
  plan,
  retry,
  offline,
  grace,
  yes,
};

struct Flag {
  FlagKey key;
  std::string_view short_name;  // "-f"; empty: none
  std::string_view long_name;   // "--file"
  std::string_view value;       // "SPEC"; empty: a switch
  std::string_view does;        // half a sentence for the help
  bool later = false;           // known, refused by name
};

// What the words after the command are.
enum class Operand : std::uint8_t {
  none,
  app,
  app_or_replica,
  replica,
  app_count,
  rollout,
  job,
  volumes,
  shell
};

struct CommandRow {
  Command command;
  std::string_view name;
  std::string_view usage;  // "APP[/N]…"
  Operand operand;
  std::size_t operands_min;
  std::size_t operands_max;
  std::string_view does;
  std::vector<FlagKey> flags;  // besides the global ones
  bool json;                   // knows `-o json`
};

std::span<const Flag> all_flags();
const Flag& flag_row(FlagKey key);
std::span<const FlagKey> global_flags();  // known to every command

// `reload` has a row of its own, with the command `apply`.
std::span<const CommandRow> all_commands();
const CommandRow* find_command(std::string_view name);

// A command of the contract that this version does not have.
bool is_later_command(std::string_view name);

// The known word that is nearest to what was typed, when one is near enough to be meant.
std::optional<std::string> nearest(std::string_view typed, std::span<const std::string_view> known);
std::optional<std::string> nearest_command(std::string_view typed);
std::optional<std::string> nearest_flag(std::string_view typed, const CommandRow* row);

// `muster --help`, `muster CMD --help`.
std::string general_help();
std::string command_help(const CommandRow& row);

}  // namespace muster::cli
