// Whether an open port is the replica's: a probe counts only while the listening socket belongs to its processes,
// where /proc shows it. Pure.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "health/outcome.h"
#include "supervisor/socket_owner.h"

namespace muster::supervisor {

struct PortQuestion {
  std::uint16_t port = 0;
  std::string address = "127.0.0.1";  // where something answered: "127.0.0.1" or "::1"
  std::vector<ListeningSocket> all;   // of the network namespace
  std::vector<ListeningSocket> own;   // held by the replica's processes
  std::function<std::optional<SocketHolder>(std::uint64_t inode)> holder;
};

// After a connection was accepted: none = it is the replica's (or /proc does not show whose), else `foreign`, or
// `ok_wide` where the replica listens at every address.
std::optional<health::Outcome> judge_open_port(const PortQuestion& question);

// After nothing answered: `wrong_port` where the replica listens somewhere else.
std::optional<health::Outcome> judge_closed_port(std::uint16_t port, const std::vector<ListeningSocket>& own);

// The same where it should listen on a socket of this path.
std::optional<health::Outcome> judge_missing_socket(const std::string& path,
                                                    const std::vector<ListeningSocket>& own);

}  // namespace muster::supervisor
