// One line of an access log: the Common Log Format of Apache and NCSA, its combined form with Referer and User-Agent,
// or a JSON object. Pure.
//
// In both forms of CLF the time is UTC, the bytes are those of the answer's body ("-" for none), and quotes,
// backslashes and whatever is no printable ASCII are written as \xHH, so that a line is always one line.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/time.h"
#include "spec/spec.h"

namespace muster::lb {

// How a request or a connection came to its end.
enum class AccessEnd : std::uint8_t {
  complete,
  client_closed,   // or reset it
  client_timeout,  // it sent or took nothing for too long
  replica_failed,  // no replica could be reached, or the answer was none, or broke off
  timeout,         // the replica's answer did not come, or stopped coming, or a tunnel was idle for too long
  muster_refused,  // by muster itself: a bad head, no route, too large a body, no room or time to wait
  stopped,         // muster's stop did not wait any longer
};
std::string_view to_string(AccessEnd end);

// A client that went away before there was an answer, as nginx writes it; it is never sent.
inline constexpr int status_client_closed = 499;

// As it came: the first line of a head, or of what came of one.
std::string_view first_line(std::string_view head);

// Empty text, status 0 and a missing duration: not known, or there was none.
struct AccessRecord {
  WallTime time;              // when the head was there; tcp: when the connection was accepted
  std::string_view listener;  // its name
  std::string_view client;    // its address
  bool is_stream = false;     // a TCP connection
  std::string_view request;   // the first line of its head as it came
  std::string_view host;
  int status = 0;
  std::uint64_t bytes_in = 0;   // of the request's body, or from a stream's client
  std::uint64_t bytes_out = 0;  // of the answer's body, or to a stream's client
  std::string_view replica;     // the last that was asked: "web/0"
  int tries = 0;                // replicas that were asked
  Nanos queued{0};              // waiting for a ready replica
  Nanos connecting{0};          // to replicas, over all tries
  std::optional<Nanos> first_byte;
  Nanos total{0};
  std::string_view request_id;
  std::string_view user_agent;
  std::string_view referer;
  AccessEnd end = AccessEnd::complete;
};

// Keeps the text of the last second: most lines share theirs with the one before.
class AccessLineWriter {
 public:
  // Appends one line with its line feed. `format` is not off.
  void append(std::string& to, spec::AccessLogFormat format, const AccessRecord& record);

 private:
  void append_clf(std::string& to, const AccessRecord& record, bool combined);
  void append_json(std::string& to, const AccessRecord& record);
  void know(std::chrono::sys_seconds second);

  std::optional<std::chrono::sys_seconds> second_;
  std::array<char, 26> clf_time_{};   // 31/Dec/2026:23:59:59 +0000
  std::array<char, 19> json_time_{};  // 2026-12-31T23:59:59
};

}  // namespace muster::lb
