// The fake host under the eyes of every invariant.
#pragma once

#include <string>

#include "sim/invariants.h"
#include "simulator/fake_host.h"

namespace muster::sim {

class SimHost : public FakeHost {
 public:
  explicit SimHost(HostOptions options) : FakeHost(std::move(options)), invariants_(*this) {
    watcher = invariants_.watcher();
  }
  // Empty once the World is what the spec and the holds want; otherwise what is missing.
  [[nodiscard]] std::string unfinished() const { return invariants_.unfinished(); }

 private:
  Invariants invariants_;
};

}  // namespace muster::sim
