// The files of the log folder: APP-N.log is being written, APP-N.log.1 is the newest rotated one. The access log of a
// listener is access-LISTENER.log.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"

namespace muster::supervisor {

struct LogFileName {
  std::string stem;                  // "web-0", "access-web"
  std::optional<ReplicaId> replica;  // none: an access log
  int generation = 0;                // 0 = the live file; 1 = rotated last
  // Whose files are taken together: an app, or an access log alone.
  [[nodiscard]] const std::string& owner() const { return replica ? replica->app : stem; }
  bool operator==(const LogFileName&) const = default;
};

std::string log_stem(const ReplicaId& replica);                      // "web-0"
std::string access_log_stem(std::string_view listener);              // "access-web"
std::string log_file_name(const std::string& stem, int generation);  // "web-0.log", "web-0.log.2"
// The access log of a listener "web-2" reads like the log of replica 2 of an app "access-web". A spec has at most one of
// them; whoever has to know which asks who writes it.
std::optional<LogFileName> parse_log_file_name(std::string_view name);

struct LogFile {
  LogFileName name;
  std::string path;
  std::uint64_t bytes = 0;
  WallTime modified;
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
};

// Every regular file of the folder whose name is that of a log; others are not touched and not counted. At most
// limits::log_files_max. An error only when the folder cannot be read.
Result<std::vector<LogFile>> list_log_files(const std::string& folder);

}  // namespace muster::supervisor
