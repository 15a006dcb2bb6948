#include "supervisor/volume_keeper.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <tuple>

#include "base/limits.h"
#include "fmt/core.h"
#include "spec/fields.h"
#include "supervisor/kept_file.h"
#include "supervisor/proc_scan.h"
#include "supervisor/safe_path.h"
#include "supervisor/volume_lock.h"
#include "supervisor/volume_size.h"
#include "supervisor/volume_tree.h"

namespace muster::supervisor {
namespace {

constexpr std::size_t mountinfo_bytes_max = 16U << 20U;

VolumeCandidate candidate_of(const VolumeRegistry& registry, const spec::App& app, int ordinal,
                             const spec::Volume& volume) {
  VolumeCandidate made;
  made.replica = {.app = app.name, .ordinal = ordinal};
  made.key = volume.key;
  made.path = volume_path(registry.state_dir(), made.replica, volume);
  if (const VolumeRecord* record = registry.find(made.path)) made.record = *record;
  made.in_spec = true;
  made.size = volume.size;
  made.user = app.user;
  made.group = app.group;
  return made;
}

Error refused(std::string message) {
  return Error{.message = std::move(message)};
}

// Of the folder itself, so that a link on the way to it does not hide a mount.
std::string mount_in(const Fd& above, const std::string& name) {
  const Fd folder(::openat(above.get(), name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  std::string real(PATH_MAX, '\0');
  const ssize_t size =
      ::readlink(fmt::format("/proc/self/fd/{}", folder.get()).c_str(), real.data(), real.size());
  const auto mounts = read_small_file("/proc/self/mountinfo", mountinfo_bytes_max);
  if (size <= 0 || !mounts) return "";
  return mount_below(mounts.value(), std::string_view(real).substr(0, static_cast<std::size_t>(size)));
}

}  // namespace

struct VolumeKeeper::Removal {
  VolumeRecord record;
  HeldVolume held;
  Done done;
  Status status = Unit{};
};

VolumeKeeper::VolumeKeeper(uv_loop_s* loop, std::string state_dir, std::string boot_id, VolumeHooks hooks)
    : registry_(std::move(state_dir), std::move(boot_id)),
      hooks_(std::move(hooks)),
      syncs_(loop),
      looks_(loop),
      removals_(loop),
      assignments_(loop, limits::volumes_found_max),
      look_timer_(loop, [this] { look_at_sizes(); }) {}

// A power cut right after a volume was made is told by the stamp beside it; so nobody waits for this.
void VolumeKeeper::sync() {
  if (syncing_ || !registry_.take_unsynced()) return;
  syncing_ =
      syncs_.run([path = registry_.file()](const PoolWork::Stopped&) { static_cast<void>(sync_kept(path)); },
                 [this] {
                   syncing_ = false;
                   sync();
                 });
}

Result<PreparedVolumes> VolumeKeeper::prepare(const ReplicaId& replica, const spec::App& app) {
  PreparedVolumes prepared;
  for (const spec::Volume& volume : app.volumes) {
    auto one = prepare_volume(registry_, replica, app, volume);
    if (!one) {
      sync();
      return std::move(one).error();
    }
    const std::string path = one.value().path;
    if (one.value().made) {
      for (const auto& [place, other] : registry_.records()) {
        if (place == path || !(other.replica == replica) || other.key != volume.key) continue;
        hooks_.note(Note{.severity = Severity::warning,
                         .kind = "volume",
                         .app = replica.app,
                         .ordinal = replica.ordinal,
                         .instance = std::nullopt,
                         .text = fmt::format("volume {} is new, at {}; the one of before stays at {}",
                                             volume.key, path, place)});
      }
    }
    // As the spec in force has it: the size is no part of a revision.
    if (has_size(replica.app, volume.key) || registry_.find(path)->project != 0) {
      if (const auto candidate = candidate_at(path)) hold_to_size(*candidate);
    }
    prepared.paths.emplace_back(one.value().key, path);
    prepared.locks.push_back(std::move(one.value().lock));
  }
  sync();
  return prepared;
}

bool VolumeKeeper::has_size(const std::string& app, const std::string& key) const {
  const spec::App* found = spec_ ? spec_->find_app(app) : nullptr;
  const spec::Job* const job = spec_ && found == nullptr ? spec_->find_job(app) : nullptr;
  if (job != nullptr) found = &job->task;
  if (found == nullptr) return false;
  const auto at = std::ranges::find(found->volumes, key, &spec::Volume::key);
  return at != found->volumes.end() && at->size;
}

std::vector<VolumeCandidate> VolumeKeeper::candidates(const VolumeFilter& filter) const {
  const auto wanted = [&filter](const ReplicaId& replica) {
    return (filter.app.empty() || filter.app == replica.app) &&
           (!filter.ordinal || *filter.ordinal == replica.ordinal);
  };
  std::map<std::string, VolumeCandidate> found;  // by path
  const auto add = [&](const spec::App& app, int ordinal) {
    if (!wanted({.app = app.name, .ordinal = ordinal})) return;
    for (const spec::Volume& volume : app.volumes) {
      VolumeCandidate made = candidate_of(registry_, app, ordinal, volume);
      std::string path = made.path;
      found.try_emplace(std::move(path), std::move(made));
    }
  };
  if (spec_) {
    for (const spec::App& app : spec_->apps) {
      for (int ordinal = 0; !app.volumes.empty() && ordinal < app.replicas_max(); ++ordinal)
        add(app, ordinal);
    }
    for (const spec::Job& job : spec_->jobs) add(job.task, 0);
  }
  for (const auto& [place, record] : registry_.records()) {
    const spec::Job* const job = spec_ ? spec_->find_job(record.replica.app) : nullptr;
    if (job != nullptr) add(job->task, record.replica.ordinal);  // of runs beside each other
    if (!wanted(record.replica) || found.contains(place)) continue;
    VolumeCandidate made{.replica = record.replica, .key = record.key, .path = place};
    made.record = record;
    found.emplace(place, std::move(made));
  }
  const std::set<std::string> in_use = hooks_.in_use();
  std::vector<VolumeCandidate> all;
  for (auto& [path, candidate] : found) {
    candidate.in_use = in_use.contains(path);
    if (const auto seen = sizes_.find(path); candidate.size && seen != sizes_.end()) {
      candidate.enforced = seen->second.enforced;
      candidate.why_not = seen->second.why_not;
    }
    all.push_back(std::move(candidate));
  }
  const auto order = [](const VolumeCandidate& one) {
    return std::tie(one.replica.app, one.replica.ordinal, one.key, one.path);
  };
  std::ranges::sort(all, [&](const auto& left, const auto& right) { return order(left) < order(right); });
  return all;
}

std::optional<VolumeCandidate> VolumeKeeper::candidate_at(const std::string& path) const {
  const VolumeRecord* const record = registry_.find(path);
  // The record names who had it last, which is nearly always who has it now.
  VolumeFilter likely;
  if (record != nullptr) likely = {.app = record->replica.app, .ordinal = record->replica.ordinal};
  for (const VolumeFilter& filter : {likely, VolumeFilter{}}) {
    auto all = candidates(filter);
    const auto at = std::ranges::find(all, path, &VolumeCandidate::path);
    if (at != all.end()) return std::move(*at);
  }
  return std::nullopt;
}

bool VolumeKeeper::list(const VolumeFilter& filter, Rows done) {
  return look(candidates(filter), filter.with_use, std::move(done));
}

bool VolumeKeeper::look(std::vector<VolumeCandidate> at, bool with_use, Rows done) {
  auto rows = std::make_shared<std::vector<VolumeRow>>();
  return looks_.run(
      [rows, at = std::move(at), with_use, boot_id = registry_.boot_id(),
       incomplete = registry_.incomplete()](const PoolWork::Stopped& stopped) {
        const Instant until = std::chrono::steady_clock::now() + limits::volume_look_max;
        *rows = look_at_volumes(
            at,
            {.boot_id = boot_id, .incomplete = incomplete, .with_use = with_use, .enough = [&stopped, until] {
               return stopped() || std::chrono::steady_clock::now() >= until;
             }});
      },
      [this, rows, done = std::move(done)] {
        compare_sizes(*rows);
        if (done) done(*rows);
      });
}

// --- sizes

void VolumeKeeper::use(std::shared_ptr<const spec::Spec> spec) {
  spec_ = std::move(spec);
  bool sized = false;
  for (const VolumeCandidate& candidate : candidates({})) {
    if (!candidate.in_spec) continue;
    sized = sized || candidate.size;
    if (candidate.record && (candidate.size || candidate.record->project != 0)) {
      hold_to_size(candidate);
    } else if (candidate.size) {
      const SizeSupport support = size_support(volume_place(candidate.path).above);
      if (!support.enforced) warn_of_size(candidate, support.found);
    }
  }
  sync();
  if (!sized) {
    look_timer_.stop();
  } else if (!look_timer_.armed()) {
    look_timer_.start(limits::volume_look_every);
  }
}

// Of the folder that is registered, and no other.
void VolumeKeeper::hold_to_size(const VolumeCandidate& candidate) {
  const VolumePlace place = volume_place(candidate.path);
  const auto above = find_file(place.above);
  if (!above) return;
  Fd folder(
      ::openat(above.value().get(), place.name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat info {};
  if (!folder || ::fstat(folder.get(), &info) != 0 ||
      !(candidate.record->directory == DirectoryIdentity{.device = info.st_dev, .inode = info.st_ino}))
    return;
  const auto owner = volume_owner(candidate.user, candidate.group);
  const auto taken = [this](std::uint32_t number) {
    return std::ranges::any_of(registry_.records(),
                               [number](const auto& entry) { return entry.second.project == number; });
  };
  ProjectQuota& quota = kernel_project_quota();
  SizeAnswer answer =
      supervisor::hold_to_size(quota, {.folder = folder.get(),
                                       .project = candidate.record->project,
                                       .size = candidate.size,
                                       .uid = owner ? owner.value().uid : candidate.record->uid,
                                       .taken = taken});
  if (answer.project != candidate.record->project) {
    VolumeRecord record = *candidate.record;
    record.project = answer.project;
    if (const Status put = registry_.put(std::move(record)); !put)
      return warn_of_size(candidate, put.error().message);
  }
  const auto sight = look_at_volume(above.value().get(), place.name);
  if (answer.assign_files && sight && sight.value().empty) {
    if (const Status assigned = quota.assign(folder.get(), true, answer.project); !assigned)
      answer = {.enforced = false, .why_not = assigned.error().message, .project = answer.project};
  } else if (answer.assign_files) {
    assign_files(candidate.path, std::move(folder), answer.project);
  }
  sizes_[candidate.path] = {.enforced = answer.enforced, .why_not = answer.why_not};
  if (candidate.size && !answer.enforced) warn_of_size(candidate, answer.why_not);
}

void VolumeKeeper::assign_files(const std::string& path, Fd folder, std::uint32_t project) {
  auto shared = std::make_shared<Fd>(std::move(folder));
  auto status = std::make_shared<Status>(Unit{});
  assignments_.run(
      [shared, status, project](const PoolWork::Stopped& stopped) {
        *status = assign_tree(shared->get(), {.enough = stopped}, [project](int file, bool is_folder) {
          return kernel_project_quota().assign(file, is_folder, project);
        });
      },
      [this, path, status] {
        if (*status) return;
        sizes_[path] = {.enforced = false, .why_not = status->error().message};
        if (const auto candidate = candidate_at(path)) warn_of_size(*candidate, status->error().message);
      });
}

// Once for each volume of an app and reason, not for each ordinal.
void VolumeKeeper::warn_of_size(const VolumeCandidate& candidate, const std::string& why_not) {
  if (!warned_.insert(fmt::format("{} {} {}", candidate.replica.app, candidate.key, why_not)).second) return;
  hooks_.note(
      Note{.severity = Severity::warning,
           .kind = "volume-size",
           .app = candidate.replica.app,
           .ordinal = std::nullopt,
           .instance = std::nullopt,
           .text = fmt::format("size of volume {} is not enforced ({}); `muster volumes` shows its use",
                               candidate.key, why_not)});
}

void VolumeKeeper::look_at_sizes() {
  look_timer_.start(limits::volume_look_every);
  std::vector<VolumeCandidate> watched = candidates({});
  std::erase_if(watched, [](const VolumeCandidate& one) { return !one.size || one.enforced || !one.in_use; });
  if (!watched.empty() && !looks_.busy()) look(std::move(watched), true, nullptr);
}

void VolumeKeeper::compare_sizes(const std::vector<VolumeRow>& rows) {
  for (const VolumeRow& row : rows) {
    if (!row.of.size || row.of.enforced || !row.used_bytes) continue;
    const bool over = *row.used_bytes > *row.of.size;
    const bool was_over = over_.contains(row.of.path);
    if (over == was_over || (!over && !row.used_complete)) continue;
    if (over) {
      over_.insert(row.of.path);
    } else {
      over_.erase(row.of.path);
    }
    hooks_.note(
        Note{.severity = over ? Severity::warning : Severity::info,
             .kind = "volume-size",
             .app = row.of.replica.app,
             .ordinal = row.of.replica.ordinal,
             .instance = std::nullopt,
             .text = fmt::format("volume {} holds {}{}, {} its size of {}", row.of.key,
                                 row.used_complete ? "" : "at least ", spec::size_text(*row.used_bytes),
                                 over ? "more than" : "again within", spec::size_text(*row.of.size))});
  }
}

// --- adopt and remove

void VolumeKeeper::adopt(const std::string& path, const Done& done) {
  const auto candidate = candidate_at(path);
  if (!candidate) return done(refused(fmt::format("no volume has its place at {}", path)));
  const std::string name = volume_name(candidate->replica, candidate->key);
  auto held = hold_volume(path);
  if (!held && held.error().errno_value == EWOULDBLOCK)
    return done(refused(fmt::format("{} is {}", name, held.error().message)));
  if (!held) return done(refused(fmt::format("{}: {}", name, held.error().message)));
  if (held.value().sight.kind == VolumeSight::Kind::nothing)
    return done(refused(fmt::format("{}: {} is not there", name, path)));
  if (held.value().sight.kind == VolumeSight::Kind::other)
    return done(refused(fmt::format("{}: {} is not a directory but a link or a file", name, path)));
  VolumeRecord record = candidate->record.value_or(VolumeRecord{});
  record.replica = candidate->replica;
  record.key = candidate->key;
  if (const Status enrolled = enroll_volume(registry_, std::move(record), held.value()); !enrolled)
    return done(refused(fmt::format("{} cannot be registered: {}", name, enrolled.error().message)));
  sync();
  const std::string owner = owner_name(held.value().sight.uid);
  std::string text = fmt::format("{} is {} from now on, as it is", name, path);
  const auto wanted = volume_owner(candidate->user, candidate->group);
  if (candidate->in_spec && wanted && wanted.value().uid != held.value().sight.uid)
    text += fmt::format("; it belongs to {}, and {} runs as {}", owner, candidate->replica.app,
                        owner_name(wanted.value().uid));
  hooks_.note(Note{.severity = Severity::info,
                   .kind = "volume",
                   .app = candidate->replica.app,
                   .ordinal = candidate->replica.ordinal,
                   .instance = std::nullopt,
                   .text = "adopted: " + text});
  done(text);
}

void VolumeKeeper::remove(const std::string& path, Done done) {
  const VolumeRecord* const known = registry_.find(path);
  if (known == nullptr)
    return done(refused(fmt::format("{} is no registered volume; nothing was removed", path)));
  const VolumeRecord record = *known;
  const std::string name = volume_name(record);
  const auto forget = [&](const std::string& text) {
    if (const Status gone = registry_.remove(path); !gone)
      return done(refused(fmt::format("{} stays registered: {}", name, gone.error().message)));
    sizes_.erase(path);
    over_.erase(path);
    sync();
    done(text);
  };
  if (hooks_.in_use().contains(path)) return done(refused(name + " is in use; `muster ps` shows by whom"));
  auto held = hold_volume(path);
  if (!held && (held.error().errno_value == ENOENT || held.error().errno_value == ENOTDIR))
    return forget(fmt::format("{} is not registered any more; {} was not there", name, path));
  if (!held && held.error().errno_value == EWOULDBLOCK)
    return done(refused(fmt::format("{} is {}", name, held.error().message)));
  if (!held) return done(refused(fmt::format("{}: {}", name, held.error().message)));
  const VolumeSight& sight = held.value().sight;
  const auto unlock = [&] {
    if (held.value().lock)
      ::unlinkat(held.value().above.get(), volume_lock_name(held.value().place.name).c_str(), 0);
  };
  if (sight.kind == VolumeSight::Kind::nothing) {
    unlock();
    return forget(fmt::format("{} is not registered any more; {} was not there", name, path));
  }
  VolumeRecord whole = record;
  whole.removing = false;
  const VolumeVerdict verdict =
      judge_volume({.record = &whole, .sight = sight, .boot_id = registry_.boot_id()});
  if (!is_usable(verdict))
    return forget(fmt::format(
        "{} is not registered any more; {} is another directory than it was, and was left as it is", name,
        path));
  if (const std::string mount = mount_in(held.value().above, held.value().place.name); !mount.empty())
    return done(refused(fmt::format("{}: a file system is mounted at {}; nothing was removed", name, mount)));
  start_removal(record, std::move(held).value(), std::move(done));
}

void VolumeKeeper::start_removal(VolumeRecord record, HeldVolume held, Done done) {
  const std::string name = volume_name(record);
  // Whatever happens from here on, no process starts on what is left of it.
  record.removing = true;
  if (const Status put = registry_.put(record); !put)
    return done(refused(fmt::format("{} stays: {}", name, put.error().message)));
  sync();
  auto removal = std::make_shared<Removal>(
      Removal{.record = std::move(record), .held = std::move(held), .done = done, .status = Unit{}});
  const bool queued = removals_.run(
      [removal](const PoolWork::Stopped& stopped) {
        const HeldVolume& of = removal->held;
        removal->status = remove_tree(of.above.get(), of.place.name, {.enough = stopped});
        if (removal->status) ::unlinkat(of.above.get(), volume_lock_name(of.place.name).c_str(), 0);
      },
      [this, removal] { removed(*removal); });
  if (!queued) done(refused(fmt::format("{} is half removed: too many removals wait; ask again", name)));
}

void VolumeKeeper::removed(Removal& removal) {
  const std::string name = volume_name(removal.record);
  const std::string path = removal.record.path;
  const auto tell = [&](Severity severity, const std::string& text) {
    hooks_.note(Note{.severity = severity,
                     .kind = "volume",
                     .app = removal.record.replica.app,
                     .ordinal = removal.record.replica.ordinal,
                     .instance = std::nullopt,
                     .text = text});
  };
  if (!removal.status) {
    const std::string text = fmt::format("{} is half removed: {}; `muster volumes rm {}` does the rest", name,
                                         removal.status.error().message, name);
    tell(Severity::error, text);
    return removal.done(refused(text));
  }
  if (removal.record.project != 0)
    static_cast<void>(kernel_project_quota().limit(removal.held.above.get(), removal.record.project, 0));
  if (const Status gone = registry_.remove(path); !gone)
    return removal.done(
        refused(fmt::format("{} is removed but stays registered: {}", name, gone.error().message)));
  sizes_.erase(path);
  over_.erase(path);
  // Those above it, where they are the state folder's and hold nothing else.
  const std::string volumes = registry_.state_dir() + "/volumes/";
  for (std::string above = removal.held.place.above;
       above.size() > volumes.size() && above.starts_with(volumes); above.resize(above.rfind('/'))) {
    if (::rmdir(above.c_str()) != 0) break;
  }
  sync();
  const std::string text = fmt::format("{} is removed ({})", name, path);
  tell(Severity::warning, text);
  removal.done(text);
}

}  // namespace muster::supervisor
