// Globs of `watch`, relative to the spec's folder. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace muster::supervisor {

// "src/**/*.{js,ts}": `*` and `?` within one name, `[a-z]` `[!a]`, `{a,b}`, `**` as a whole segment for any
// number of folders (none too). As in a shell, wildcards do not match a name that begins with a dot: .git and
// .muster are left out unless they are named. A pattern that ends in "/" means everything below: "src/" is
// "src/**".
class Glob {
 public:
  // Refused: an absolute pattern, "..", an empty one, an unclosed [ or {, over 64 alternatives by braces.
  static Result<Glob> parse(std::string_view pattern);

  // `path` is relative, without "./": "src/a/b.js".
  [[nodiscard]] bool matches(std::string_view path) const;
  // Whether something below the folder `path` ("" = the spec's folder) could match: else it is not watched.
  [[nodiscard]] bool may_match_below(std::string_view path) const;

 private:
  using Segments = std::vector<std::string>;
  std::vector<Segments> alternatives_;
};

}  // namespace muster::supervisor
