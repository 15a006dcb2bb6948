#include "supervisor/file_trust.h"

#include <pwd.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <utility>

#include "fmt/core.h"
#include "supervisor/safe_path.h"

namespace muster::supervisor {
namespace {

std::string owner_name(uid_t uid) {
  passwd entry{};
  passwd* found = nullptr;
  std::array<char, 4096> room{};
  if (::getpwuid_r(uid, &entry, room.data(), room.size(), &found) != 0 || found == nullptr)
    return fmt::format("uid {}", uid);
  return fmt::format("{} (uid {})", entry.pw_name, uid);
}

// In a sticky folder (/tmp) nobody moves what is root's.
bool root_alone_changes(const struct stat& info) {
  const bool shared = S_ISDIR(info.st_mode) && (info.st_mode & S_ISVTX) != 0;
  return info.st_uid == 0 && ((info.st_mode & (S_IWGRP | S_IWOTH)) == 0 || shared);
}

std::optional<std::string> first_changeable(const std::string& path) {
  for (std::size_t end = path.size(); end != std::string::npos;
       end = end == 0 ? end - 1 : path.rfind('/', end - 1)) {
    const std::string part = end == 0 ? "/" : path.substr(0, end);
    struct stat info {};
    if (::stat(part.c_str(), &info) != 0) return fmt::format("{}: {}", part, errno_text(errno));
    if (root_alone_changes(info)) continue;
    return fmt::format("{} is owned by {}, mode {:04o}", part, owner_name(info.st_uid),
                       info.st_mode & 07777U);
  }
  return std::nullopt;
}

bool runs_as_root(const spec::App& app) {
  return app.user.empty() || app.user == "root" || app.user == "0";
}

std::optional<std::string> untrusted_env_file_of(const spec::App& app) {
  if (!runs_as_root(app)) return std::nullopt;
  for (const std::string& file : app.env_files) {
    if (const auto who = changeable_by_others(file))
      return fmt::format("{}, an env_file of {}, which runs as root, may be changed by others than root: {}",
                         file, app.name, *who);
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> changeable_by_others(const std::string& path) {
  if (auto who = first_changeable(path)) return who;
  std::error_code problem;
  const std::string real = std::filesystem::canonical(path, problem).string();
  if (problem) return fmt::format("{}: {}", path, problem.message());
  return real == path ? std::nullopt : first_changeable(real);
}

std::optional<std::string> untrusted_file_of(const spec::Spec& spec) {
  for (const std::string& file : spec.files) {
    if (const auto who = changeable_by_others(file))
      return fmt::format("{} may be changed by others than root: {}", file, *who);
  }
  for (const spec::App& app : spec.apps) {
    if (auto found = untrusted_env_file_of(app)) return found;
  }
  for (const spec::Job& job : spec.jobs) {
    if (auto found = untrusted_env_file_of(job.task)) return found;
  }
  return std::nullopt;
}

spec::ReadFile without_planted_links(spec::ReadFile read) {
  return [read = std::move(read)](const std::string& path) -> Result<std::string> {
    const auto found = find_file(path);
    if (!found) {
      Error error = found.error();
      const bool planted = error.errno_value == ELOOP;  // said in its own words
      error.message =
          fmt::format("cannot read {}: {}", path, planted ? error.message : errno_text(error.errno_value));
      error.code = ExitCode::no_spec;
      return error;
    }
    const std::string name = fmt::format("/proc/self/fd/{}", found.value().get());
    auto text = read(name);
    if (text) return text;
    Error error = std::move(text).error();
    if (const std::size_t at = error.message.find(name); at != std::string::npos)
      error.message.replace(at, name.size(), path);
    return error;
  };
}

}  // namespace muster::supervisor
