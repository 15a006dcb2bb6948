// The processes of all replicas: started through the exec shim, watched by pidfd, ended with everything they ever
// forked. Carries out, decides nothing. Everything here is for the control thread: PDEATHSIG fires when the spawning
// *thread* ends.
//
// Whole tree: an own cgroup where one can be made (cgroup.kill, cgroup.events; no controllers needed), else session
// + child subreaper + a walk of /proc by the environment token MUSTER_INSTANCE. containment() says which.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "supervisor/event.h"
#include "supervisor/limit_rules.h"
#include "supervisor/output_pipes.h"
#include "supervisor/process_order.h"
#include "supervisor/replica_record.h"

struct uv_loop_s;

namespace muster::supervisor {

struct ProcessPipes {  // read ends, CLOEXEC, non-blocking
  Fd out;
  Fd err;
};

struct CommandResult {
  std::optional<ExitStatus> status;  // none: it could not be started or did not end in time
  std::string sentence;  // "exited with status 2", "no end within 1.0 s", "exec ./x: No such file …"
  std::string output;    // first limits::probe_output_bytes_max bytes of stdout and stderr together
  bool started = false;
  bool timed_out = false;
};

struct Usage {
  Nanos cpu{0};  // of the whole tree; of its dead too, where cgroups count them
  std::uint64_t memory_bytes = 0;
  bool memory_over_counts = false;  // a sum of RSS: shared pages count once per process
};

struct ProcessHostOptions {
  bool end_with_daemon = true;  // on_crash = "stop": PDEATHSIG SIGKILL to each main process
  // Where replica cgroups are made, below the daemon's own cgroup by default; for tests another folder of a cgroup2
  // mount, or "" for "make none".
  std::optional<std::string> cgroup_parent;
  // The small shim, by default the one that was installed with this binary; "" for "none".
  std::optional<std::string> shim;
  // The limit of open files for processes; by default the one that is in force now.
  std::optional<std::uint64_t> files_soft = std::nullopt;
  // The daemon before is this very process: nobody has to be searched for who was left behind.
  bool is_next_image = false;
};

// A process that was started by another daemon, or by an earlier image of this one: ReplicaRecord.
struct AdoptOrder {
  ReplicaId replica;
  int pid = 0;  // 0: nobody knows it; what there is of its tree is to be ended
  std::uint64_t start_ticks = 0;
  std::string cgroup;  // empty: its tree is known by the token
  std::string token;
};

// Where a process that is about to be started can be found again.
struct TreeName {
  std::string cgroup;  // empty: by the token
  std::string token;
};

struct ProcessHooks {
  std::function<void(InstanceId, int pid)> on_started;  // exec succeeded
  std::function<void(InstanceId, SpawnFailure, std::string sentence)> on_spawn_failed;
  std::function<void(InstanceId, ExitStatus)> on_exited;  // the main process was reaped
  // Job control (waitid(2)): somebody sent the main process SIGSTOP, and SIGCONT.
  std::function<void(InstanceId, int signal)> on_frozen;
  std::function<void(InstanceId)> on_thawed;
  std::function<void(InstanceId)> on_tree_gone;  // after on_exited, once, when nothing is left
};

class ProcessHost {
 public:
  // Call once, before anything is spawned: becomes child subreaper, remembers the soft file limit that muster was
  // started with. The loop must run once more after the destructor. The destructor kills nothing.
  ProcessHost(uv_loop_s* loop, ProcessHostOptions options, ProcessHooks hooks);
  ~ProcessHost();
  ProcessHost(const ProcessHost&) = delete;
  ProcessHost& operator=(const ProcessHost&) = delete;

  // Answered by on_started or on_spawn_failed, never inside the call. The pipes are those of stdout and stderr: `output`,
  // or plain ones where there are none; they are invalid when there were no descriptors left (on_spawn_failed follows).
  ProcessPipes start(InstanceId instance, const ReplicaId& replica, const ProcessOrder& order,
                     OutputPipes output = {});

  // Watches what was there before as if it had been started here. When it is no longer what it was, that is answered
  // by on_exited (with a status if the kernel remembers it: PIDFD_GET_INFO, Linux 6.15) and on_tree_gone.
  void adopt(InstanceId instance, const AdoptOrder& order);
  // After all adopt(): SIGKILL to everything else that the daemon of that life left.
  void end_leftovers(const DaemonLife& life);
  // Where a shortage of descriptors or memory has denied it control groups, tries again, for what is started from now on.
  // True: life() has changed.
  bool regain_cgroups();
  // Where everything of this host's can be found; its `boot_id` is empty.
  [[nodiscard]] DaemonLife life() const;
  [[nodiscard]] TreeName name_of(InstanceId instance, const ReplicaId& replica) const;
  // The main process while it is there: its number and proc(5) starttime; {0, 0} otherwise.
  [[nodiscard]] std::pair<int, std::uint64_t> main_process(InstanceId instance) const;

  // pidfd_send_signal(2) to the main process; nothing when it is reaped or unknown.
  void signal(InstanceId instance, int signal_number);
  // SIGKILL to everything the instance ever forked. May be called again while it has not answered.
  void kill_tree(InstanceId instance);

  // One bounded command beside the replica (probe, stop.exec): own session, ends with its whole tree at `timeout` or
  // when the instance's tree is gone. `done` is called exactly once unless the command is cancelled or the host
  // goes. Its processes count as none of the replica's.
  void run_command(InstanceId instance, const ProcessOrder& order, Millis timeout,
                   std::function<void(CommandResult)> done);
  void cancel_commands(InstanceId instance);
  // The same of the daemon's own, beside no replica.
  void run_own_command(const ProcessOrder& order, Millis timeout, std::function<void(CommandResult)> done);
  // The limit of open files that muster was started with.
  [[nodiscard]] std::uint64_t files_soft() const;
  // Descriptors whose locks keep other daemons from the groups of its processes.
  [[nodiscard]] std::vector<int> locks() const;

  // What bounds the instance as a whole, from now on; written once more where somebody may have lifted it.
  void set_limits(InstanceId instance, const LimitOrder& order);
  [[nodiscard]] LimitOrder limit_order(InstanceId instance) const;  // as last set
  // Who enforces each of its limits.
  [[nodiscard]] LimitStates limits(InstanceId instance) const;
  // What the kernel has refused of them since the last call, as sentences.
  std::vector<std::string> take_limit_problems(InstanceId instance);
  // Which controllers the groups of replicas can have, and why not the others.
  [[nodiscard]] const ControllerReport& controllers() const;
  // There are limits that only looking enforces …
  [[nodiscard]] bool watches_limits() const;
  // … and these are exceeded now. A few system calls for each process.
  [[nodiscard]] std::map<InstanceId, Excess> over_limits() const;

  // Whether the process belongs to the instance's tree now (cgroup membership, or session/token/ancestry).
  [[nodiscard]] bool owns(InstanceId instance, int pid) const;
  // It is alive and known to have left the instance's tree.
  [[nodiscard]] bool has_lost(InstanceId instance, int pid) const;
  [[nodiscard]] std::optional<InstanceId> instance_of(int pid) const;  // for sd_notify's SCM_CREDENTIALS
  [[nodiscard]] std::vector<int> pids_of(InstanceId instance) const;
  [[nodiscard]] std::optional<Usage> usage(InstanceId instance) const;
  // usage().cpu alone, far cheaper.
  [[nodiscard]] std::optional<Nanos> cpu_used(InstanceId instance) const;

  // "cgroup" or "session+subreaper+token", with the reason when it is not cgroup; for `doctor`, `ps` and the log.
  [[nodiscard]] std::string containment() const;
  [[nodiscard]] std::size_t running() const;  // instances whose tree is not gone

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace muster::supervisor
