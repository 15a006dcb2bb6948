// HTTP/1.1 + JSON on the control socket (a unix stream socket), on the control loop. Framing only: what a path does is
// control_api.h's. Bounds: limits::control_clients_max connections, control_request_bytes_max per request, a head of
// 16 KiB, 10 s for a whole request, 30 s without progress for a slow reader; a streaming client that is slow is
// pulled from, never buffered for.
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "supervisor/control_socket.h"

struct uv_loop_s;

namespace muster::supervisor {

struct ControlRequest {
  std::string method;                        // "GET", "POST"
  std::string path;                          // "/v1/status", without the query
  std::map<std::string, std::string> query;  // percent-decoded
  std::string body;
  int peer_pid = 0;
  uid_t peer_uid = 0;
};

// The answer to one request; whoever holds it may answer later. Dropped without an answer: 500.
class ControlReply {
 public:
  // A chunk source for a streaming answer, pulled when the client has room. Returns false at the end of the stream;
  // true with nothing appended means "wait until wake()"; a source that calls wake() itself is called again in the
  // next turn of the loop.
  using Source = std::function<bool(std::string& append_to)>;

  virtual ~ControlReply() = default;
  // Content-Type application/json; `body` is a whole JSON text. Once.
  virtual void send(int status, std::string body) = 0;
  // Content-Type application/x-ndjson, chunked. Once.
  virtual void stream(Source source) = 0;
  virtual void wake() = 0;  // the source has something again
  // The client is gone: nothing is sent any more and the source is not called again. At most one hook.
  virtual void on_gone(std::function<void()> hook) = 0;
};

using ControlHandler = std::function<void(const ControlRequest&, std::shared_ptr<ControlReply>)>;

struct ControlTimes {
  Millis request{10'000};   // from the first byte of a request to its last
  Millis idle{30'000};      // between two requests
  Millis progress{30'000};  // in which a client that is being written to takes something
  Millis linger{2'000};     // for a client that is turned away to read why
};

struct ControlServerOptions {
  std::string path;  // at most 107 bytes
  // Allowed peers: root, the daemon's uid, and members of this group (SO_PEERGROUPS); others get 403.
  std::optional<gid_t> group;  // the socket is 0660 and of this group; without it 0600
  ControlTimes times;
  std::optional<BoundSocket> taken = std::nullopt;  // listens already: an earlier image left it
};

class ControlServer {
 public:
  // A socket file on which nobody answers is replaced; one that answers is an Error ("… is in use by pid N").
  static Result<std::unique_ptr<ControlServer>> listen(uv_loop_s* loop, ControlServerOptions options,
                                                       ControlHandler handler);
  virtual ~ControlServer() = default;  // the loop must run once more
  // Closes the listening socket (its file is removed if it is still ours); connections go on.
  virtual void close_listener() = 0;
  // Whether the socket file is still the one that was bound: else `reopen` is worth a call.
  [[nodiscard]] virtual bool still_there() const = 0;
  virtual Status reopen() = 0;
  // Another descriptor of the listening socket, and which file it has.
  [[nodiscard]] virtual BoundSocket listening_socket() const = 0;
};

}  // namespace muster::supervisor
