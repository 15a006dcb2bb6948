#include "cli/paths.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <filesystem>

#include "fmt/core.h"
#include "supervisor/folders.h"

namespace muster::cli {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t id_name_chars_max = 40;

std::string shared_folder(const Surroundings& around) {
  return fmt::format("/tmp/muster-{}", around.uid);
}

std::optional<std::string> real_path(const std::string& path) {
  std::error_code problem;
  const fs::path found = fs::canonical(path, problem);
  if (problem) return std::nullopt;
  return found.string();
}

std::string parent(const std::string& path) {
  return fs::path(path).parent_path().string();
}

// FNV-1a, 32 bits: the same on every machine and in every version.
std::uint32_t fnv1a(std::string_view text) {
  std::uint32_t hash = 2166136261U;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
  return hash;
}

Error no_spec(std::string message) {
  return Error{.message = std::move(message), .code = ExitCode::no_spec};
}

// All muster.toml from here upwards, the nearest first.
std::vector<std::string> specs_upwards(const std::string& cwd) {
  std::vector<std::string> found;
  for (fs::path folder(cwd);; folder = folder.parent_path()) {
    if (auto spec = real_path((folder / "muster.toml").string())) found.push_back(std::move(*spec));
    if (folder == folder.parent_path()) return found;
  }
}

Result<std::string> find_spec(const Arguments& arguments, const Surroundings& around) {
  if (arguments.file) {
    auto found = real_path(absolute_path(*arguments.file, around.cwd));
    if (!found) return no_spec(fmt::format("{}: {}", *arguments.file, errno_text(ENOENT)));
    return std::move(*found);
  }
  if (arguments.command() == Command::daemon) {
    auto found = real_path(std::string(system_spec));
    if (!found)
      return no_spec(
          fmt::format("there is no {}; -f SPEC names another, `muster up` runs ./muster.toml", system_spec));
    return std::move(*found);
  }
  const auto upwards = specs_upwards(around.cwd);
  const std::string here = absolute_path("muster.toml", around.cwd);
  if (!upwards.empty() && real_path(here)) return upwards.front();
  std::string message =
      fmt::format("there is no muster.toml in {}; write one, or name another with -f SPEC", around.cwd);
  if (!upwards.empty()) message += fmt::format(" (the nearest is {})", upwards.front());
  return no_spec(std::move(message));
}

bool is_system(const Arguments& arguments) {
  return arguments.command() == Command::daemon && !arguments.file;
}

// Both places where a project's daemon may listen: with and without a runtime folder (sudo, cron).
void add_project(std::vector<SocketCandidate>& candidates, const std::string& spec,
                 const Surroundings& around) {
  Surroundings without = around;
  without.runtime_dir.clear();
  const std::string reason = fmt::format("of {}", spec);
  candidates.push_back({project_socket(spec, around), reason});
  const std::string other = project_socket(spec, without);
  if (other != candidates.back().path) candidates.push_back({other, reason});
  if (spec == system_spec) candidates.push_back({std::string(system_socket), "the system's"});
}

bool in_shared_folder(const std::string& socket_path, const Surroundings& around) {
  return parent(socket_path) == shared_folder(around);
}

}  // namespace

Surroundings real_surroundings(const Environment& environment) {
  std::error_code problem;
  Surroundings around{.cwd = fs::current_path(problem).string(), .uid = ::getuid(), .runtime_dir = ""};
  const std::string folder = environment("XDG_RUNTIME_DIR").value_or("");
  if (!folder.starts_with('/')) return around;
  // One that cannot be looked at counts as there: the daemon and its clients must not differ over a fault of the disk.
  const fs::file_type type = fs::status(folder, problem).type();
  if (type == fs::file_type::directory || type == fs::file_type::none) around.runtime_dir = folder;
  return around;
}

std::string absolute_path(const std::string& path, const std::string& cwd) {
  return (fs::path(cwd) / path).lexically_normal().string();
}

std::string project_id(const std::string& spec_real_path) {
  std::string name = fs::path(parent(spec_real_path)).filename().string();
  name.resize(std::min(name.size(), id_name_chars_max));
  for (char& c : name) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_' || c == '.';
    if (!plain) c = '-';
  }
  return fmt::format("{}-{:08x}", name.empty() ? "root" : name, fnv1a(spec_real_path));
}

std::string project_socket(const std::string& spec_real_path, const Surroundings& around) {
  const std::string file = project_id(spec_real_path) + ".sock";
  if (!around.runtime_dir.empty()) {
    // A runtime folder so deep that no socket fits counts as none: the daemon and its clients agree on that.
    std::string path = absolute_path("muster/" + file, around.runtime_dir);
    if (path.size() <= socket_path_bytes_max) return path;
  }
  return shared_folder(around) + "/" + file;
}

std::string run_folder(const std::string& socket_path, const Surroundings& around) {
  if (around.uid == 0 && socket_path != system_socket)
    return fmt::format("/run/muster/{}.run", project_id(socket_path));
  constexpr std::string_view ending = ".sock";
  std::string base = socket_path;
  if (base.ends_with(ending)) base.resize(base.size() - ending.size());
  return base + ".run";
}

Status check_socket_path(const std::string& path) {
  if (path.size() <= socket_path_bytes_max) return Unit{};
  return Error{.message = fmt::format("the path of the control socket has {} bytes and may have {}: {}; "
                                      "--socket PATH or MUSTER_SOCKET names a shorter one",
                                      path.size(), socket_path_bytes_max, path),
               .code = ExitCode::usage};
}

Result<DaemonPaths> daemon_paths(const Arguments& arguments, const Surroundings& around) {
  auto spec = find_spec(arguments, around);
  if (!spec) return spec.error();
  DaemonPaths paths{.spec = spec.value(), .socket = "", .state_dir = "", .log_dir = "", .run_dir = ""};
  if (is_system(arguments)) {
    paths.socket = system_socket;
    paths.state_dir = "/var/lib/muster";
    paths.log_dir = "/var/log/muster";
  } else {
    paths.socket = project_socket(paths.spec, around);
    paths.state_dir = absolute_path(".muster", parent(paths.spec));
    paths.log_dir = paths.state_dir + "/log";
  }
  if (arguments.socket) paths.socket = absolute_path(*arguments.socket, around.cwd);
  if (arguments.state_dir) {
    paths.state_dir = absolute_path(*arguments.state_dir, around.cwd);
    paths.log_dir = absolute_path("log", paths.state_dir);
  }
  if (Status fits = check_socket_path(paths.socket); !fits) return fits.error();
  paths.run_dir = run_folder(paths.socket, around);
  return paths;
}

Status check_socket_folder(const std::string& socket_path, const Surroundings& around) {
  if (!in_shared_folder(socket_path, around)) return Unit{};
  const std::string folder = shared_folder(around);
  struct stat info {};
  if (::lstat(folder.c_str(), &info) != 0) return system_error(folder, errno);
  const bool ours = S_ISDIR(info.st_mode) && info.st_uid == around.uid && (info.st_mode & 077U) == 0;
  if (ours) return Unit{};
  return Error{
      .message = fmt::format("{} must be a folder of user {} with mode 0700 (it is of user {}, mode {:04o}); "
                             "remove it, or set XDG_RUNTIME_DIR",
                             folder, around.uid, info.st_uid, info.st_mode & 07777U),
      .code = ExitCode::not_permitted};
}

Status prepare_socket_folder(const std::string& socket_path, const Surroundings& around) {
  const std::string folder = parent(socket_path);
  // The system's folder lets the socket's group through; who may connect is said by the socket itself.
  if (socket_path == system_socket) return supervisor::make_folders(folder, 0755);
  if (!in_shared_folder(socket_path, around)) return supervisor::make_folders(folder, 0700);
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) return system_error(folder, errno);
  return check_socket_folder(socket_path, around);
}

Result<std::vector<SocketCandidate>> client_candidates(const Arguments& arguments,
                                                       const Surroundings& around) {
  std::vector<SocketCandidate> candidates;
  if (arguments.socket) {
    const std::string path = absolute_path(*arguments.socket, around.cwd);
    if (Status fits = check_socket_path(path); !fits) return fits.error();
    candidates.push_back({path, "as asked for"});
    return candidates;
  }
  if (arguments.file) {
    auto spec = find_spec(arguments, around);
    if (!spec) return spec.error();
    add_project(candidates, spec.value(), around);
    return candidates;
  }
  for (const std::string& spec : specs_upwards(around.cwd)) add_project(candidates, spec, around);
  candidates.push_back({std::string(system_socket), "the system's"});
  return candidates;
}

}  // namespace muster::cli
