// The tenancies of slots that have a process: carries out what the planner asks of one (start, probe, signal, stop
// command, kill) and reports what happens to it. Ports, volumes, environment and pipes are put together here. For the
// control thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/ids.h"
#include "supervisor/accounts.h"
#include "supervisor/action.h"
#include "supervisor/drift.h"
#include "supervisor/event.h"
#include "supervisor/launch.h"
#include "supervisor/log_pipes.h"
#include "supervisor/notify_sockets.h"
#include "supervisor/planner.h"
#include "supervisor/ports.h"
#include "supervisor/process_host.h"
#include "supervisor/replica_output.h"
#include "supervisor/replica_probes.h"
#include "supervisor/replica_records.h"
#include "supervisor/replica_sockets.h"
#include "supervisor/volume_keeper.h"

namespace muster::supervisor {

struct InstancesConfig {
  RunMode mode = RunMode::daemon;
  std::string run_dir;                                     // sockets of replicas are made below it
  std::string folder;                                      // the spec's
  std::vector<std::string> environment;                    // of the daemon as it was started
  bool end_with_daemon = true;                             // on_crash = "stop"
  bool is_next_image = false;                              // after an upgrade in place
  std::optional<std::uint64_t> files_soft = std::nullopt;  // that the first image was started with
  // Where the processes are written down, for another daemon; null: nowhere. Outlives the Instances.
  ReplicaRecords* records = nullptr;
  VolumeKeeper* volumes = nullptr;  // makes and knows the volumes; outlives the Instances
  // What the output goes through, so that it outlives the daemon; null: plain pipes. Outlives the Instances.
  ReplicaOutput* output = nullptr;
};

class Instances {
 public:
  // `emit` is called for each event, at any time also inside a call; `logs` outlives this.
  Instances(uv_loop_s* loop, InstancesConfig config, Logs& logs, std::function<void(Event)> emit);

  // Once, before anything is started: the processes of an earlier daemon. Everything else that it left is ended, and its
  // last words are written.
  void take_over(const std::vector<ReplicaRecord>& living, const DaemonLife& life);

  void start(const Spawn& spawn);
  void mark(const MarkReplica& mark);
  void set_limits(const SetLimits& wanted);
  // What the kernel has refused of the instance's limits since the last call, as sentences.
  std::vector<std::string> take_limit_problems(InstanceId id) { return host_.take_limit_problems(id); }
  void signal(const Signal& signal) { host_.signal(signal.instance, signal.signal); }
  void kill_tree(InstanceId instance) { host_.kill_tree(instance); }
  void run_stop_command(InstanceId id);
  // One probe by the check of that kind as it is now; answered by ProbeFinished.
  void probe(const World& world, InstanceId id, health::ProbeKind kind);

  // Where living replicas are not as they were started; a few system calls for each.
  [[nodiscard]] std::vector<Drift> drift(const World& world) const;
  // A change of one of these may be drift: programs, volumes.
  [[nodiscard]] std::vector<std::string> files_of_drift(const World& world) const;

  // Paths of the volumes that living replicas have.
  [[nodiscard]] std::set<std::string> volumes_in_use() const;

  // Live: for the processes that are started from now on.
  void use_ports_of(const spec::Spec& spec);
  // … and whom they run as.
  void use_users_of(const spec::Spec& spec);
  [[nodiscard]] const ProcessHost& host() const { return host_; }
  // A bounded command of the daemon's own, as its user, with the environment that it was started with.
  void run_own_command(std::vector<std::string> argv, Millis limit, std::function<void(CommandResult)> done);

 private:
  struct Instance {
    ReplicaId replica;
    std::shared_ptr<const spec::App> app;
    LaunchContext context;
    std::optional<std::vector<std::string>> environment;  // of one that was taken over: what it had then
    std::vector<Fd> locks;                                // of its volumes; its processes hold them too
    std::uint64_t looked_elsewhere_ms = 0;  // of the loop: where it listens, before it was ready
  };
  std::optional<SpawnFailed> prepare(const Spawn& spawn, Instance& instance);
  void attach(const Spawn& spawn, Fd out, Fd err);
  void take_over(const ReplicaRecord& record);
  void write_down(const Spawn& spawn, const LaunchContext& context);
  [[nodiscard]] LaunchContext context_of(const ReplicaId& replica) const;
  void end_left_output();
  void gone(InstanceId id);
  bool is_own_user(const spec::App& app, int replicas, const Account& account);
  void share_user(const std::string& app);
  [[nodiscard]] bool is_to_look_elsewhere(Instance& instance, const Tenant& tenant) const;

  uv_loop_s* loop_;
  InstancesConfig config_;
  Logs& logs_;
  std::function<void(Event)> emit_;
  AccountCache accounts_;
  Ports ports_;
  ReplicaSockets sockets_;
  NotifySockets notify_;
  ProcessHost host_;
  ReplicaProbes probes_;
  std::map<InstanceId, Instance> instances_;
  std::vector<std::string> users_;  // of each app and job of the spec in force
};

}  // namespace muster::supervisor
