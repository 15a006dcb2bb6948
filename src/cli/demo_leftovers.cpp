#include "cli/demo_leftovers.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include "base/fd.h"
#include "fmt/core.h"

namespace muster::cli {

namespace fs = std::filesystem;

namespace {

void add(std::string& list, const std::string& entry) {
  list += (list.empty() ? "" : ", ") + entry;
}

bool is_open(std::uint16_t port) {
  const Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

bool runs_in(const fs::path& process, const std::string& folder) {
  std::error_code problem;
  const std::string where = fs::read_symlink(process / "cwd", problem).string();
  return !problem && where.starts_with(folder);
}

}  // namespace

std::string process_start(int pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string line;
  std::getline(file, line);
  const std::size_t name_end = line.rfind(')');  // the name may hold anything
  if (name_end == std::string::npos) return "";
  std::istringstream rest(line.substr(name_end + 1));
  std::vector<std::string> fields;
  for (std::string field; rest >> field;) fields.push_back(field);
  // The first of them is field 3, the state.
  const bool runs = fields.size() > 19 && fields[0] != "Z" && fields[0] != "X";
  return runs ? fields[19] : "";
}

std::string processes_left(const std::set<std::pair<int, std::string>>& known, const std::string& folder) {
  std::set<int> left;
  for (const auto& [pid, start] : known) {
    if (!start.empty() && process_start(pid) == start) left.insert(pid);
  }
  std::error_code problem;
  for (const fs::directory_entry& entry : fs::directory_iterator("/proc", problem)) {
    const std::string name = entry.path().filename().string();
    const bool is_pid = std::ranges::all_of(name, [](char c) { return c >= '0' && c <= '9'; });
    if (is_pid && runs_in(entry.path(), folder)) left.insert(std::stoi(name));
  }
  std::string list;
  for (const int pid : left) add(list, fmt::format("pid {}", pid));
  return list;
}

std::string ports_open(const DemoPorts& ports) {
  std::string list;
  for (int port = ports.first; port <= ports.range_last(); ++port) {
    const auto number = static_cast<std::uint16_t>(port);
    if (number != ports.claim() && is_open(number)) add(list, fmt::format("port {}", number));
  }
  return list;
}

}  // namespace muster::cli
