#include "supervisor/cgroup_controllers.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "base/fd.h"
#include "fmt/core.h"
#include "supervisor/cgroup_tree.h"
#include "supervisor/proc_scan.h"

namespace muster::supervisor {
namespace {

constexpr int depth_max = 16;
constexpr std::string_view control_leaf =
    "/.control";  // where systemd puts control processes of a delegated unit

std::string path_of(const std::string& folder, std::string_view file) {
  return fmt::format("{}/{}", folder, file);
}

Controllers read_controllers(const std::string& folder, std::string_view file) {
  const auto text = read_small_file(path_of(folder, file), 4096);
  return text ? parse_controllers(text.value()) : Controllers{};
}

// Of the whole hierarchy: it may hold processes and hand controllers down. cgroup.type is in every other group.
bool is_root(const std::string& folder) {
  return access(path_of(folder, "cgroup.type").c_str(), F_OK) != 0;
}

// This process, its children, and muster's own of an earlier life: who holds the replicas' output.
bool is_ours(int pid) {
  if (pid <= 0) return false;  // of another pid namespace
  if (pid == getpid()) return true;
  const auto process = read_process(pid);
  if (!process || process->ended() || process->parent == getpid()) return true;
  struct stat info {};
  const bool same_user = stat(fmt::format("/proc/{}", pid).c_str(), &info) == 0 && info.st_uid == geteuid();
  return same_user && process_name(pid).starts_with("muster");
}

struct Occupants {
  std::vector<int> ours;
  std::optional<int> stranger;
};

Occupants occupants_of(const std::string& folder) {
  Occupants found;
  const auto text = read_small_file(path_of(folder, "cgroup.procs"), 1U << 20U);
  if (!text) return found;
  for (const int pid : parse_pids(text.value())) {
    if (is_ours(pid)) {
      found.ours.push_back(pid);
    } else if (!found.stranger) {
      found.stranger = pid;
    }
  }
  return found;
}

std::string shared_with(const std::string& folder, int pid) {
  const std::string name = process_name(pid);
  return fmt::format(
      "the control group {} has other processes too (pid {}{}), and may hand on no controllers", folder, pid,
      name.empty() ? "" : ", " + name);
}

Status move(const std::vector<int>& pids, const std::string& folder) {
  for (const int pid : pids) {
    Status moved = write_group_file(path_of(folder, "cgroup.procs"), std::to_string(pid));
    if (!moved && moved.error().errno_value != ESRCH) return moved;
  }
  return Unit{};
}

// Out of `parent`, which then may hand controllers down. An error: everybody is where they were.
Status enter_leaf(const std::string& parent) {
  const Occupants occupants = occupants_of(parent);
  if (occupants.stranger) return Error{.message = shared_with(parent, *occupants.stranger)};
  if (occupants.ours.empty()) return Unit{};
  const std::string leaf = path_of(parent, daemon_leaf);
  if (mkdir(leaf.c_str(), 0755) != 0 && errno != EEXIST) return system_error("mkdir " + leaf, errno);
  Status moved = move(occupants.ours, leaf);
  if (moved) return moved;
  static_cast<void>(move(occupants.ours, parent));
  rmdir(leaf.c_str());
  return moved;
}

void leave_leaf(const std::string& parent) {
  const std::string leaf = path_of(parent, daemon_leaf);
  static_cast<void>(move(occupants_of(leaf).ours, parent));
  rmdir(leaf.c_str());
}

// All of them, or as many as the kernel takes; what it says of the last one that it refuses.
Controllers switch_on(const std::string& folder, const Controllers& wanted, std::string& refusal) {
  const std::string file = path_of(folder, "cgroup.subtree_control");
  if (wanted.none() || write_group_file(file, controllers_text(wanted, '+'))) return wanted;
  Controllers done;
  for (const LimitKind kind : limit_kinds) {
    Controllers one;
    if (!wanted.has(kind)) continue;
    one.add(kind);
    if (const Status written = write_group_file(file, controllers_text(one, '+')); written) {
      done.add(kind);
    } else {
      refusal = written.error().message;
    }
  }
  return done;
}

Controllers both(const Controllers& a, const Controllers& b) {
  return {.memory = a.memory && b.memory, .cpu = a.cpu && b.cpu, .pids = a.pids && b.pids};
}
Controllers without(const Controllers& a, const Controllers& b) {
  return {.memory = a.memory && !b.memory, .cpu = a.cpu && !b.cpu, .pids = a.pids && !b.pids};
}
Controllers either(const Controllers& a, const Controllers& b) {
  return {.memory = a.memory || b.memory, .cpu = a.cpu || b.cpu, .pids = a.pids || b.pids};
}

// What the group does not have itself.
ControllerReport report_of(const Controllers& available) {
  ControllerReport report;
  for (const LimitKind kind : limit_kinds) {
    if (!available.has(kind)) report.refuse(kind, fmt::format("no {} controller", to_string(kind)));
  }
  return report;
}

void refuse_all(ControllerReport& report, const Controllers& kinds, const std::string& why) {
  for (const LimitKind kind : limit_kinds) {
    if (kinds.has(kind)) report.refuse(kind, why);
  }
}

void withdraw(const std::string& folder, int depth) {
  if (depth < depth_max) {
    for (const std::string& name : groups_in(folder)) withdraw(path_of(folder, name), depth + 1);
  }
  const Controllers on = read_controllers(folder, "cgroup.subtree_control");
  if (!on.none())
    static_cast<void>(write_group_file(path_of(folder, "cgroup.subtree_control"), controllers_text(on, '-')));
}

}  // namespace

Status write_group_file(const std::string& path, std::string_view text) {
  const Fd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return system_error(path, errno);
  if (write(fd.get(), text.data(), text.size()) < 0) return system_error(path, errno);
  return Unit{};
}

std::vector<std::string> groups_in(const std::string& folder) {
  std::vector<std::string> names;
  DIR* dir = opendir(folder.c_str());
  if (!dir) return names;
  while (const dirent* entry = readdir(dir)) {
    if (entry->d_type == DT_DIR && entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  closedir(dir);
  return names;
}

std::string without_leaf(const std::string& folder) {
  const std::string end = fmt::format("/{}", daemon_leaf);
  return folder.ends_with(end) ? folder.substr(0, folder.size() - end.size()) : folder;
}

ControllerReport find_controllers(const std::string& parent) {
  const Controllers available = read_controllers(parent, "cgroup.controllers");
  const Controllers on = both(available, read_controllers(parent, "cgroup.subtree_control"));
  ControllerReport report = report_of(available);
  report.usable = on;
  const Controllers open = without(available, on);
  if (open.none()) return report;
  const std::string file = path_of(parent, "cgroup.subtree_control");
  if (access(file.c_str(), W_OK) != 0) {
    refuse_all(report, open, system_error(file, errno).message);
    return report;
  }
  if (const Occupants occupants = occupants_of(parent); occupants.stranger && !is_root(parent)) {
    refuse_all(report, open, shared_with(parent, *occupants.stranger));
    return report;
  }
  report.usable = available;
  return report;
}

ControllerReport provide_controllers(const std::string& parent, const Controllers& wanted) {
  ControllerReport report = find_controllers(parent);
  const Controllers on = read_controllers(parent, "cgroup.subtree_control");
  const Controllers todo = both(without(wanted, on), report.usable);
  report.usable = both(report.usable, on);
  if (todo.none()) return report;
  if (!is_root(parent)) {
    if (const Status entered = enter_leaf(parent); !entered) {
      refuse_all(report, todo, entered.error().message);
      return report;
    }
  }
  std::string refusal;
  const Controllers done = switch_on(parent, todo, refusal);
  report.usable = either(report.usable, done);
  refuse_all(report, without(todo, done), refusal);
  if (report.usable.none() && !is_root(parent)) leave_leaf(parent);
  return report;
}

Controllers hand_down(const std::string& folder, const Controllers& wanted) {
  const Controllers available = read_controllers(folder, "cgroup.controllers");
  const Controllers on = both(available, read_controllers(folder, "cgroup.subtree_control"));
  std::string refusal;
  return either(on, switch_on(folder, without(both(wanted, available), on), refusal));
}

void withdraw_controllers(const std::string& folder) {
  withdraw(folder, 0);
}

void withdraw_controllers_of_unit() {
  auto folders = own_cgroup_folders();
  if (!folders) return;
  for (std::string& folder : folders.value()) {
    if (folder.ends_with(control_leaf)) folder.resize(folder.size() - control_leaf.size());
    if (access(path_of(folder, daemon_leaf).c_str(), F_OK) == 0) withdraw_controllers(folder);
  }
}

void give_back(const std::string& parent) {
  const std::vector<std::string> groups = groups_in(parent);
  if (groups.size() != 1 || groups.front() != daemon_leaf || is_root(parent)) return;
  withdraw_controllers(parent);
  leave_leaf(parent);
}

}  // namespace muster::supervisor
