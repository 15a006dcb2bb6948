// What the daemon leaves to its next image over execve(2), as sealed text and back, with descriptors by number.
// Pure.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "lb/handover.h"

namespace muster::supervisor {

inline constexpr int handover_version = 1;

struct DaemonHandover {
  std::string from;              // the version that gave up
  std::string id;                // of who asked for it
  Instant started{};             // of the daemon: the uptime goes on
  Instant paused_since{};        // no request has begun since
  Fd lock;                       // of the state folder
  std::vector<Fd> group_locks;   // of the groups of its processes
  Fd control;                    // listens on the control socket
  std::uint64_t files_soft = 0;  // the limit of open files that the first image was started with
  dev_t control_device = 0;
  ino_t control_inode = 0;
  std::vector<std::pair<std::string, Fd>> systemd_fds;  // of the service manager, by name
  std::set<InstanceId> stored_output;                   // whose output its store has
  std::map<InstanceId, Instant> drains;  // whose end waits for their last request, and when it no longer does
  // Closing it takes the kernel long, also at execve(2): done once there is time.
  std::vector<Fd> slow_to_close;
  lb::Handover traffic;
};

// `handed` in the place of handover.traffic: whoever fails to give it away still has it.
std::string encode_handover(const DaemonHandover& handover, const lb::Handover& handed);

// Every number that encode_handover() writes.
std::vector<int> descriptors_of(const DaemonHandover& handover, const lb::Handover& traffic);

enum class Descriptors : std::uint8_t {
  numbers_only,  // checked, and nothing is owned
  owned,
};
// The error is a sentence without a subject: "is damaged: the checksum does not match". Nothing is owned then.
Result<DaemonHandover> decode_handover(std::string_view text, Descriptors descriptors);

// Those that may have a request or a tunnel by it.
std::set<InstanceId> served_by(const lb::Handover& traffic);

// "kept 2 listeners, 3 connections and 1 tunnel; closed nothing".
std::string handover_sentence(const lb::Handover& traffic);

}  // namespace muster::supervisor
