// The daemon's own spec file, read anew for each start and reload.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "spec/load.h"
#include "spec/spec.h"
#include "supervisor/planner.h"

namespace muster::supervisor {

struct ReadSpec {
  std::shared_ptr<const spec::Spec> spec;  // null: refused
  std::string error;                       // every error as a compiler would show it
  std::string warnings;
  std::map<std::string, std::string> listener_errors;  // what is wrong with the files of a listener
  ExitCode code = ExitCode::ok;
};

// The apps that were named and all that they need by `after` and {addr.APP}; listeners that lead to others are left
// out. Empty `names`: the spec as it is. A name that is no app is an error. Pure.
Result<spec::Spec> only_apps(spec::Spec spec, const std::vector<std::string>& names);

class SpecSource {
 public:
  SpecSource(std::string path, RunMode mode, std::vector<std::string> environment,
             std::vector<std::string> only_apps, std::string run_dir = {})
      : path_(std::move(path)),
        mode_(mode),
        environment_(std::move(environment)),
        only_apps_(std::move(only_apps)),
        run_dir_(std::move(run_dir)) {}

  [[nodiscard]] ReadSpec read() const { return read(true); }
  // Sooner: as spec::Options::certificates.
  [[nodiscard]] ReadSpec read_without_certificates() const { return read(false); }
  [[nodiscard]] const std::string& path() const { return path_; }
  // The app's env_files as they are now.
  [[nodiscard]] Result<std::vector<std::pair<std::string, std::string>>> env_files_of(
      const spec::App& app) const;

 private:
  [[nodiscard]] ReadSpec read(bool certificates) const;

  std::string path_;
  RunMode mode_;
  std::vector<std::string> environment_;
  std::vector<std::string> only_apps_;
  std::string run_dir_;
};

}  // namespace muster::supervisor
