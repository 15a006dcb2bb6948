#include "supervisor/socket_owner.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <unordered_set>

#include "fmt/core.h"
#include "supervisor/proc_scan.h"
#include "supervisor/sock_diag.h"

namespace muster::supervisor {
namespace {

constexpr std::size_t table_bytes_max = 64U << 20U;  // 150 bytes a row: some 400 000 connections
constexpr std::string_view state_listen = "0A";
// Columns of /proc/net/tcp, split at blanks.
constexpr std::size_t column_local = 1;
constexpr std::size_t column_state = 3;
constexpr std::size_t column_inode = 9;
constexpr std::size_t columns = 10;

std::string_view next_line(std::string_view& rest) {
  const std::size_t end = rest.find('\n');
  const std::string_view line = rest.substr(0, end);
  rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  return line;
}

// Fills `words` as far as the line goes and returns how many.
std::size_t split(std::string_view line, std::array<std::string_view, columns>& words) {
  std::size_t count = 0;
  while (count < columns) {
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    if (line.empty()) break;
    const std::size_t end = std::min(line.find(' '), line.size());
    words[count++] = line.substr(0, end);
    line.remove_prefix(end);
  }
  return count;
}

template <typename T>
bool parse_hex(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  return error == std::errc() && end == text.data() + text.size();
}

// The kernel prints an address as 32-bit words of this machine's byte order: their bytes as they lie in memory are
// the address in network order.
std::optional<std::string> parse_address(std::string_view text, bool v6) {
  const std::size_t words = v6 ? 4 : 1;
  if (text.size() != words * 8) return std::nullopt;
  std::array<std::uint32_t, 4> address{};
  for (std::size_t i = 0; i < words; ++i) {
    if (!parse_hex(text.substr(i * 8, 8), address[i])) return std::nullopt;
  }
  std::array<char, INET6_ADDRSTRLEN> printed{};
  if (inet_ntop(v6 ? AF_INET6 : AF_INET, address.data(), printed.data(), printed.size()) == nullptr) {
    return std::nullopt;
  }
  return std::string(printed.data());
}

std::optional<ListeningSocket> parse_row(std::string_view line, bool v6) {
  std::array<std::string_view, columns> words;
  if (split(line, words) < columns || words[column_state] != state_listen) return std::nullopt;
  const std::string_view local = words[column_local];
  const std::size_t colon = local.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  ListeningSocket socket;
  const std::optional<std::string> address = parse_address(local.substr(0, colon), v6);
  const std::optional<std::uint64_t> inode = parse_number(words[column_inode]);
  if (!address || !inode || !parse_hex(local.substr(colon + 1), socket.port)) return std::nullopt;
  socket.address = *address;
  socket.inode = *inode;
  return socket;
}

using Inodes = std::unordered_set<std::uint64_t>;

// The socket inodes among the process' descriptors that are in `wanted`.
Inodes sockets_of(int pid, const Inodes& wanted) {
  Inodes held;
  DIR* folder = opendir(fmt::format("/proc/{}/fd", pid).c_str());
  if (!folder) return held;
  const int folder_fd = dirfd(folder);
  while (const dirent* entry = readdir(folder)) {
    std::array<char, 64> target{};
    const ssize_t size = readlinkat(folder_fd, entry->d_name, target.data(), target.size());
    if (size <= 0) continue;
    std::string_view link(target.data(), static_cast<std::size_t>(size));
    if (!link.starts_with("socket:[") || !link.ends_with(']')) continue;
    link.remove_prefix(std::strlen("socket:["));
    link.remove_suffix(1);
    const auto inode = parse_number(link);
    if (inode && wanted.contains(*inode)) held.insert(*inode);
    if (held.size() == wanted.size()) break;
  }
  closedir(folder);
  return held;
}

std::optional<SocketHolder> holder_if(int pid, const Inodes& wanted) {
  if (sockets_of(pid, wanted).empty()) return std::nullopt;
  return SocketHolder{pid, process_name(pid)};
}

// Whether a bind to 127.0.0.1 would collide with it. A listener on "::" usually takes IPv4 as well.
bool is_in_the_way(const ListeningSocket& socket, std::uint16_t port) {
  return socket.port == port && (socket.any_address() || socket.address == "127.0.0.1" ||
                                 socket.address == "::1" || socket.address == "::ffff:127.0.0.1");
}

}  // namespace

std::vector<ListeningSocket> parse_proc_net_tcp(const std::string& text, bool v6) {
  std::vector<ListeningSocket> sockets;
  std::string_view rest = text;
  while (!rest.empty()) {
    if (auto socket = parse_row(next_line(rest), v6)) sockets.push_back(std::move(*socket));
  }
  return sockets;
}

std::vector<ListeningSocket> listening_sockets() {
  if (auto sockets = listening_by_sock_diag()) return std::move(*sockets);
  std::vector<ListeningSocket> all;
  for (const bool v6 : {false, true}) {
    const auto text = read_small_file(v6 ? "/proc/net/tcp6" : "/proc/net/tcp", table_bytes_max);
    if (!text) continue;
    for (ListeningSocket& socket : parse_proc_net_tcp(text.value(), v6)) all.push_back(std::move(socket));
  }
  return all;
}

std::optional<SocketHolder> holder_of(std::uint64_t inode, const std::vector<int>& first_asked) {
  if (inode == 0) return std::nullopt;
  const Inodes wanted{inode};
  for (const int pid : first_asked) {
    if (auto holder = holder_if(pid, wanted)) return holder;
  }
  DIR* folder = opendir("/proc");
  if (!folder) return std::nullopt;
  std::optional<SocketHolder> holder;
  while (const dirent* entry = holder ? nullptr : readdir(folder)) {
    if (const auto pid = parse_number(entry->d_name)) holder = holder_if(static_cast<int>(*pid), wanted);
  }
  closedir(folder);
  return holder;
}

std::vector<ListeningSocket> held_by(const std::vector<int>& pids, std::vector<ListeningSocket> sockets) {
  Inodes wanted;
  for (const ListeningSocket& socket : sockets) wanted.insert(socket.inode);
  Inodes held;
  for (const int pid : pids) {
    if (held.size() == wanted.size()) break;
    held.merge(sockets_of(pid, wanted));
  }
  std::erase_if(sockets, [&](const ListeningSocket& socket) { return !held.contains(socket.inode); });
  return sockets;
}

std::vector<ListeningSocket> listening_sockets_of(const std::vector<int>& pids) {
  return held_by(pids, listening_sockets());
}

std::optional<std::string> port_busy_sentence(std::uint16_t port) {
  const std::vector<ListeningSocket> sockets = listening_sockets();
  const auto socket = std::find_if(sockets.begin(), sockets.end(),
                                   [&](const ListeningSocket& each) { return is_in_the_way(each, port); });
  if (socket == sockets.end()) return std::nullopt;
  const auto holder = holder_of(socket->inode);
  if (!holder) return fmt::format("port {} is held by another process", port);
  return fmt::format("port {} is held by pid {} ({})", port, holder->pid, holder->name);
}

}  // namespace muster::supervisor
