// The command line as a value. Flag > MUSTER_* environment > default; what the spec says comes later. Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "cli/commands.h"

namespace muster::cli {

enum class Output : std::uint8_t { table, wide, json };

// A word that names an app, a replica or a number of replicas.
struct Target {
  std::string app;
  std::optional<int> ordinal;   // APP/N
  std::optional<int> replicas;  // APP=N; none with `scale` means APP=file
  bool operator==(const Target&) const = default;
};

struct Arguments {
  const CommandRow* row = nullptr;  // none: only help was asked for
  bool help = false;
  std::optional<std::string> file;
  std::optional<std::string> socket;
  std::optional<std::string> state_dir;
  Output output = Output::table;
  bool no_color = false;
  std::vector<std::string> operands;
  std::vector<Target> targets;  // the operands, where they name apps
  bool wait = true;
  Millis timeout = std::chrono::minutes(10);
  Millis grace = std::chrono::seconds(2);
  bool now = false;
  bool yes = false;
  bool retry = false;
  std::optional<std::string> plan;  // the id of a plan
  bool offline = false;
  bool follow = false;
  std::optional<std::string> since;
  std::optional<int> tail;

  [[nodiscard]] Command command() const { return row->command; }
  [[nodiscard]] bool json() const { return output == Output::json; }
};

using Environment = std::function<std::optional<std::string>(const std::string& name)>;

// `words` are argv without argv[0]. Every error is exit 64.
Result<Arguments> parse_arguments(std::vector<std::string> words, const Environment& environment,
                                  WallTime now);

// "APP", "APP/N" or "APP=N" as the operand's kind asks for.
Result<Target> parse_target(const std::string& word, Operand kind);

// "250ms", "5s", "1h30m", "2d"; none for anything else.
std::optional<Millis> parse_length(const std::string& text);

}  // namespace muster::cli
