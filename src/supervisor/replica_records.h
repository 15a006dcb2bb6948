// The records of living replicas on disk, STATE/replicas: one file for each with its mark beside it, and one for the
// daemon itself, which is there as long as it has not ended in order. Not synced: they are of use to the next daemon
// under the same boot only. For the control thread.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "supervisor/replica_record.h"

namespace muster::supervisor {

class ReplicaRecords {
 public:
  // `on_error` hears of it when writing begins to fail, and "" when it works again.
  ReplicaRecords(std::string folder, std::string boot_id, std::function<void(const std::string&)> on_error);
  ReplicaRecords(const ReplicaRecords&) = delete;
  ReplicaRecords& operator=(const ReplicaRecords&) = delete;

  struct Found {
    std::optional<DaemonLife> life;      // of a daemon that has not ended in order, under this boot
    std::vector<ReplicaRecord> records;  // of this boot; empty without a life
    InstanceId next{1};                  // greater than any instance there
    std::vector<std::string> warnings;
    std::vector<InstanceId> useless = {};  // of another boot, or damaged
  };
  // What is there; what is of no use to anybody is removed. An error: it cannot be told what is there, for want of
  // descriptors, memory or the boot's id, and nothing was removed.
  Result<Found> find();

  // From now on there is a daemon whose replicas may outlive it; `life` is given this boot. What cannot be written is
  // tried again with each add().
  Status begin(DaemonLife life);
  void end();  // nothing is left that it has started

  // Before the process is started, and after it has begun (its pid is known).
  void add(const ReplicaRecord& record);
  void began(InstanceId instance, int pid, std::uint64_t start_ticks, WallTime at);
  void mark(InstanceId instance, const ReplicaMark& mark);
  void exited(InstanceId instance, const ExitStatus& status);
  // Nothing is left of its processes. What its end led to is known to the planner only: the record stays, for a daemon
  // that finds a state from before, until remove().
  void retire(InstanceId instance);
  // Those that were retired since the last call: to be removed when the state is on disk.
  std::vector<InstanceId> take_retired();
  // Removes those that were retired and whose replica has been added again.
  void remove_outlived();
  void remove(InstanceId instance);
  // One that find() gave is kept up from now on.
  void keep(const ReplicaRecord& record);

  [[nodiscard]] const std::string& boot_id() const { return boot_id_; }

 private:
  [[nodiscard]] std::string path_of(InstanceId instance) const;
  Status write_life();
  void write_mark(const ReplicaRecord& record);
  void report(const Status& status);
  Status read_one(const std::string& name, InstanceId instance, Found& found);

  std::string folder_;
  std::string boot_id_;
  std::function<void(const std::string&)> on_error_;
  bool failing_ = false;
  std::string unwritten_life_;
  std::map<InstanceId, ReplicaRecord> marks_;  // only what a mark needs
  std::map<InstanceId, ReplicaId> retired_;
  std::vector<InstanceId> newly_retired_;
  std::vector<InstanceId> outlived_;
};

// proc(5), /proc/sys/kernel/random/boot_id; "" where it cannot be read.
std::string current_boot_id();

}  // namespace muster::supervisor
