#include "sim/spec_pair.h"

#include "sim/random_spec.h"

namespace muster::sim {

SpecPair spec_pair(std::uint64_t seed) {
  Random random(seed * 2654435761U + 7);
  RandomSpec stack(random);
  SpecPair pair{.before = stack.current(), .after = {}};
  for (int edits = random.between(1, 3); edits > 0; --edits) stack.edit();
  pair.after = stack.current();
  return pair;
}

}  // namespace muster::sim
