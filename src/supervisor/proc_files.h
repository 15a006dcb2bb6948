// What the text files of procfs and cgroupfs say. Pure: text in, values out; what cannot be read is none.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace muster::supervisor {

struct ProcStat {  // /proc/PID/stat
  int pid = 0;
  char state = '?';  // 'Z' and 'X' have ended
  int parent = 0;
  int session = 0;
  std::uint64_t cpu_ticks = 0;  // user and system
  std::uint64_t threads = 0;
  std::uint64_t start_ticks = 0;  // since boot: with the pid it names one process
  std::uint64_t resident_pages = 0;
  [[nodiscard]] bool ended() const { return state == 'Z' || state == 'X' || state == 'x'; }
};
std::optional<ProcStat> parse_proc_stat(std::string_view text);

// The comma-separated items of NAME=… in /proc/PID/environ; they point into `environ`.
std::vector<std::string_view> environ_items(std::string_view environ, std::string_view name);
std::vector<std::string> environ_lines(std::string_view environ);  // "NAME=value"

// The path of "0::PATH" in /proc/PID/cgroup. None when there is no cgroup2 or the group was removed.
std::optional<std::string> parse_cgroup2_path(std::string_view text);

// Where the cgroup2 group `path` is seen in the file system, by /proc/self/mountinfo. One for each mount.
std::vector<std::string> cgroup2_folders(std::string_view mountinfo, std::string_view path);

// The number behind `key` in lines "key number": cgroup.events, cpu.stat, memory.events.
std::optional<std::uint64_t> keyed_number(std::string_view text, std::string_view key);

std::vector<int> parse_pids(std::string_view text);                        // cgroup.procs
std::optional<std::uint64_t> parse_statm_resident(std::string_view text);  // pages
// "Pss:" of /proc/PID/smaps_rollup, in bytes.
std::optional<std::uint64_t> parse_proportional(std::string_view text);

// A whole text as a number; none for anything else.
std::optional<std::uint64_t> parse_number(std::string_view text);

}  // namespace muster::supervisor
