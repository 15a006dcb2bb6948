// A stack and what an edit makes of it, both valid: for properties that hold for every change of a file.
#pragma once

#include <cstdint>
#include <memory>

#include "spec/spec.h"

namespace muster::sim {

struct SpecPair {
  std::shared_ptr<const spec::Spec> before;
  std::shared_ptr<const spec::Spec> after;
};

// Always the same from the same seed: one to nine changes, of apps that come, go and are renamed too.
SpecPair spec_pair(std::uint64_t seed);

}  // namespace muster::sim
