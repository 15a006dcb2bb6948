// The body of GET /v1/volumes for people. Pure.
#pragma once

#include <string>

#include "cli/json_view.h"

namespace muster::cli {

struct VolumesTableOptions {
  bool wide = false;
  bool colour = false;
};

std::string volumes_table(JsonView body, VolumesTableOptions options);

// "12MiB", "12MiB+" where not all was counted, "?".
std::string use_text(JsonView row);

}  // namespace muster::cli
