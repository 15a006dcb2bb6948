// The order of a start as the exec shim finds it in the memfd: this header, then strings and arrays that it points
// to by offsets, made so that the shim neither parses nor allocates. Written by shim_order.h. Needs no C library.
#pragma once

#include <cstddef>
#include <cstdint>

namespace muster::supervisor {

// The steps in their order. A failed one is reported with its errno.
enum class ShimStep : std::uint8_t {
  shim = 1,  // exec of the shim itself
  order,
  streams,
  session,
  cgroup,
  files_max,
  core_max,
  processes_max,
  nice,
  user,   // look-up
  group,  // look-up
  groups,
  gid,
  uid,
  ids_kept,  // the change reported success and did not happen
  capabilities,
  no_new_privs,
  end_with_parent,
  dir,
  descriptors,
  exec,
  interpreter,  // exec said "no such file", but the file is there
};

// What the shim writes into its pipe, in this order, each of them or not: the credentials when it looked them up,
// `shim_ready` (the next call is exec), a failure: 'F', the step, the errno in 4 bytes, the lowest first. Nothing at
// all: the shim died.
inline constexpr char shim_ready = 'R';
inline constexpr char shim_failed = 'F';
inline constexpr std::size_t shim_failure_bytes = 6;
inline constexpr int exit_of_failed_shim = 127;

// Offsets count from the begin of the image, strings end with NUL; 0 stands for nothing.
struct ShimImage {
  std::uint32_t magic;
  std::uint32_t bytes;  // of the whole image
  // Arrays of 64-bit slots, aligned, each slot the offset of a string, one more slot of 0 at the end: the shim turns
  // them into the pointers that execve(2) wants where they lie.
  std::uint32_t argv;
  std::uint32_t argc;
  std::uint32_t envp;
  std::uint32_t envc;
  std::uint32_t search_path;  // the order's own PATH, for a program without a slash
  std::uint32_t dir;
  std::uint32_t user;  // names to be looked up where has_credentials is not set
  std::uint32_t group;
  std::uint32_t groups;  // array of gid_t
  std::uint32_t group_count;
  std::uint32_t uid;
  std::uint32_t gid;
  std::uint32_t umask;
  std::int32_t nice;
  std::uint32_t kept;  // array of descriptors that stay open in the app
  std::uint32_t kept_count;
  std::int64_t not_before_ns;  // of CLOCK_MONOTONIC, of the call of exec; 0: at once
  std::uint64_t files_soft;    // RLIMIT_NOFILE, soft, where has_files_max is not set
  std::uint64_t files_max;
  std::uint64_t core_bytes_max;
  std::uint64_t processes_max;  // RLIMIT_NPROC
  std::int32_t parent_pid;
  std::int32_t report_fd;
  std::int32_t out_fd;
  std::int32_t err_fd;
  std::int32_t cgroup_procs_fd;
  std::uint8_t has_credentials;
  std::uint8_t has_uid;
  std::uint8_t has_gid;
  std::uint8_t has_files_max;
  std::uint8_t has_core_bytes_max;
  std::uint8_t no_new_privs;
  std::uint8_t end_with_parent;
  std::uint8_t has_processes_max;
};

// Kept descriptors are numbered upwards to this, or to the app's own limit where that is lower: above the numbers that
// scripts and sd_listen_fds(3) choose by hand and below those that select(2) cannot take.
inline constexpr std::uint64_t kept_fds_below = 1024;

// Both sides are of the same build, or the order is refused.
consteval std::uint32_t shim_magic(const char* version) {
  std::uint32_t hash = 0x811c9dc5U ^ static_cast<std::uint32_t>(sizeof(ShimImage));  // FNV-1a
  for (; *version != 0; ++version) hash = (hash ^ static_cast<unsigned char>(*version)) * 0x01000193U;
  return hash;
}

}  // namespace muster::supervisor
