#include "supervisor/proc_scan.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>

#include "base/fd.h"
#include "supervisor/text.h"

namespace muster::supervisor {
namespace {

constexpr std::size_t environ_bytes_max =
    2U << 20U;  // the kernel's own bound for arguments and environment together

// "PID/stat", or with /proc/ before it. A single record of procfs comes in one piece where it fits, and this is at most
// some 1100 bytes long: so one read does, which counts when there are a thousand processes.
Result<ProcStat> read_stat(int folder, const std::string& path) {
  std::array<char, 2048> text;  // NOLINT(cppcoreguidelines-pro-type-member-init): filled by read(2)
  const Fd fd(openat(folder, path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return system_error(path, errno);
  ssize_t got = 0;
  do got = read(fd.get(), text.data(), text.size());
  while (got < 0 && errno == EINTR);
  if (got < 0) return system_error(path, errno);
  const auto process = parse_proc_stat({text.data(), static_cast<std::size_t>(got)});
  if (!process) return Error{.message = path + " is not that of a process"};
  return *process;
}

std::string of(int pid, const char* file) {
  return "/proc/" + std::to_string(pid) + "/" + file;
}

}  // namespace

Result<std::string> read_small_file(const std::string& path, std::size_t bytes_max) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return system_error(path, errno);
  std::string text;
  std::size_t piece = 4096;
  while (text.size() < bytes_max) {
    const std::size_t before = text.size();
    if (before >= piece) piece = 64U << 10U;  // a large one after all
    text.resize(std::min(before + piece, bytes_max));
    ssize_t got = 0;
    do got = read(fd.get(), &text[before], text.size() - before);
    while (got < 0 && errno == EINTR);
    if (got < 0) return system_error(path, errno);
    text.resize(before + static_cast<std::size_t>(got));
    if (got == 0) break;
  }
  return text;
}

Result<ProcStat> stat_of_process(int pid) {
  return read_stat(AT_FDCWD, of(pid, "stat"));
}

std::optional<ProcStat> read_process(int pid) {
  const Result<ProcStat> process = stat_of_process(pid);
  return process ? std::optional(process.value()) : std::nullopt;
}

std::optional<std::vector<ProcStat>> read_processes() {
  std::vector<ProcStat> processes;
  DIR* folder = opendir("/proc");
  if (!folder) return std::nullopt;
  bool complete = true;
  std::string path;
  while (const dirent* entry = complete ? readdir(folder) : nullptr) {
    if (!parse_number(entry->d_name)) continue;
    path.assign(entry->d_name).append("/stat");
    const Result<ProcStat> process = read_stat(dirfd(folder), path);
    if (process) {
      processes.push_back(process.value());
    } else {
      complete = !is_shortage(process.error().errno_value);  // else it has just ended
    }
  }
  closedir(folder);
  if (!complete) return std::nullopt;
  return processes;
}

std::string process_name(int pid) {
  auto name = read_small_file(of(pid, "comm"), 64);
  if (!name) return {};
  std::string text = std::move(name).value();
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return escape_for_terminal(text);  // a process gives itself any name
}

bool is_shortage(int error_number) {
  return error_number == EMFILE || error_number == ENFILE || error_number == ENOMEM || error_number == ENOLCK;
}

std::uint64_t own_pid_namespace() {
  struct stat info {};
  return stat("/proc/self/ns/pid", &info) == 0 ? info.st_ino : 0;
}

Result<std::string> read_environ(int pid) {
  return read_small_file(of(pid, "environ"), environ_bytes_max);
}

std::uint64_t resident_bytes(int pid) {
  const Result<std::string> text = read_small_file(of(pid, "statm"), 256);
  const auto pages = text ? parse_statm_resident(text.value()) : std::nullopt;
  return pages.value_or(0) * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

std::uint64_t proportional_bytes(int pid) {
  const Result<std::string> text = read_small_file(of(pid, "smaps_rollup"), 4096);
  const auto bytes = text ? parse_proportional(text.value()) : std::nullopt;
  return bytes ? *bytes : resident_bytes(pid);
}

// By number: glibc 2.36 declares these without C linkage.
bool signal_pidfd(int pidfd, int signal_number) {
  return syscall(SYS_pidfd_send_signal, pidfd, signal_number, nullptr, 0) == 0;
}

bool signal_process(const ProcStat& process, int signal_number) {
  // The descriptor holds on to one process; only then its start time is compared.
  const Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, process.pid, 0)));
  if (!pidfd && errno == ESRCH) return false;
  const std::optional<ProcStat> now = read_process(process.pid);
  if (!now || now->start_ticks != process.start_ticks) return false;
  if (!pidfd) return kill(process.pid, signal_number) == 0;  // no descriptor left: the number will have to do
  return signal_pidfd(pidfd.get(), signal_number);
}

}  // namespace muster::supervisor
