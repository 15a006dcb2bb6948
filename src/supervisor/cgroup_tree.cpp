#include "supervisor/cgroup_tree.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>

#include "fmt/core.h"
#include "supervisor/cgroup_controllers.h"
#include "supervisor/proc_scan.h"

namespace muster::supervisor {
namespace {

constexpr char base_prefix[] = "muster-";
constexpr int base_names_max = 64;  // hosts in one process
constexpr int depth_max = 16;       // of groups that an app makes in its own
constexpr std::size_t procs_bytes_max = 1U << 20U;
constexpr std::size_t leftover_max = 4096;
constexpr Millis retry_after{100};
constexpr Millis leftover_wait_max{1000};
constexpr char end_mark[] = "user.muster.on_crash";

std::string below(const std::string& folder, const std::string& name) {
  return fmt::format("{}/{}", folder, name);
}

// With the groups that the app made in its own; those with processes stay.
bool remove_groups(const std::string& folder, int depth = 0) {
  if (rmdir(folder.c_str()) == 0 || errno == ENOENT) return true;
  if (errno != EBUSY || depth == depth_max) return false;
  bool all = true;
  for (const std::string& name : groups_in(folder))
    all = remove_groups(below(folder, name), depth + 1) && all;
  return all && (rmdir(folder.c_str()) == 0 || errno == ENOENT);
}

// False: the folder itself cannot be read.
bool collect_pids(const std::string& folder, std::vector<int>& pids, int depth = 0) {
  const auto text = read_small_file(folder + "/cgroup.procs", procs_bytes_max);
  if (text) {
    for (const int pid : parse_pids(text.value())) pids.push_back(pid);
  }
  if (depth == depth_max) return text.ok();
  for (const std::string& name : groups_in(folder)) collect_pids(below(folder, name), pids, depth + 1);
  return text.ok();
}

// Whether processes can be moved from `parent` to `folder` and killed there.
Status check_usable(const std::string& parent, const std::string& folder) {
  for (const std::string& file :
       {parent + "/cgroup.procs", folder + "/cgroup.procs", folder + "/cgroup.kill"}) {
    if (access(file.c_str(), W_OK) != 0) return system_error(file, errno);
  }
  const auto type = read_small_file(folder + "/cgroup.type", 64);
  if (type && !type.value().starts_with("domain\n") && !type.value().starts_with("domain threaded")) {
    return Error{.message = folder + ": threaded cgroups hold no processes"};
  }
  return Unit{};
}

// None: errno says why.
Fd locked(const std::string& folder) {
  Fd fd(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
  const int why = errno;
  fd.reset();
  errno = why;
  return fd;
}

// Said on the folder itself, for whoever finds it when its daemon is dead.
void mark_end_with_daemon(const std::string& folder) {
  setxattr(folder.c_str(), end_mark, "stop", 4, 0);  // without it leftovers stay, as they did before
}

bool is_marked_to_end(const std::string& folder) {
  std::array<char, 4> value{};
  return getxattr(folder.c_str(), end_mark, value.data(), value.size()) == 4;
}

void end_group(const std::string& folder) {
  const Fd events(open((folder + "/cgroup.events").c_str(), O_RDONLY | O_CLOEXEC));
  if (!events || !write_group_file(folder + "/cgroup.kill", "1")) return;
  const auto deadline = std::chrono::steady_clock::now() + leftover_wait_max;
  while (std::chrono::steady_clock::now() < deadline) {
    std::array<char, 256> text{};
    const ssize_t got = pread(events.get(), text.data(), text.size(), 0);
    if (got <= 0 || keyed_number({text.data(), static_cast<std::size_t>(got)}, "populated") == 0U) return;
    pollfd change{events.get(), POLLPRI, 0};
    poll(&change, 1, static_cast<int>(leftover_wait_max.count()));
  }
}

// What daemons left behind that died without cleaning up. Processes are touched where that was the daemon's wish.
void remove_stale(const std::string& parent) {
  for (const std::string& name : groups_in(parent)) {
    if (!name.starts_with(base_prefix)) continue;
    const std::string folder = below(parent, name);
    const Fd lock = locked(folder);
    if (!lock || remove_groups(folder) || !is_marked_to_end(folder)) continue;
    end_group(folder);
    remove_groups(folder);
  }
}

}  // namespace

Result<std::vector<std::string>> own_cgroup_folders() {
  auto groups = read_small_file("/proc/self/cgroup");
  if (!groups) return std::move(groups).error();
  auto mounts = read_small_file("/proc/self/mountinfo", 1U << 20U);
  if (!mounts) return std::move(mounts).error();
  const auto path = parse_cgroup2_path(groups.value());
  if (!path) return std::vector<std::string>();
  return cgroup2_folders(mounts.value(), without_leaf(*path));
}

CgroupBase::CgroupBase(std::string parent, std::string name, Fd lock)
    : parent_(std::move(parent)),
      name_(std::move(name)),
      folder_(parent_ + "/" + name_),
      lock_(std::move(lock)) {}

Result<std::unique_ptr<CgroupBase>> CgroupBase::make(const std::vector<std::string>& parents,
                                                     bool end_with_daemon) {
  Error last{.message = "this process is in no cgroup2 group"};
  for (const std::string& parent : parents) {
    remove_stale(parent);
    for (int i = 0; i < base_names_max; ++i) {
      std::string name = base_prefix + std::to_string(getpid()) + (i == 0 ? "" : fmt::format("-{}", i));
      const std::string folder = below(parent, name);
      if (mkdir(folder.c_str(), 0755) != 0) {
        last = system_error("mkdir " + folder, errno);
        if (last.errno_value == EEXIST) continue;
        break;
      }
      Fd lock = locked(folder);
      if (!lock && errno != EWOULDBLOCK && errno != ENOENT) {
        last = system_error(folder, errno);
        rmdir(folder.c_str());
        break;
      }
      // Lost to a daemon that took it for a dead one's: another name.
      if (!lock || (access((folder + "/cgroup.procs").c_str(), F_OK) != 0 && errno == ENOENT)) continue;
      if (Status usable = check_usable(parent, folder); !usable) {
        last = std::move(usable).error();
        rmdir(folder.c_str());
        break;
      }
      if (end_with_daemon) mark_end_with_daemon(folder);
      return std::unique_ptr<CgroupBase>(new CgroupBase(parent, std::move(name), std::move(lock)));
    }
  }
  return last;
}

std::unique_ptr<CgroupBase> CgroupBase::take(const std::string& folder, bool end_with_daemon) {
  const std::size_t slash = folder.rfind('/');
  const std::size_t begin = slash == std::string::npos ? 0 : slash + 1;
  if (end_with_daemon) mark_end_with_daemon(folder);
  return std::unique_ptr<CgroupBase>(
      new CgroupBase(folder.substr(0, begin == 0 ? 0 : slash), folder.substr(begin), locked(folder)));
}

void CgroupBase::use_controllers(const Controllers& wanted) {
  wanted_ = wanted;
  controllers_ = hand_down(folder_, wanted);
}

void CgroupBase::end_others(const std::set<std::string>& kept) {
  for (const std::string& name : groups_in(folder_)) {
    if (kept.contains(name)) continue;
    const std::string folder = below(folder_, name);
    if (remove_groups(folder)) continue;
    static_cast<void>(write_group_file(folder + "/cgroup.kill", "1"));
    if (leftover_.size() < leftover_max) leftover_.push_back(folder);
  }
}

CgroupBase::~CgroupBase() {
  if (!remove_groups(folder_)) remove_groups(folder_);  // nobody tries it later
}

Result<std::string> CgroupBase::make_group(const std::string& name) {
  std::string folder = folder_ + "/" + name;
  if (mkdir(folder.c_str(), 0755) == 0) return folder;
  if (errno == ENOENT && mkdir(folder_.c_str(), 0755) == 0) {
    lock_ = locked(folder_);
    use_controllers(wanted_);
    if (mkdir(folder.c_str(), 0755) == 0) return folder;
  }
  return system_error("mkdir " + folder, errno);
}

void CgroupBase::remove_group(const std::string& folder) {
  std::erase_if(leftover_, [](const std::string& earlier) { return remove_groups(earlier); });
  if (!remove_groups(folder) && leftover_.size() < leftover_max) leftover_.push_back(folder);
}

std::optional<std::string> CgroupBase::group_of(int pid) const {
  const auto text = read_small_file("/proc/" + std::to_string(pid) + "/cgroup");
  const auto path = text ? parse_cgroup2_path(text.value()) : std::nullopt;
  if (!path) return std::nullopt;
  const std::string mark = "/" + name_ + "/";
  const std::size_t at = path->find(mark);
  if (at == std::string::npos) return std::nullopt;
  const std::size_t begin = at + mark.size();
  return path->substr(begin, path->find('/', begin) - begin);
}

namespace {

// memory.current, pids.current: one number, or none where the controller is not there.
std::optional<std::uint64_t> read_number(const std::string& path) {
  const auto text = read_small_file(path, 64);
  if (!text) return std::nullopt;
  const std::string_view number = text.value();
  return parse_number(number.substr(0, number.find('\n')));
}

class CgroupTree final : public ProcessTree {
 public:
  CgroupTree(uv_loop_t* loop, CgroupBase& base, std::string name, std::string folder,
             std::function<void()> on_empty)
      : loop_(loop),
        base_(base),
        name_(std::move(name)),
        folder_(std::move(folder)),
        on_empty_(std::move(on_empty)) {}
  ~CgroupTree() override {
    if (!gone_) base_.remove_group(folder_);
  }

  [[nodiscard]] std::string cgroup_folder() const override { return folder_; }
  void began(int /*pid*/) override {}

  void kill() override {
    if (gone_) return;
    const auto killed = write_group_file(folder_ + "/cgroup.kill", "1");
    // Out of descriptors, say. It must not be forgotten.
    kill_again_ = !killed && killed.error().errno_value != ENOENT && killed.error().errno_value != ENODEV;
    if (kill_again_) retry();
  }

  bool main_ended() override {
    main_ended_ = true;
    return !watch_emptiness();
  }

  [[nodiscard]] bool contains(int pid) const override {
    if (gone_) return false;
    const std::optional<ProcStat> process = read_process(pid);
    return process && !process->ended() && base_.group_of(pid) == name_;
  }

  [[nodiscard]] bool has_lost(int pid) const override {
    if (gone_ || !read_small_file("/proc/" + std::to_string(pid) + "/cgroup")) return false;
    if (base_.group_of(pid) == name_) return false;
    // In the moment of its end a process leaves its group.
    const std::optional<ProcStat> process = read_process(pid);
    return process && !process->ended();
  }

  [[nodiscard]] std::vector<int> pids() const override {
    std::vector<int> pids;
    if (gone_ || collect_pids(folder_, pids)) return pids;
    // The group cannot be read; /proc says the same at a greater price.
    pids.clear();
    for (const ProcStat& process : read_processes().value_or(std::vector<ProcStat>{}))
      if (base_.group_of(process.pid) == name_) pids.push_back(process.pid);
    return pids;
  }

  [[nodiscard]] Usage usage() const override;
  [[nodiscard]] Nanos cpu_used() const override;

  [[nodiscard]] std::uint64_t tasks() const override;
  [[nodiscard]] Controllers controllers() const override { return base_.controllers(); }

  [[nodiscard]] Oom oom() const override {
    const auto text = read_small_file(folder_ + "/memory.events");
    if (!text || keyed_number(text.value(), "oom_kill").value_or(0) == 0) return {};
    // A limit above, or the host's end, is not counted as this group's own.
    return {.killed = true, .own_limit = keyed_number(text.value(), "oom").value_or(0) > 0};
  }

 private:
  // Whether somebody is left; then it is watched.
  bool watch_emptiness() {
    if (gone_) return false;
    // The usual case at the least price: only a group without processes and groups can be removed.
    if (!events_ && rmdir(folder_.c_str()) == 0) {
      gone_ = true;
      return false;
    }
    // The read comes before the poll: what changes in between makes the descriptor ready.
    const Populated populated = read_populated();
    if (populated == Populated::no) {
      poll_.close();
      events_.reset();
      gone_ = true;
      base_.remove_group(folder_);
      return false;
    }
    if (populated == Populated::unknown) {
      retry();
    } else if (!poll_.open()) {
      if (poll_.start(loop_, events_.get(), UV_PRIORITIZED, [this] { on_change(); }) != 0) retry();
    }
    return true;
  }

  [[nodiscard]] Nanos read_cpu() const;

  enum class Populated { yes, no, unknown };
  Populated read_populated() {
    if (!events_) events_.reset(open((folder_ + "/cgroup.events").c_str(), O_RDONLY | O_CLOEXEC));
    if (!events_) return errno == ENOENT ? Populated::no : Populated::unknown;
    std::array<char, 256> text{};
    const ssize_t got = pread(events_.get(), text.data(), text.size(), 0);
    if (got < 0) return errno == ENODEV ? Populated::no : Populated::unknown;
    const auto number =
        keyed_number(std::string_view(text.data(), static_cast<std::size_t>(got)), "populated");
    return number == 0U ? Populated::no : Populated::yes;
  }

  void on_change() {
    if (!gone_ && !watch_emptiness()) on_empty_();
  }

  void retry() {
    if (!timer_.open()) {
      timer_ = UvTimer(loop_, [this] {
        if (kill_again_) kill();
        if (main_ended_) on_change();
      });
    }
    timer_.start(retry_after);
  }

  uv_loop_t* loop_;
  CgroupBase& base_;
  std::string name_;
  std::string folder_;
  std::function<void()> on_empty_;
  mutable Fd cpu_stat_;  // opened by the first cpu_used()
  Fd events_;            // opened when the main process has ended: until then the group cannot be empty
  UvPoll poll_;
  UvTimer timer_;
  bool kill_again_ = false;
  bool main_ended_ = false;
  bool gone_ = false;
};

std::uint64_t CgroupTree::tasks() const {
  if (const auto counted = read_number(folder_ + "/pids.current")) return *counted;
  std::uint64_t tasks = 0;
  for (const int pid : pids()) {
    if (const auto process = read_process(pid)) tasks += process->threads;
  }
  return tasks;
}

// A descriptor for each replica is for those that are asked again and again.
Nanos CgroupTree::read_cpu() const {
  const auto text = read_small_file(folder_ + "/cpu.stat", 4096);
  return std::chrono::microseconds(text ? keyed_number(text.value(), "usage_usec").value_or(0) : 0);
}

Nanos CgroupTree::cpu_used() const {
  // "usage_usec N" is its first line. To find the file costs more than to read it, so it stays open.
  std::array<char, 128> text;  // NOLINT(cppcoreguidelines-pro-type-member-init): filled by pread(2)
  if (!cpu_stat_) cpu_stat_.reset(open((folder_ + "/cpu.stat").c_str(), O_RDONLY | O_CLOEXEC));
  const ssize_t got = cpu_stat_ ? pread(cpu_stat_.get(), text.data(), text.size(), 0) : -1;
  if (got <= 0) return read_cpu();
  const std::string_view read(text.data(), static_cast<std::size_t>(got));
  return std::chrono::microseconds(keyed_number(read, "usage_usec").value_or(0));
}

Usage CgroupTree::usage() const {
  Usage usage;
  usage.cpu = cpu_stat_ ? cpu_used() : read_cpu();
  if (const auto memory = read_number(folder_ + "/memory.current")) {
    usage.memory_bytes = *memory;
    return usage;
  }
  usage.memory_over_counts = true;
  for (const int pid : pids()) usage.memory_bytes += resident_bytes(pid);
  return usage;
}

}  // namespace

Result<std::unique_ptr<ProcessTree>> make_cgroup_tree(uv_loop_t* loop, CgroupBase& base,
                                                      const std::string& name,
                                                      std::function<void()> on_empty) {
  Result<std::string> folder = base.make_group(name);
  if (!folder) return std::move(folder).error();
  return std::unique_ptr<ProcessTree>(
      std::make_unique<CgroupTree>(loop, base, name, std::move(folder).value(), std::move(on_empty)));
}

std::unique_ptr<ProcessTree> adopt_cgroup_tree(uv_loop_t* loop, CgroupBase& base, const std::string& name,
                                               std::function<void()> on_empty) {
  return std::make_unique<CgroupTree>(loop, base, name, below(base.folder(), name), std::move(on_empty));
}

}  // namespace muster::supervisor
