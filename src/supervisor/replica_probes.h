// One probe of one replica: all checks that are given must hold. Network first, then `cmd`. For the control thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/ids.h"
#include "base/time.h"
#include "health/outcome.h"
#include "health/prober.h"
#include "spec/spec.h"
#include "supervisor/process_host.h"

namespace muster::supervisor {

struct ReplicaProbe {
  InstanceId instance{};
  health::ProbeKind kind = health::ProbeKind::readiness;
  std::uint16_t port = 0;
  std::string socket;         // its path, in place of a port; neither: no network check is asked for
  std::string first_address;  // where it was reached last
  std::optional<std::string> http_path;  // expanded
  std::string preface;                   // what a replica expects at the beginning of each connection
  std::vector<spec::StatusRange> expect;
  Millis timeout{1000};
  std::optional<ProcessOrder> command;
  bool look_elsewhere =
      false;  // nothing listens: say where the replica listens instead (costs a walk of its fds)
};

class ReplicaProbes {
 public:
  // `host` outlives this.
  ReplicaProbes(uv_loop_s* loop, ProcessHost& host) : prober_(loop), host_(host) {}

  // `done` is called once and never inside the call, unless the instance is cancelled. One of a kind per instance.
  void start(ReplicaProbe probe, std::function<void(health::Outcome)> done);
  void cancel(InstanceId instance);

 private:
  using Key = std::pair<InstanceId, health::ProbeKind>;
  void network_done(const Key& key, health::Outcome outcome);
  void finish(const Key& key, health::Outcome outcome);
  std::optional<health::Outcome> judge(const ReplicaProbe& probe, const std::string& address);

  struct Run {
    ReplicaProbe probe;
    std::function<void(health::Outcome)> done;
    std::optional<health::Prober::ProbeId> network;
    std::optional<health::Outcome> network_outcome;
    std::optional<health::Outcome> wide;
  };
  health::Prober prober_;
  ProcessHost& host_;
  std::map<Key, Run> runs_;
};

}  // namespace muster::supervisor
