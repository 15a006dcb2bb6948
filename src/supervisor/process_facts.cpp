#include "supervisor/process_facts.h"

#include <linux/limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "supervisor/proc_scan.h"

namespace muster::supervisor {

namespace {

constexpr std::string_view deleted = " (deleted)";

std::optional<std::string> read_link(const std::string& path) {
  std::array<char, PATH_MAX> target{};
  const ssize_t length = ::readlink(path.c_str(), target.data(), target.size());
  if (length <= 0) return std::nullopt;
  return std::string(target.data(), static_cast<std::size_t>(length));
}

// What cannot be looked at (a broken disk, no memory) is not taken for gone.
bool is_there(const std::string& path, mode_t type) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return errno != ENOENT && errno != ENOTDIR;
  return (info.st_mode & S_IFMT) == type;
}

}  // namespace

ProcessFacts process_facts(int pid, const std::vector<std::pair<std::string, std::string>>& volumes) {
  const std::string folder = "/proc/" + std::to_string(pid) + "/";
  ProcessFacts facts;
  facts.exe = read_link(folder + "exe");
  const auto program = program_of(pid);
  facts.exe_exists = program && is_there(*program, S_IFREG);
  if (auto limits = read_small_file(folder + "limits")) facts.limits = std::move(limits.value());
  if (auto environ = read_environ(pid)) facts.environ = std::move(environ.value());
  for (const auto& [key, path] : volumes) facts.volumes.emplace_back(path, is_there(path, S_IFDIR));
  return facts;
}

std::optional<std::string> program_of(int pid) {
  auto exe = read_link("/proc/" + std::to_string(pid) + "/exe");
  if (exe && exe->ends_with(deleted)) exe->resize(exe->size() - deleted.size());
  return exe;
}

}  // namespace muster::supervisor
