#include "supervisor/volume_registry.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <memory>
#include <optional>

#include "base/fd.h"
#include "base/limits.h"
#include "fmt/core.h"
#include "supervisor/kept_file.h"
#include "supervisor/volume_lock.h"

namespace muster::supervisor {
namespace {

using Folder = std::unique_ptr<DIR, int (*)(DIR*)>;

Folder list(Fd folder) {
  Folder opened(folder ? ::fdopendir(folder.get()) : nullptr, ::closedir);
  if (opened) static_cast<void>(folder.release());  // closedir(3) closes it
  return opened;
}

Fd open_folder(int above, const char* name) {
  return Fd(::openat(above, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

template <typename Visit>
void each_name(int above, const char* folder, const Visit& visit) {
  const Folder opened = list(open_folder(above, folder));
  if (!opened) return;
  while (const dirent* entry = ::readdir(opened.get())) {
    const char* const name = static_cast<const char*>(entry->d_name);
    if (name[0] != '.') visit(::dirfd(opened.get()), name);
  }
}

std::optional<int> ordinal_of(std::string_view text) {
  int value = -1;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = problem == std::errc() && end == text.data() + text.size();
  return whole && value >= 0 && value <= limits::replicas_max ? std::optional(value) : std::nullopt;
}

bool is_empty_folder(int above, const std::string& name) {
  const Folder opened = list(open_folder(above, name.c_str()));
  if (!opened) return false;
  while (const dirent* entry = ::readdir(opened.get())) {
    const std::string_view inside = static_cast<const char*>(entry->d_name);
    if (inside != "." && inside != "..") return false;
  }
  return true;
}

void look_at_lock(int above, const std::string& name, VolumeSight& sight) {
  const std::string lock = volume_lock_name(name);
  const Fd file(::openat(above, lock.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  struct stat info {};
  if (!file || ::fstat(file.get(), &info) != 0) return;
  if (!S_ISREG(info.st_mode) || info.st_nlink != 1 || info.st_uid != ::geteuid()) return;
  sight.lock = VolumeSight::Lock::blank;
  std::array<char, limits::volume_stamp_bytes_max> text{};
  const ssize_t got = ::pread(file.get(), text.data(), text.size(), 0);
  if (got <= 0) return;
  auto stamp = decode_stamp({text.data(), static_cast<std::size_t>(got)});
  if (!stamp) return;
  sight.lock = VolumeSight::Lock::stamped;
  sight.stamp = std::move(*stamp);
}

std::int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

std::string new_volume_id() {
  std::array<unsigned char, 16> bytes{};
  std::string id;
  // Never short for so few bytes; what is missing stays 0, and time tells them apart.
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    return fmt::format("{:032x}", now_ms());
  for (const unsigned char byte : bytes) id += fmt::format("{:02x}", byte);
  return id;
}

Result<VolumeSight> look_at_volume(int above, const std::string& name) {
  VolumeSight sight;
  struct stat info {};
  if (::fstatat(above, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno != ENOENT) return system_error(name, errno);
  } else {
    sight.kind = S_ISDIR(info.st_mode) ? VolumeSight::Kind::directory : VolumeSight::Kind::other;
    sight.directory = {.device = info.st_dev, .inode = info.st_ino};
    sight.uid = info.st_uid;
    sight.gid = info.st_gid;
    if (sight.kind == VolumeSight::Kind::directory) sight.empty = is_empty_folder(above, name);
  }
  look_at_lock(above, name, sight);
  return sight;
}

VolumeRegistry::VolumeRegistry(std::string state_dir, std::string boot_id)
    : state_dir_(std::move(state_dir)), boot_id_(std::move(boot_id)) {}

std::vector<std::string> VolumeRegistry::load() {
  KeptFile found = load_kept(
      file(), limits::state_file_bytes_max,
      [this](const std::string& text) -> Status {
        auto book = decode_volumes(text, state_dir_);
        if (!book) return std::move(book).error();
        incomplete_ = book.value().incomplete;
        for (VolumeRecord& record : book.value().volumes) {
          const std::string path = record.path;
          records_.insert_or_assign(path, std::move(record));
        }
        return Unit{};
      },
      "");
  const bool damaged = !found.warnings.empty();
  if (found.from == KeptFile::From::current) return found.warnings;
  // Neither file: a first start, or one after a release that kept no list, or the list was lost.
  const auto there = [this](const char* name) { return ::access((state_dir_ + name).c_str(), F_OK) == 0; };
  const bool first = !damaged && !there("/volumes") && !there("/state.json");
  if (!first) {
    incomplete_ = true;
    const std::size_t taken = take_in_what_is_there();
    if (damaged || taken > 0)
      found.warnings.push_back(fmt::format(
          "volumes known from the lock files beside them: {}; `muster volumes` lists them", taken));
  }
  if (const Status written = write(); !written)
    found.warnings.push_back("the list of the volumes cannot be written: " + written.error().message);
  return found.warnings;
}

// STATE/volumes/APP/ORDINAL/NAME: those that have a lock file of ours beside them.
std::size_t VolumeRegistry::take_in_what_is_there() {
  std::size_t taken = 0;
  const auto take = [&](int above, const ReplicaId& replica, const std::string& name) {
    const std::string path =
        fmt::format("{}/volumes/{}/{}/{}", state_dir_, replica.app, replica.ordinal, name);
    if (records_.contains(path) || records_.size() >= limits::volumes_found_max) return;
    const auto sight = look_at_volume(above, name);
    if (!sight || sight.value().kind != VolumeSight::Kind::directory) return;
    const VolumeSight& seen = sight.value();
    if (seen.lock == VolumeSight::Lock::none) return;
    const bool stamped = seen.lock == VolumeSight::Lock::stamped;
    if (stamped && seen.stamp.directory.inode != seen.directory.inode) return;
    records_[path] = VolumeRecord{.path = path,
                                  .replica = replica,
                                  .key = name,
                                  .id = stamped ? seen.stamp.id : new_volume_id(),
                                  .directory = seen.directory,
                                  .boot_id = boot_id_,
                                  .uid = seen.uid,
                                  .gid = seen.gid,
                                  .made_ms = now_ms()};
    ++taken;
  };
  each_name(AT_FDCWD, (state_dir_ + "/volumes").c_str(), [&](int apps, const char* app) {
    each_name(apps, app, [&](int ordinals, const char* number) {
      const auto ordinal = ordinal_of(number);
      if (!ordinal) return;
      const ReplicaId replica{.app = app, .ordinal = *ordinal};
      each_name(ordinals, number, [&](int volumes, const char* name) { take(volumes, replica, name); });
    });
  });
  return taken;
}

const VolumeRecord* VolumeRegistry::find(const std::string& path) const {
  const auto at = records_.find(path);
  return at == records_.end() ? nullptr : &at->second;
}

Status VolumeRegistry::put(VolumeRecord record) {
  if (record.made_ms == 0) record.made_ms = now_ms();
  const std::string path = record.path;
  const VolumeRecord* known = find(path);
  if (known != nullptr && *known == record) return Unit{};
  std::optional<VolumeRecord> before;
  if (known != nullptr) before = *known;
  records_.insert_or_assign(path, std::move(record));
  Status written = write();
  if (written) return written;
  if (before) {
    records_.insert_or_assign(path, std::move(*before));
  } else {
    records_.erase(path);
  }
  return written;
}

Status VolumeRegistry::remove(const std::string& path) {
  const auto at = records_.find(path);
  if (at == records_.end()) return Unit{};
  VolumeRecord before = std::move(at->second);
  records_.erase(at);
  Status written = write();
  if (!written) records_.insert_or_assign(path, std::move(before));
  return written;
}

Status VolumeRegistry::write() {
  VolumeBook book{.volumes = {}, .incomplete = incomplete_};
  book.volumes.reserve(records_.size());
  for (const auto& [path, record] : records_) book.volumes.push_back(record);
  unsynced_ = true;
  return write_kept(file(), encode_volumes(book, state_dir_), Synced::no);
}

}  // namespace muster::supervisor
