// Several files as one, and [defaults] under each app.
#pragma once

#include "spec/report.h"
#include "spec/tree.h"

namespace muster::spec {

// Adds the members of `from` to `into`. Tables grow together; any other key in two places is an error that names
// both.
void merge_file(Node& into, Node&& from, Report& report);

// `app` with the keys of `defaults` that it does not have; tables key by key.
Node with_defaults(const Node& app, const Node& defaults);

}  // namespace muster::spec
