// Where the output of replicas goes through, so that it outlives the daemon: FIFOs, and somebody who holds them. For the
// control thread.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/ids.h"
#include "supervisor/output_keeper.h"
#include "supervisor/output_pipes.h"

namespace muster::supervisor {

class ReplicaOutput {
 public:
  // `warn`: why something does not outlive the daemon, once for each reason.
  ReplicaOutput(const std::string& run_dir, std::function<void(std::string)> warn);

  // The journal's file, or "" where there is no runtime folder for it.
  [[nodiscard]] std::string journal_path();
  OutputFifos& fifos() { return fifos_; }
  // Who holds the output while no daemon lives; nobody by default: replicas end with the daemon.
  void set_keeper(std::unique_ptr<OutputKeeper> keeper) { keeper_ = std::move(keeper); }

  // Before the process is started. Invalid ends: there can be no FIFO.
  OutputPipes make(InstanceId instance);
  // Of a process that an earlier daemon started and that lives on; the ends may be invalid.
  LeftOutput reopen(InstanceId instance);
  // After all reopen(): what nobody reopened, until end_left() once that is read.
  std::vector<LeftOutput> open_left();
  void end_left();
  void forget(InstanceId instance);
  [[nodiscard]] std::set<InstanceId> stored() const;  // see OutputKeeper

 private:
  void complain(const Error& error);

  OutputFifos fifos_;
  std::unique_ptr<OutputKeeper> keeper_;
  std::function<void(std::string)> warn_;
  std::set<InstanceId> living_;
  std::set<InstanceId> left_;
  bool complained_ = false;
};

}  // namespace muster::supervisor
