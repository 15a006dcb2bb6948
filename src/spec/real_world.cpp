// The outside that a spec is read from: files, globs, users, the environment.
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <memory>

#include "base/fd.h"
#include "base/limits.h"
#include "fmt/core.h"
#include "spec/load.h"

namespace muster::spec {

namespace {

Error no_file(const std::string& path, const std::string& why, int error_number = 0) {
  return {fmt::format("cannot read {}: {}", path, why), ExitCode::no_spec, error_number};
}

Result<std::string> read_all(const Fd& fd, const std::string& path) {
  std::string text;
  constexpr std::size_t step = 64U << 10U;
  // One byte more than is allowed: the file may grow while it is read.
  while (text.size() <= limits::spec_file_bytes_max) {
    const std::size_t had = text.size();
    text.resize(had + step);
    const ssize_t got = read(fd.get(), text.data() + had, step);
    text.resize(had + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return no_file(path, errno_text(errno), errno);
    if (got == 0) return text;
  }
  return Error{fmt::format("{} is larger than {} MiB", path, limits::spec_file_bytes_max >> 20U),
               ExitCode::bad_spec};
}

// Non-blocking, so that opening a FIFO does not wait for its other end.
Result<std::string> read_regular_file(const std::string& path) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd) return no_file(path, errno_text(errno), errno);
  struct stat status {};
  if (fstat(fd.get(), &status) != 0) return no_file(path, errno_text(errno), errno);
  if (S_ISDIR(status.st_mode)) return no_file(path, "it is a directory");
  if (!S_ISREG(status.st_mode)) return no_file(path, "it is not a regular file");
  if (static_cast<std::uint64_t>(status.st_size) > limits::spec_file_bytes_max)
    return Error{fmt::format("{} is larger than {} MiB", path, limits::spec_file_bytes_max >> 20U),
                 ExitCode::bad_spec};
  return read_all(fd, path);
}

Result<std::vector<std::string>> glob_sorted(const std::string& pattern) {
  glob_t found{};
  const int outcome = glob(pattern.c_str(), 0, nullptr, &found);
  std::vector<std::string> paths(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  globfree(&found);
  if (outcome != 0 && outcome != GLOB_NOMATCH)
    return Error{fmt::format("cannot look for {}", pattern), ExitCode::bad_spec};
  std::ranges::sort(paths);
  return paths;
}

std::map<std::string, std::string> as_map(const std::vector<std::string>& environment) {
  std::map<std::string, std::string> variables;
  for (const std::string& assignment : environment) {
    const auto equals = assignment.find('=');
    if (equals != std::string::npos)
      variables.emplace(assignment.substr(0, equals), assignment.substr(equals + 1));
  }
  return variables;
}

// That users cannot be looked up now is no mistake of the spec; the start of a replica will tell. getpwnam(3) lists
// the others, of "there is none".
bool nobody_could_tell(int error) {
  return error == EMFILE || error == ENFILE || error == ENOMEM || error == EIO || error == EAGAIN ||
         error == EACCES;
}

}  // namespace

World real_world(std::vector<std::string> environment) {
  auto variables = std::make_shared<const std::map<std::string, std::string>>(as_map(environment));
  World world;
  world.read_file = read_regular_file;
  world.glob = glob_sorted;
  world.env = [variables](const std::string& name) -> std::optional<std::string> {
    const auto found = variables->find(name);
    return found == variables->end() ? std::nullopt : std::optional(found->second);
  };
  // Only the control thread loads specs, so the static buffers of these two are nobody else's.
  world.user_exists = [](const std::string& name) {
    errno = 0;
    return getpwnam(name.c_str()) != nullptr || nobody_could_tell(errno);
  };
  world.group_exists = [](const std::string& name) {
    errno = 0;
    return getgrnam(name.c_str()) != nullptr || nobody_could_tell(errno);
  };
  world.world_readable = [](const std::string& path) {
    struct stat status {};
    return stat(path.c_str(), &status) == 0 && (status.st_mode & S_IROTH) != 0;
  };
  world.now = std::chrono::system_clock::now;
  return world;
}

}  // namespace muster::spec
