// What a spec says, key by key: for `plan`, which shows what an edit changes. The keys are called as in the file,
// resolved defaults are there like what was written, and the values read as one would write them. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "spec/spec.h"

namespace muster::spec {

struct Field {
  std::string key;        // "run", "health.every", "env.HOME", "route.2"
  std::string value;      // as in the file, without quotes; "" is not the same as no field
  bool restarts = false;  // an edit of it is a new revision; else it applies live
};

// Equal fields = equal apps: nothing that operator== compares is left out. The values of environments are among them
// as they are: mask what is shown.
std::vector<Field> fields_of(const App& app);
std::vector<Field> fields_of(const Job& job);
std::vector<Field> fields_of(const Listener& listener);
std::vector<Field> fields_of(const Daemon& daemon);

struct FieldChange {
  std::string key;
  std::optional<std::string> before;  // none: it was not said
  std::optional<std::string> after;
  bool restarts = false;
};

// In the order of the keys of `after`, then what is gone.
std::vector<FieldChange> changed_fields(const std::vector<Field>& before, const std::vector<Field>& after);

// The shortest exact form that parse_duration reads: "250ms", "2s", "1h30m".
std::string duration_text(Millis length);
// "64MiB", "512B".
std::string size_text(std::uint64_t bytes);

}  // namespace muster::spec
