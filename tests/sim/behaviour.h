// How processes, probes and traffic threads of a run behave: drawn by its seed, or as it was written down.
#pragma once

#include <map>

#include "sim/random.h"
#include "sim/scenario.h"

namespace muster::sim {

class Behaviour {
 public:
  // `record` (may be null) gets everything that is not calm.
  Behaviour(const Scenario& scenario, Oddities* record) : scenario_(scenario), record_(record) {}
  void rule(FakeHost& host);

 private:
  Conduct start(const FakeHost& host, const Spawn& spawn);
  ProbeConduct probe(const FakeHost& host, const Process& process);
  Nanos swap(const FakeHost& host);
  [[nodiscard]] Random draw(int what, int life, const ReplicaId& replica, int turn) const;
  [[nodiscard]] Conduct draw_start(Random random, const Spawn& spawn) const;
  static Conduct draw_job(Random random);

  const Scenario& scenario_;
  Oddities* record_;
  std::map<std::pair<int, ReplicaId>, int> starts_;
  std::map<std::pair<int, ReplicaId>, int> probes_;
  std::map<int, int> swaps_;
};

ExitStatus some_exit(Random& random);

}  // namespace muster::sim
