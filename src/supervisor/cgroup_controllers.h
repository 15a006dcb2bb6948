// The controllers of cgroup2 that limits need (memory, cpu, pids), made usable in the groups of replicas; cgroups(7).
//
// A group hands controllers to the groups in it by its cgroup.subtree_control, and then may hold no process itself. The
// daemon's own group holds the daemon: it moves into a leaf beside its replicas' groups. What it was started in then is
// an inner group, and systemd cannot put the next main process into one while replicas live on in there: the service
// would never start again (219/CGROUP, EBUSY). So between two daemons the controllers are off: `muster end-leftovers`
// of the unit's ExecStopPost= withdraws them, and the next daemon switches them on and writes every limit again.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "supervisor/limit_rules.h"

namespace muster::supervisor {

// The group that holds the daemon beside its replicas' groups. Not "muster-…", as those are called.
inline constexpr std::string_view daemon_leaf = "muster.daemon";

// The folder of the group that `folder` is the daemon's leaf of; another one as it is.
std::string without_leaf(const std::string& folder);

// What the groups in `parent` could have. Looks, changes nothing.
ControllerReport find_controllers(const std::string& parent);
// Makes those that are wanted usable for the groups in `parent`, which this process' groups are made in: this process
// and its own helpers leave it for the leaf. Where others share the group nobody is moved, and the report says so.
ControllerReport provide_controllers(const std::string& parent, const Controllers& wanted);
// Those of `wanted` that the group has go on to the groups in it, which holds no process. What they have then.
Controllers hand_down(const std::string& folder, const Controllers& wanted);

// From the groups in `folder`, the lowest first: it may hold processes again. Limits are gone until somebody hands the
// controllers down again and writes them.
void withdraw_controllers(const std::string& folder);
// For ExecStopPost=: the same for the unit that this process is a control process of, where a daemon has made a leaf.
void withdraw_controllers_of_unit();
// At the daemon's end, when nothing but its leaf is left in `parent`: as it was before provide_controllers().
void give_back(const std::string& parent);

// A whole file of a group, in one write(2). Does not wait for the kernel to reclaim memory.
Status write_group_file(const std::string& path, std::string_view text);
std::vector<std::string> groups_in(const std::string& folder);  // their names

}  // namespace muster::supervisor
