#include "supervisor/replica_records.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <memory>

#include "base/fd.h"
#include "base/limits.h"
#include "fmt/core.h"
#include "supervisor/folders.h"
#include "supervisor/proc_scan.h"
#include "supervisor/write_file.h"

namespace muster::supervisor {
namespace {

constexpr char life_name[] = "daemon";
constexpr char mark_suffix[] = ".mark";
constexpr mode_t folder_mode = 0700;

Status replace_file(const std::string& path, std::string_view text) {
  const std::string temporary = path + ".tmp";
  if (Status written = write_file(temporary, text, Synced::no); !written) {
    unlink(temporary.c_str());
    return written;
  }
  if (rename(temporary.c_str(), path.c_str()) == 0) return Unit{};
  const int error = errno;
  unlink(temporary.c_str());
  return system_error("rename " + temporary, error);
}

// Over the same bytes in one go, so that a reader finds the old line or the new one.
Status overwrite(const std::string& path, std::string_view line) {
  const Fd file(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return system_error("open " + path, errno);
  const ssize_t written = pwrite(file.get(), line.data(), line.size(), 0);
  if (written != static_cast<ssize_t>(line.size()))
    return system_error("write " + path, written < 0 ? errno : ENOSPC);
  return Unit{};
}

Result<std::vector<std::string>> names_in(const std::string& folder) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir(folder.c_str()), closedir);
  if (!dir) {
    if (errno == ENOENT || errno == ENOTDIR) return names;
    return system_error(folder, errno);
  }
  for (;;) {
    errno = 0;
    const dirent* const entry = readdir(dir.get());
    if (entry == nullptr) break;
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  if (errno != 0) return system_error(folder, errno);
  std::sort(names.begin(), names.end());
  return names;
}

std::optional<InstanceId> instance_of(std::string_view name) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc{} || end != name.data() + name.size() || number == 0) return std::nullopt;
  return InstanceId{number};
}

// Of a daemon whose own file is damaged, as what it started was written down.
std::optional<DaemonLife> life_told_by(const std::vector<ReplicaRecord>& records) {
  if (records.empty()) return std::nullopt;
  DaemonLife life{.boot_id = records.front().boot_id, .cgroups = {}, .token = ""};
  for (const ReplicaRecord& record : records) {
    if (life.token.empty()) life.token = record.token.substr(0, record.token.find('-'));
    if (record.cgroup.empty()) continue;
    std::string folder = record.cgroup.substr(0, record.cgroup.rfind('/'));
    if (std::ranges::find(life.cgroups, folder) == life.cgroups.end())
      life.cgroups.push_back(std::move(folder));
  }
  return life;
}

}  // namespace

std::string current_boot_id() {
  auto text = read_small_file("/proc/sys/kernel/random/boot_id", 64);
  if (!text) return "";
  std::string id = std::move(text.value());
  id.erase(id.find_last_not_of('\n') + 1);
  return id;
}

ReplicaRecords::ReplicaRecords(std::string folder, std::string boot_id,
                               std::function<void(const std::string&)> on_error)
    : folder_(std::move(folder)), boot_id_(std::move(boot_id)), on_error_(std::move(on_error)) {}

std::string ReplicaRecords::path_of(InstanceId instance) const {
  return fmt::format("{}/{}", folder_, raw(instance));
}

Status ReplicaRecords::read_one(const std::string& name, InstanceId instance, Found& found) {
  const std::string path = folder_ + "/" + name;
  const auto text = read_small_file(path, limits::state_file_bytes_max);
  if (!text && is_shortage(text.error().errno_value)) return text.error();
  auto record = text ? decode_record(text.value()) : Result<ReplicaRecord>(text.error());
  if (record && record.value().boot_id == boot_id_ && record.value().process.instance == instance) {
    const auto line = read_small_file(path + mark_suffix, mark_line_bytes);
    if (!line && is_shortage(line.error().errno_value)) return line.error();
    // Without a mark it was never seen to run: whatever it has become is ended.
    if (line) static_cast<void>(decode_mark(line.value(), record.value()));
    found.records.push_back(std::move(record.value()));
    return Unit{};
  }
  if (!record)
    found.warnings.push_back(fmt::format("{} {}: what it is of is ended", path, record.error().message));
  found.useless.push_back(instance);
  return Unit{};
}

Result<ReplicaRecords::Found> ReplicaRecords::find() {
  auto names = names_in(folder_);
  if (!names) return std::move(names).error();
  Found found;
  const std::string life_path = folder_ + "/" + life_name;
  const auto text = read_small_file(life_path, limits::state_file_bytes_max);
  if (!text && is_shortage(text.error().errno_value)) return text.error();
  const bool missing = !text && (text.error().errno_value == ENOENT || text.error().errno_value == ENOTDIR);
  if (!missing && boot_id_.empty())
    return Error{
        .message =
            "replicas may be running, and which boot they are of cannot be told: the kernel's boot_id "
            "cannot be read"};
  auto life = text ? decode_life(text.value()) : Result<DaemonLife>(text.error());
  const bool damaged = !missing && !life;
  if (damaged)
    found.warnings.push_back(
        fmt::format("{} {}: the records of replicas are taken", life_path, life.error().message));
  if (life && life.value().boot_id == boot_id_) found.life = std::move(life.value());
  for (const std::string& name : names.value()) {
    const auto instance = instance_of(name);
    if (!instance) continue;
    found.next = std::max(found.next, InstanceId{raw(*instance) + 1});
    if (!found.life && !damaged) {
      found.useless.push_back(*instance);
    } else if (Status read = read_one(name, *instance, found); !read) {
      return std::move(read).error();
    }
  }
  for (const InstanceId instance : found.useless) remove(instance);
  for (const std::string& name : names.value()) {
    if (name.ends_with(".tmp")) unlink((folder_ + "/" + name).c_str());
  }
  if (damaged) found.life = life_told_by(found.records);
  return found;
}

Status ReplicaRecords::begin(DaemonLife life) {
  life.boot_id = boot_id_;
  unwritten_life_ = encode_life(life);
  return write_life();
}

Status ReplicaRecords::write_life() {
  if (unwritten_life_.empty()) return Unit{};
  if (Status made = make_folders(folder_, folder_mode); !made) return made;
  Status written = replace_file(folder_ + "/" + life_name, unwritten_life_);
  if (written) unwritten_life_.clear();
  return written;
}

void ReplicaRecords::end() {
  unwritten_life_.clear();
  unlink((folder_ + "/" + life_name).c_str());
  for (const auto& [instance, replica] : std::exchange(retired_, {})) remove(instance);
}

void ReplicaRecords::report(const Status& status) {
  if (status.ok() != failing_) return;
  failing_ = !status.ok();
  on_error_(failing_ ? "the records of the replicas cannot be written: " + status.error().message : "");
}

void ReplicaRecords::add(const ReplicaRecord& record) {
  for (const auto& [instance, replica] : retired_) {
    if (replica == record.process.replica) outlived_.push_back(instance);
  }
  // Half a record is of a process that was never started.
  const std::string path = path_of(record.process.instance);
  Status written = write_life();
  if (written) written = write_file(path, encode_record(record), Synced::no);
  if (!written) unlink(path.c_str());
  report(written);
  keep(record);
}

void ReplicaRecords::remove_outlived() {
  for (const InstanceId instance : std::exchange(outlived_, {})) remove(instance);
}

std::vector<InstanceId> ReplicaRecords::take_retired() {
  return std::exchange(newly_retired_, {});
}

void ReplicaRecords::keep(const ReplicaRecord& record) {
  ReplicaRecord& mine = marks_[record.process.instance];
  mine.process.instance = record.process.instance;
  mine.process.replica = record.process.replica;
  mine.process.pid = record.process.pid;
  mine.process.started = record.process.started;
  mine.process.mark = record.process.mark;
  mine.process.exit = record.process.exit;
  mine.start_ticks = record.start_ticks;
}

void ReplicaRecords::write_mark(const ReplicaRecord& record) {
  report(overwrite(path_of(record.process.instance) + mark_suffix, encode_mark(record)));
}

void ReplicaRecords::began(InstanceId instance, int pid, std::uint64_t start_ticks, WallTime at) {
  const auto known = marks_.find(instance);
  if (known == marks_.end()) return;
  known->second.process.pid = pid;
  known->second.process.started = at;
  known->second.start_ticks = start_ticks;
  write_mark(known->second);
}

void ReplicaRecords::mark(InstanceId instance, const ReplicaMark& mark) {
  const auto known = marks_.find(instance);
  if (known == marks_.end()) return;
  known->second.process.mark = mark;
  if (known->second.process.pid != 0) write_mark(known->second);
}

void ReplicaRecords::exited(InstanceId instance, const ExitStatus& status) {
  const auto known = marks_.find(instance);
  if (known == marks_.end() || known->second.process.exit) return;
  known->second.process.exit = status;
  if (known->second.process.pid != 0) write_mark(known->second);
}

void ReplicaRecords::retire(InstanceId instance) {
  const auto known = marks_.find(instance);
  if (known == marks_.end()) return remove(instance);
  retired_[instance] = known->second.process.replica;
  newly_retired_.push_back(instance);
  marks_.erase(known);
}

void ReplicaRecords::remove(InstanceId instance) {
  const std::string path = path_of(instance);
  marks_.erase(instance);
  retired_.erase(instance);
  std::erase(newly_retired_, instance);
  // The mark goes first: a record without one is of a process that may be ended.
  unlink((path + mark_suffix).c_str());
  unlink(path.c_str());
}

}  // namespace muster::supervisor
