// What the exec shim last found out about a user and a group, so that a restart does not ask the name services again:
// that is the longest step of a start. Kept for a minute, and only while the files behind them are what they were.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "base/time.h"
#include "supervisor/shim_order.h"

namespace muster::supervisor {

class CredentialCache {
 public:
  // Which passwd(5), group(5) and nsswitch.conf(5) there are: taken before a look-up, and kept with what it found.
  struct FileStamp {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    std::int64_t size = 0;
    std::int64_t changed_ns = 0;
    bool operator==(const FileStamp&) const = default;
  };
  using Stamp = std::array<FileStamp, 3>;
  static constexpr Millis kept_for{60'000};
  [[nodiscard]] static Stamp stamp();

  void keep(const std::string& user, const std::string& group, Credentials found, const Stamp& stamp,
            Instant now);
  [[nodiscard]] std::optional<Credentials> find(const std::string& user, const std::string& group,
                                                const Stamp& stamp, Instant now) const;

 private:
  struct Entry {
    Credentials credentials;
    Stamp stamp;
    Instant since;
  };
  std::map<std::pair<std::string, std::string>, Entry> entries_;
};

}  // namespace muster::supervisor
