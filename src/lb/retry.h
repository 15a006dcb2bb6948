// When a request may be tried again, and on which connection: the contract's promise 3. Pure.
#pragma once

#include <algorithm>

#include "base/time.h"

namespace muster::lb {

struct TryState {
  bool idempotent = false;
  bool wrote_anything = false;  // of it, to the replica that failed
  bool replayable = true;       // all of it that was read is still there to be sent
  bool answer_begun = false;    // the client has bytes of an answer
  bool interim_sent = false;    // or of a 1xx
};

// Another try never repeats what may have been processed, unless the request is idempotent, and never follows what
// the client has seen.
constexpr bool may_try_again(const TryState& state) {
  if (state.answer_begun || state.interim_sent || !state.replayable) return false;
  return state.idempotent || !state.wrote_anything;
}

// How long an upstream connection may have been idle to carry a request. One that must not be sent twice never rides a
// connection that the replica may be about to close: Node.js closes at 5 s.
constexpr Millis reuse_limit(Millis keepalive, bool idempotent) {
  constexpr Millis limit_of_unrepeatable{4000};
  return idempotent ? keepalive : std::min(keepalive, limit_of_unrepeatable);
}

}  // namespace muster::lb
