// Starts the exec shim as a child of this thread, without copying this process' memory: clone3(2) with CLONE_VM,
// CLONE_VFORK and CLONE_PIDFD, born in its cgroup where one is given.
#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "supervisor/shim_order.h"

namespace muster::supervisor {

struct Spawned {
  int pid = 0;
  Fd pidfd;  // CLOEXEC
  bool by_small_shim = false;
};

// The small shim takes what orders it can from now on; it is held open, so an upgrade on disk does not touch it.
// "": none. One that cannot be trusted (not owned by root or by us, or writable for others) counts as none.
void use_small_shim(const std::string& path);
// Where it was installed: beside this binary, or in ../libexec/muster; "" when it is not there.
std::string small_shim_path();

// `order` names the descriptors it needs; they are inherited by the shim alone. `cgroup_folder` is the folder of a
// cgroup2 group, or empty. The call returns when the shim runs; an error is a shortage on our side.
Result<Spawned> spawn_shim(ShimOrder order, const std::string& cgroup_folder);

// For execution by /proc/self/fd/N; none when it is not owned by root or by us, or writable for others.
Fd open_trusted_program(const std::string& path);

// For tests. The program that takes the part of the shim; by default this one.
void set_shim_path(std::string path);
// For tests. Use clone(2) and pidfd_open(2) as if the kernel had no clone3(2).
void forbid_clone3(bool forbidden);

}  // namespace muster::supervisor
