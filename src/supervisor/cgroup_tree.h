// Trees as cgroup2 groups. No controller is needed: cgroup.kill, cgroup.events and cpu.stat are always there. With the
// controllers that there are (cgroup_controllers.h) the groups have limits.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/fd.h"
#include "supervisor/process_tree.h"
#include "supervisor/uv_handles.h"

namespace muster::supervisor {

// The daemon's own group of groups, `muster-PID` below `parent`. Locked while the daemon lives, so that another daemon
// can tell a dead one's folder from a living one's without trusting process numbers.
class CgroupBase {
 public:
  // Tries the folders in turn. Removes what dead daemons left there; ends what was meant to end with them, which it
  // waits for, a second at most.
  static Result<std::unique_ptr<CgroupBase>> make(const std::vector<std::string>& parents,
                                                  bool end_with_daemon);
  // One that a dead daemon left, with living processes in it; its name stays. Usable also when somebody holds the lock.
  static std::unique_ptr<CgroupBase> take(const std::string& folder, bool end_with_daemon);
  ~CgroupBase();  // removes it, when it is empty
  CgroupBase(const CgroupBase&) = delete;
  CgroupBase& operator=(const CgroupBase&) = delete;

  [[nodiscard]] const std::string& folder() const { return folder_; }
  [[nodiscard]] const std::string& parent() const { return parent_; }
  // Hands those that it has on to the groups in it.
  void use_controllers(const Controllers& wanted);
  [[nodiscard]] const Controllers& controllers() const { return controllers_; }  // of the groups in it
  // The descriptor whose lock says that the group is a living daemon's; -1: there is none.
  [[nodiscard]] int lock() const { return lock_.get(); }
  // Makes a group in it, and it again when somebody tidied it away. An old one of that name must be empty.
  Result<std::string> make_group(const std::string& name);
  void remove_group(const std::string& folder);
  // SIGKILL to the processes of all groups in it but these.
  void end_others(const std::set<std::string>& kept);
  // The name of the group below ours that the process is in; none when it is in none.
  [[nodiscard]] std::optional<std::string> group_of(int pid) const;

 private:
  CgroupBase(std::string parent, std::string name, Fd lock);
  std::string parent_;
  std::string name_;
  std::string folder_;
  Fd lock_;
  Controllers wanted_;
  Controllers controllers_;
  std::vector<std::string> leftover_;  // could not be removed yet
};

// The folders in which this process may make groups: its own group, as each cgroup2 mount shows it; where it sits in
// the leaf of that (cgroup_controllers.h), the group that it is the leaf of. None: there is no such mount. An error with
// its errno: /proc does not say.
Result<std::vector<std::string>> own_cgroup_folders();

Result<std::unique_ptr<ProcessTree>> make_cgroup_tree(uv_loop_t* loop, CgroupBase& base,
                                                      const std::string& name,
                                                      std::function<void()> on_empty);
// Of a group that is there already, with processes of somebody before us.
std::unique_ptr<ProcessTree> adopt_cgroup_tree(uv_loop_t* loop, CgroupBase& base, const std::string& name,
                                               std::function<void()> on_empty);

}  // namespace muster::supervisor
