// The body of GET /v1/status as tables for people. Pure.
#pragma once

#include <string>

#include "base/result.h"

namespace muster::cli {

struct TableOptions {
  bool wide = false;
  bool colour = false;
};

// An error when the body is not what the daemon promises.
Result<std::string> status_table(const std::string& body, TableOptions options);

}  // namespace muster::cli
