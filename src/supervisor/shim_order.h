// What the daemon tells the exec shim (by memfd) and what the shim answers (by pipe). Bytes only; no system call.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "supervisor/shim_image.h"

namespace muster::supervisor {

// Who a process is, see credentials(7). What is not set stays as it is.
struct Credentials {
  std::optional<std::uint32_t> uid;
  std::optional<std::uint32_t> gid;
  std::vector<std::uint32_t> groups;  // supplementary; set with the uid
  bool operator==(const Credentials&) const = default;
};

// Everything the shim needs. Descriptors are numbers in the shim's own table.
struct ShimOrder {
  std::vector<std::string> argv;
  std::vector<std::string> environment;
  std::string dir;
  std::string user;
  std::string group;
  std::optional<Credentials> credentials;  // of user and group, when an earlier look-up found them
  std::uint32_t umask = 022;
  std::int32_t nice = 0;
  bool no_new_privs = false;
  bool end_with_parent = false;
  std::int32_t parent_pid = 0;
  std::uint64_t files_soft = 0;  // RLIMIT_NOFILE, soft, where files_max says nothing
  std::optional<Instant> not_before;
  std::optional<std::uint64_t> files_max;
  std::optional<std::uint64_t> core_bytes_max;
  std::optional<std::uint64_t> processes_max;  // RLIMIT_NPROC
  std::int32_t report_fd = -1;
  std::int32_t out_fd = -1;
  std::int32_t err_fd = -1;
  std::vector<std::int32_t> kept;  // stay open in the process
  std::int32_t cgroup_procs_fd =
      -1;  // to be joined by the shim; -1: it was born in its cgroup, or there is none
  bool operator==(const ShimOrder&) const = default;
};
std::string encode(const ShimOrder& order);                // a ShimImage and what it points to
[[nodiscard]] bool needs_look_up(const ShimOrder& order);  // of names that nobody has looked up yet

struct ShimFailure {
  ShimStep step = ShimStep::shim;
  int error = 0;
};

// More groups than these are looked up at each start.
inline constexpr std::size_t reported_groups_max = 256;
inline constexpr std::size_t shim_report_bytes_max = 2048;
std::string encode(const Credentials& found);
std::string encode(const ShimFailure& failure);

struct ShimReport {
  std::optional<Credentials> credentials;
  bool reached_exec = false;
  std::optional<ShimFailure> failure;
};
ShimReport decode_shim_report(std::string_view bytes);

struct ShimNames {  // what a sentence about a failure needs to know
  std::string program;
  std::string dir;
  std::string user;
  std::string group;
};
// "exec ./db: No such file or directory", `user "bob": no such user`
std::string describe(const ShimFailure& failure, const ShimNames& names);
bool is_shortage_errno(int error);
// Memory, descriptors or processes ran out: not the app's fault.
bool is_shortage(const ShimFailure& failure);

}  // namespace muster::supervisor
