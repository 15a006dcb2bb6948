// Who holds the read ends of the replicas' output besides the daemon. The bytes in a FIFO vanish with the last one that
// has it open: where a replica ends while no daemon lives, its last words would. For the control thread.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/ids.h"
#include "base/result.h"
#include "supervisor/output_pipes.h"
#include "supervisor/sd_notify.h"

struct uv_loop_s;

namespace muster::supervisor {

class OutputKeeper {
 public:
  OutputKeeper() = default;
  OutputKeeper(const OutputKeeper&) = delete;
  OutputKeeper& operator=(const OutputKeeper&) = delete;
  virtual ~OutputKeeper() = default;

  // Never fails: what cannot be held is told once, and lost only if the daemon dies too.
  virtual void hold(InstanceId instance, const Fd& out, const Fd& err) = 0;
  virtual void drop(InstanceId instance) = 0;
  // All that lives on is held again: the earlier daemon's keeper is not needed any more.
  virtual void end_earlier() = 0;
  // What the service manager's store has, for the next image of this daemon, which is told of it by nobody else.
  [[nodiscard]] virtual std::set<InstanceId> stored() const { return {}; }
};

// The descriptors that the service manager kept for an earlier daemon, taken out of all that it passed.
std::set<InstanceId> take_stored_output(std::vector<std::pair<std::string, Fd>>& passed);

// The service manager's store (sd_notify(3), FDSTORE=1), with what it has kept of an earlier daemon's. `sd` outlives it.
std::unique_ptr<OutputKeeper> keep_in_fd_store(SdNotify& sd, std::set<InstanceId> stored);

// A process of its own, started with the first instance; another one when it dies. Its number is in the FIFOs' folder.
// `fifos` and what `warn` needs outlive it.
std::unique_ptr<OutputKeeper> keep_by_process(uv_loop_s* loop, OutputFifos& fifos,
                                              std::function<void(std::string)> warn);

// For tests. The program that takes the keeper's part; by default the small shim, else this one.
void set_keeper_path(std::string path);

}  // namespace muster::supervisor
