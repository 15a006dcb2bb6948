// The files of the log folder: APP-N.log is being written, APP-N.log.1 is the newest rotated one.
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
  ReplicaId replica;
  int generation = 0;  // 0 = the live file; 1 = rotated last
  bool operator==(const LogFileName&) const = default;
};

std::string log_file_name(const ReplicaId& replica, int generation);  // "web-0.log", "web-0.log.2"
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
