#include "supervisor/log_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <charconv>
#include <memory>

#include "base/limits.h"

namespace muster::supervisor {
namespace {

// A number as we write it: no sign, no leading zero.
std::optional<int> parse_number(std::string_view digits, int most) {
  int value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  const bool plain =
      !digits.empty() && digits[0] >= '0' && digits[0] <= '9' && (digits[0] != '0' || digits.size() == 1);
  if (!plain || error != std::errc{} || end != digits.data() + digits.size() || value > most)
    return std::nullopt;
  return value;
}

constexpr std::string_view access_prefix = "access-";

bool is_name(std::string_view name) {
  if (name.empty() || name.size() > limits::name_chars_max || name[0] < 'a' || name[0] > 'z' ||
      name.back() == '-')
    return false;
  return name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string_view::npos;
}

struct CloseFolder {
  void operator()(DIR* folder) const { closedir(folder); }
};

WallTime to_wall(const timespec& time) {
  return WallTime{std::chrono::seconds{time.tv_sec} + Nanos{time.tv_nsec}};
}

}  // namespace

std::string log_stem(const ReplicaId& replica) {
  return replica.app + "-" + std::to_string(replica.ordinal);
}

std::string access_log_stem(std::string_view listener) {
  return std::string(access_prefix).append(listener);
}

std::string log_file_name(const std::string& stem, int generation) {
  std::string name = stem + ".log";
  if (generation > 0) name += "." + std::to_string(generation);
  return name;
}

std::optional<LogFileName> parse_log_file_name(std::string_view name) {
  LogFileName parsed;
  if (!name.ends_with(".log")) {
    const std::size_t dot = name.rfind('.');
    const auto generation =
        dot == std::string_view::npos ? std::nullopt : parse_number(name.substr(dot + 1), 1'000'000);
    if (!generation || *generation == 0) return std::nullopt;
    parsed.generation = *generation;
    name = name.substr(0, dot);
  }
  if (!name.ends_with(".log")) return std::nullopt;
  name.remove_suffix(4);
  parsed.stem = name;
  const std::size_t dash = name.rfind('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const auto ordinal = parse_number(name.substr(dash + 1), limits::replicas_max);
  if (ordinal && is_name(name.substr(0, dash))) {
    parsed.replica = ReplicaId{std::string(name.substr(0, dash)), *ordinal};
    return parsed;
  }
  if (name.starts_with(access_prefix) && is_name(name.substr(access_prefix.size()))) return parsed;
  return std::nullopt;
}

Result<std::vector<LogFile>> list_log_files(const std::string& folder) {
  const std::unique_ptr<DIR, CloseFolder> open(opendir(folder.c_str()));
  if (!open) return system_error("cannot read the log folder " + folder, errno);
  std::vector<LogFile> files;
  while (const dirent* entry = readdir(open.get())) {  // NOLINT(concurrency-mt-unsafe): a stream of our own
    auto name = parse_log_file_name(entry->d_name);
    struct stat info {};
    if (!name || fstatat(dirfd(open.get()), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (!S_ISREG(info.st_mode)) continue;
    files.push_back({std::move(*name), folder + "/" + entry->d_name, static_cast<std::uint64_t>(info.st_size),
                     to_wall(info.st_mtim), info.st_dev, info.st_ino});
    if (files.size() == limits::log_files_max) break;
  }
  return files;
}

}  // namespace muster::supervisor
