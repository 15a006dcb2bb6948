// `plan` for people, from the body of GET /v1/plan. Pure.
#pragma once

#include <string>

#include "cli/json_view.h"

namespace muster::cli {

struct PlanTableOptions {
  bool wide = false;  // every replica; else the first twenty of an app
  bool colour = false;
  bool appliable = true;  // false: of `--offline`, which nothing can be applied to
};

std::string plan_table(JsonView plan, const PlanTableOptions& options);

}  // namespace muster::cli
