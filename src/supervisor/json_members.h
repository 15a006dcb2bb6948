// The members of one JSON object, read strictly: what is missing or of another kind gives a stand-in, and the first that
// was wrong is the error of all.
#pragma once

#include <boost/json.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/time.h"

namespace muster::supervisor {

// Wall clock times in files, in milliseconds of the epoch: up to the year 2255, so that a clock that is far off makes no
// file that cannot be read.
std::int64_t to_file_ms(WallTime at);

class JsonMembers {
 public:
  // Of what is no object, or null, all members are missing. The value outlives this.
  explicit JsonMembers(const boost::json::value* value);

  // "" while all that was asked for was there: "'pid' is not a number from 1 to 9", say.
  [[nodiscard]] const std::string& error() const { return error_; }
  void wrong(std::string_view key, std::string_view what);

  [[nodiscard]] bool has(std::string_view key) const;
  const boost::json::value* find(std::string_view key);  // null: it is missing
  std::string text(std::string_view key);
  bool flag(std::string_view key);
  bool flag_or_not(std::string_view key) { return has(key) && flag(key); }  // missing is false
  std::int64_t number(std::string_view key, std::int64_t least, std::int64_t most);
  std::uint64_t wide(std::string_view key);  // all 64 bits, as a string of decimal digits
  WallTime time(std::string_view key);       // of to_file_ms()
  const boost::json::array* list(std::string_view key);
  const boost::json::object* object(std::string_view key);
  // Each entry by `read(value)`, which gives an optional Entry: none is an error.
  template <typename Entry, typename Read>
  std::vector<Entry> list_of(std::string_view key, Read read) {
    std::vector<Entry> made;
    const boost::json::array* entries = list(key);
    if (entries == nullptr) return made;
    for (const boost::json::value& entry : *entries) {
      std::optional<Entry> one = read(entry);
      if (!one) wrong(key, "has an entry that is none");
      if (one) made.push_back(std::move(*one));
    }
    return made;
  }
  std::vector<std::pair<std::string, std::string>> pairs(std::string_view key);

 private:
  const boost::json::object* object_;
  std::string error_;
};

}  // namespace muster::supervisor
