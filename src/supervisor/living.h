// Processes that outlive the daemon which started them: what is written down of each, so that another daemon takes them
// over as they are (`on_crash = "keep"`, upgrade). Pure values.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/time.h"
#include "spec/spec.h"
#include "supervisor/event.h"

namespace muster::supervisor {

// A run of a job, as far as its processes must be told apart: for whom it is, and which try.
struct RunMemo {
  std::string why;
  std::map<std::string, Revision> before = {};  // the revisions that wait for it
  int tries = 0;
  bool operator==(const RunMemo&) const = default;
};

// How far a process has come. Changes during its life.
struct ReplicaMark {
  bool started = false;  // exec succeeded
  bool was_ready = false;
  bool fit = false;                   // ready now, be it drained by hand
  bool stopping = false;              // on its way out
  bool outdated = false;              // to be replaced although its revision is in force
  std::string address = "127.0.0.1";  // where its port answers
  bool operator==(const ReplicaMark&) const = default;
};

// A process of an earlier daemon's, or of an earlier image of this one.
struct LivingProcess {
  InstanceId instance{};
  ReplicaId replica;
  Revision revision{};
  std::shared_ptr<const spec::App>
      app;  // of its revision; keys that are none of a revision's are at their defaults
  std::optional<RunMemo> run = {};  // of a job
  int pid = 0;
  std::vector<std::pair<std::string, std::uint16_t>> ports = {};  // as ProcessStarted::ports
  std::string socket = {};                                        // as ProcessStarted::socket
  WallTime started;
  int starts = 1;  // as Spawn::starts
  ReplicaMark mark = {};
  std::optional<ExitStatus> exit = {};  // that the daemon had seen before it ended
};

}  // namespace muster::supervisor
