// One listener to one replica, and replicas for it.
#pragma once

#include <string>
#include <utility>

#include "rig.h"

namespace muster::lb::test {

inline const std::string plain_get = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

// Answers each request with what it read: head and body as the body.
inline void echo(Wire& wire) {
  while (const auto request = read_message(wire)) {
    const std::string body = request->head + "|" + request->body + "|" + request->trailers;
    if (!wire.send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body))
      return;
  }
}

// Answers each request with these bytes, whatever they are, and closes behind them when told to.
inline Replica::Serve says(std::string bytes, bool closes = false) {
  return [bytes = std::move(bytes), closes](Wire& wire) {
    while (read_message(wire)) {
      if (!wire.send(bytes) || closes) return;
    }
  };
}

// One listener to one replica.
struct Pair {
  explicit Pair(Replica::Serve serve) : replica(std::move(serve)) {
    rig.add_listener("web", "web");
    rig.set_pool("web", {replica.port()});
  }
  Wire start() {
    rig.publish();
    return rig.client();
  }
  spec::Listener& listener() { return rig.listeners[0]; }
  Replica replica;
  Rig rig;
};

}  // namespace muster::lb::test
