// What one probe found. Probes are run by shells (prober.h); what a result means is decided by pure code
// (verdict.h).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace muster::health {

enum class ProbeKind { readiness, liveness };

// The one table of outcomes: code -> {counts as healthy, word in JSON and events, sentence for people}.
enum class ProbeCode {
  ok,
  ok_wide,     // listens on every address instead of the asked one: healthy, with a warning
  refused,     // nothing listens on the port
  timeout,     // no answer within `timeout`
  closed,      // the connection ended before a whole answer
  bad_status,  // an HTTP status outside `expect`
  bad_answer,  // not HTTP/1.x
  cmd_failed,  // exit status other than 0, or a signal
  cmd_error,   // the command could not be started
  wrong_port,  // the replica listens, but somewhere else
  foreign,     // the port's socket belongs to a process outside the replica
  error,       // a system call failed on our side: no verdict about the replica
};

struct OutcomeRow {
  ProbeCode code;
  bool healthy;
  bool counts;  // false: says nothing about the replica, the verdict stays as it is
  std::string_view word;
};
const OutcomeRow& outcome_row(ProbeCode code);

struct Outcome {
  ProbeCode code = ProbeCode::ok;
  std::string sentence;  // "GET /healthz answered 503", "port 6379 is held by pid 812 (redis-server)"
  std::string output;    // first bytes of the body or of the command's output, at most 4 KiB
  std::optional<std::string> address;  // where the replica was reached: "127.0.0.1" or "::1"
  [[nodiscard]] bool healthy() const { return outcome_row(code).healthy; }
};

}  // namespace muster::health
