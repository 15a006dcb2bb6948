// What a daemon writes down of each process that it starts, so that the next one finds it, and never takes a stranger
// for it: as text and back. Pure.
//
// The record is written before the process is started and never changes; its mark, a line of fixed length, is
// overwritten in one write(2) as the process comes along. Records hold secrets of environments.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "supervisor/living.h"

namespace muster::supervisor {

inline constexpr std::size_t mark_line_bytes = 256;

// A process as its record has it. `process.pid`, `.started`, `.mark` and `.exit` are the mark's.
struct ReplicaRecord {
  LivingProcess process;
  std::string boot_id;  // no process of another boot lives
  std::string cgroup;   // folder of its group; empty: it is known by its token
  std::string token;
  std::uint64_t start_ticks = 0;  // of the mark: proc(5) starttime of `process.pid`; 0: not written down yet
  // What it was started with: see LaunchContext.
  int replicas = 1;
  std::vector<std::pair<std::string, std::string>> addresses = {};
  std::vector<std::pair<std::string, std::string>> volumes = {};
  std::string notify_socket = {};
};

std::string encode_record(const ReplicaRecord& record);
// As decode_state().
Result<ReplicaRecord> decode_record(std::string_view text);

// mark_line_bytes long.
std::string encode_mark(const ReplicaRecord& record);
// Into a record that has been read. False: nothing that can be used, the record stays as it is.
bool decode_mark(std::string_view line, ReplicaRecord& record);

// A daemon's life, as long as it has not ended in order.
struct DaemonLife {
  std::string boot_id;
  std::vector<std::string> cgroups;  // folders of the groups of groups that it made or took over
  std::string token;                 // that the tokens of all its processes begin with
  bool operator==(const DaemonLife&) const = default;
};
std::string encode_life(const DaemonLife& life);
Result<DaemonLife> decode_life(std::string_view text);

}  // namespace muster::supervisor
