#include "supervisor/leftovers.h"

#include <sys/stat.h>
#include <uv.h>

#include <cerrno>

#include "base/check.h"
#include "fmt/core.h"
#include "supervisor/process_host.h"
#include "supervisor/replica_records.h"
#include "supervisor/state_lock.h"
#include "supervisor/uv_handles.h"

namespace muster::supervisor {
namespace {

std::size_t end_all(uv_loop_t* loop, const ReplicaRecords::Found& found, Millis limit) {
  bool late = false;
  UvTimer deadline(loop, [&] { late = true; });
  ProcessHost host(loop, ProcessHostOptions{.end_with_daemon = false, .cgroup_parent = "", .shim = ""},
                   ProcessHooks{.on_started = [](InstanceId, int) {},
                                .on_spawn_failed = [](InstanceId, SpawnFailure, const std::string&) {},
                                .on_exited = [](InstanceId, ExitStatus) {},
                                .on_frozen = [](InstanceId, int) {},
                                .on_thawed = [](InstanceId) {},
                                .on_tree_gone = [](InstanceId) {}});
  for (const ReplicaRecord& record : found.records) {
    const LivingProcess& process = record.process;
    host.adopt(process.instance, AdoptOrder{.replica = process.replica,
                                            .pid = process.pid,
                                            .start_ticks = record.start_ticks,
                                            .cgroup = record.cgroup,
                                            .token = record.token});
    host.kill_tree(process.instance);
  }
  host.end_leftovers(*found.life);
  deadline.start(limit);
  while (!late && host.running() > 0) uv_run(loop, UV_RUN_ONCE);
  return host.running();
}

}  // namespace

Result<std::size_t> end_leftovers(const std::string& state_dir, Millis limit) {
  struct stat info {};
  if (stat(state_dir.c_str(), &info) != 0 && errno == ENOENT) return std::size_t{0};
  const auto lock = lock_state_folder(state_dir);
  if (!lock) return lock.error();
  ReplicaRecords records(state_dir + "/replicas", current_boot_id(), [](const std::string&) {});
  const auto there = records.find();
  if (!there) return there.error();
  const ReplicaRecords::Found& found = there.value();
  if (!found.life) return std::size_t{0};
  uv_loop_t loop{};
  if (uv_loop_init(&loop) != 0)
    return Error{.message = "the event loop cannot be opened: no descriptors left"};
  const std::size_t left = end_all(&loop, found, limit);
  uv_run(&loop, UV_RUN_DEFAULT);
  uv_loop_close(&loop);
  if (left > 0) return Error{.message = fmt::format("{} replicas do not end", left)};
  for (const ReplicaRecord& record : found.records) records.remove(record.process.instance);
  records.end();
  return found.records.size();
}

}  // namespace muster::supervisor
