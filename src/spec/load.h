// Text in, Spec or every error out. Pure: the world (files, environment, user database) comes in as
// functions.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "spec/spec.h"

namespace muster::spec {

struct Diagnostic {
  enum class Severity { error, warning } severity = Severity::error;
  Position at;
  std::string message;      // "unknown key 'replica'"
  std::string hint;         // "did you mean 'replicas'?"; may be empty
  std::string listener;     // what is wrong lies in files that this one names, the text may be as it was
  std::string source_line;  // the line that `at` points to; empty for a whole file
  int line_starts_at = 1;   // the column that source_line starts with: a very long line is cut
};

// "muster.toml:3:12: error: …" + the line + a caret + the hint, like a compiler. Control bytes are escaped.
std::string render(const Diagnostic& diagnostic);

// What a file read gave: text, or the reason with exit 66 (not a regular readable file) or 65 (too large).
using ReadFile = std::function<Result<std::string>(const std::string& path)>;

struct World {
  ReadFile read_file;
  std::function<Result<std::vector<std::string>>(const std::string& pattern)> glob;  // sorted absolute paths
  std::function<std::optional<std::string>(const std::string&)>
      env;  // the daemon's environment as it started
  std::function<bool(const std::string&)> user_exists;
  std::function<bool(const std::string&)> group_exists;
  std::function<bool(const std::string& path)>
      world_readable;  // by users that are not in the file's group too
  std::function<WallTime()> now;
};

enum class Mode { up, daemon };

struct Options {
  Mode mode = Mode::daemon;
  bool root = false;  // the daemon's uid is 0: `daemon` then insists on `user`
  std::string run_folder =
      {};  // where local ports are; empty: not known, and their paths' length is not checked
  // False: the files of `tls` are not read, and what is made of it has no certificate. For whoever is in a hurry.
  bool certificates = true;
};

struct Loaded {
  std::optional<Spec> spec;             // none when there is any error
  std::vector<Diagnostic> diagnostics;  // all of them, errors and warnings, in file order
  ExitCode exit_code = ExitCode::ok;    // 65 or 66 when spec is none
};

// Reads and checks `path` (absolute). Bounded in time and memory by base/limits.h; never throws.
Loaded load(const std::string& path, const World& world, const Options& options);

// The real world: files by open(2) O_NONBLOCK + fstat (a FIFO or a directory is refused), glob(3),
// getpwnam(3). `environment` is the snapshot taken at the start of the process.
World real_world(std::vector<std::string> environment);

// Re-reads the env_files of one app, for `restart APP`.
Result<std::vector<std::pair<std::string, std::string>>> read_env_files(const App& app,
                                                                        const ReadFile& read_file);

// Everything of an app whose change needs new processes (SPEC 3), as one canonical text: equal text = same
// revision.
std::string revision_text(const App& app);

}  // namespace muster::spec
