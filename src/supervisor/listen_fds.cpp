#include "supervisor/listen_fds.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>

namespace muster::supervisor {
namespace {

constexpr int first_fd = 3;
constexpr int fds_max = 65536;  // sockets, and what the manager kept: more than that were not meant for us

std::optional<int> parse_whole(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Error wrong(std::string_view name, const std::string& value, std::string_view what) {
  return {std::string(name) + "=" + value + " " + std::string(what), ExitCode::failed, EINVAL};
}

std::vector<std::string> split_names(std::string_view text) {
  std::vector<std::string> names;
  for (;;) {
    const std::size_t colon = text.find(':');
    names.emplace_back(text.substr(0, colon));
    if (colon == std::string_view::npos) return names;
    text.remove_prefix(colon + 1);
  }
}

// NOLINTBEGIN(concurrency-mt-unsafe): called before there are threads, see the header
std::optional<std::string> take_variable(const char* name) {
  const char* value = std::getenv(name);
  std::optional<std::string> taken;
  if (value) taken = value;
  unsetenv(name);
  return taken;
}
// NOLINTEND(concurrency-mt-unsafe)

}  // namespace

Result<std::vector<std::pair<std::string, int>>> parse_listen_fds(const ListenFdsVariables& variables,
                                                                  int pid) {
  std::vector<std::pair<std::string, int>> found;
  if (!variables.pid || !variables.fds) return found;
  const auto for_pid = parse_whole(*variables.pid);
  if (!for_pid || *for_pid <= 0) return wrong("LISTEN_PID", *variables.pid, "is not a process id");
  if (*for_pid != pid) return found;
  const auto count = parse_whole(*variables.fds);
  if (!count || *count < 0 || *count > fds_max)
    return wrong("LISTEN_FDS", *variables.fds, "is not a number from 0 to " + std::to_string(fds_max));
  std::vector<std::string> names;
  if (variables.names && !variables.names->empty()) names = split_names(*variables.names);
  if (names.size() > static_cast<std::size_t>(*count))
    return wrong("LISTEN_FDNAMES", *variables.names,
                 "has more names than the " + std::to_string(*count) + " of LISTEN_FDS");
  names.resize(static_cast<std::size_t>(*count));
  for (int i = 0; i < *count; ++i) {
    std::string& name = names[static_cast<std::size_t>(i)];
    found.emplace_back(name.empty() ? "unknown" : std::move(name), first_fd + i);
  }
  return found;
}

Result<std::vector<std::pair<std::string, Fd>>> take_listen_fds() {
  ListenFdsVariables variables;
  variables.pid = take_variable("LISTEN_PID");
  variables.fds = take_variable("LISTEN_FDS");
  variables.names = take_variable("LISTEN_FDNAMES");
  auto parsed = parse_listen_fds(variables, getpid());
  if (!parsed) return std::move(parsed).error();
  std::vector<std::pair<std::string, Fd>> taken;
  for (auto& [name, number] : parsed.value()) {
    const int flags = fcntl(number, F_GETFD);
    if (flags < 0 || fcntl(number, F_SETFD, flags | FD_CLOEXEC) != 0)
      return system_error("descriptor " + std::to_string(number) + ", passed as '" + name + "'", errno);
    taken.emplace_back(std::move(name), Fd(number));
  }
  return taken;
}

void forget_listen_fds() {
  for (const char* name : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"})
    static_cast<void>(take_variable(name));
}

}  // namespace muster::supervisor
