// How volumes are named on the command line: APP, APP/N, APP/N/NAME, or the absolute path of one. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/json_view.h"

namespace muster::cli {

struct VolumeName {
  std::string app;
  std::optional<int> ordinal;
  std::string name;  // empty: all of them
  std::string path;  // absolute; then nothing else is set
  bool operator==(const VolumeName&) const = default;
};

// The error is exit 64.
Result<VolumeName> parse_volume_name(const std::string& word);

// "db/0/data", of a row of GET /v1/volumes.
std::string volume_name_of(JsonView row);

// The rows that are meant, by their index; none: no volume is called so.
std::vector<std::size_t> rows_named(JsonView volumes, const VolumeName& name);

}  // namespace muster::cli
