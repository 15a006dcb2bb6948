// Reads /proc: one file, one process, all processes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "supervisor/proc_files.h"

namespace muster::supervisor {

// The first `bytes_max` bytes of a file of procfs, cgroupfs or sysfs.
Result<std::string> read_small_file(const std::string& path, std::size_t bytes_max = 64U << 10U);

Result<ProcStat> stat_of_process(int pid);
std::optional<ProcStat> read_process(int pid);  // for whom one that cannot be looked at is gone
// All of them; none when descriptors or memory ran out on the way: a list with gaps would call the living dead.
std::optional<std::vector<ProcStat>> read_processes();
std::uint64_t own_pid_namespace();  // 0: unknown
Result<std::string> read_environ(int pid);
bool is_shortage(int error_number);  // of descriptors or memory, also for locks
std::uint64_t resident_bytes(int pid);
// What is shared counts by its share; where the kernel does not let us look, as resident_bytes().
std::uint64_t proportional_bytes(int pid);
std::string process_name(int pid);  // /proc/PID/comm; empty: it is gone

// pidfd_send_signal(2).
bool signal_pidfd(int pidfd, int signal_number);
// Sends the signal to that very process, never to a later one with its number. False when it is gone.
bool signal_process(const ProcStat& process, int signal_number);

}  // namespace muster::supervisor
