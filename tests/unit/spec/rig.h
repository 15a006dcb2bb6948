// A world of files in memory, and specs as one string.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "spec/load.h"

namespace muster::spec {

struct FakeWorld {
  std::map<std::string, std::string> files;
  std::map<std::string, std::string> environment;
  std::set<std::string> users{"root", "www"};
  std::set<std::string> open_files;  // that every user may read

  [[nodiscard]] World world() const;
  [[nodiscard]] Loaded load(const std::string& text, Options options = {}) const;  // as /spec/muster.toml
};

// The spec; a test failure with its errors when there is none.
Spec good(const std::string& text, Options options = {}, const FakeWorld& world = {});
// The only app of a spec with these keys.
App app_with(const std::string& keys, Options options = {}, const FakeWorld& world = {});

// "3:1 unknown key 'x' | did you mean 'y'?" for each error, warnings with "warning " in front.
std::vector<std::string> complaints(const Loaded& loaded);
std::vector<std::string> complaints(const std::string& text, Options options = {},
                                    const FakeWorld& world = {});
// Those of an app whose first line is `run = "x"` on line 2; `keys` begin on line 3.
std::vector<std::string> app_complaints(const std::string& keys, Options options = {});

inline const Options up{.mode = Mode::up, .root = false};
inline const Options root_daemon{.mode = Mode::daemon, .root = true};
inline const Options root_up{.mode = Mode::up, .root = true};

}  // namespace muster::spec
