// Who listens on a TCP port of this network namespace, as the kernel shows it: sock_diag(7) or
// /proc/net/tcp and tcp6, and /proc/PID/fd.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace muster::supervisor {

struct ListeningSocket {
  std::string address;  // numeric: "127.0.0.1", "0.0.0.0", "::", "::1"
  std::uint16_t port = 0;
  std::uint64_t inode = 0;
  [[nodiscard]] bool any_address() const { return address == "0.0.0.0" || address == "::"; }
};

// Parses the text of /proc/net/tcp or tcp6 (`v6`); only sockets in state LISTEN. Pure; rows it cannot read are
// skipped.
std::vector<ListeningSocket> parse_proc_net_tcp(const std::string& text, bool v6);

// All listening sockets of this network namespace, by sock_diag(7) where the kernel has it, else from /proc.
std::vector<ListeningSocket> listening_sockets();

struct SocketHolder {
  int pid = 0;
  std::string name;  // /proc/PID/comm
};
// A process that holds the socket; none when /proc does not show it (not ours to read, or it is gone).
// `first_asked` are looked at before all other processes.
std::optional<SocketHolder> holder_of(std::uint64_t inode, const std::vector<int>& first_asked = {});

// Those of `sockets` that these processes hold. Stops looking when it has found all.
std::vector<ListeningSocket> held_by(const std::vector<int>& pids, std::vector<ListeningSocket> sockets);

// The listening sockets that these processes hold.
std::vector<ListeningSocket> listening_sockets_of(const std::vector<int>& pids);

// "port 6379 is held by pid 812 (redis-server)", or without the holder when it cannot be seen. None when the port
// is free for 127.0.0.1 (nobody listens on it at 127.0.0.1, 0.0.0.0, ::1 or ::).
std::optional<std::string> port_busy_sentence(std::uint16_t port);

}  // namespace muster::supervisor
