// What one balancer leaves to the next, as a value: the daemon becomes another image of itself and nobody who is
// connected notices. Descriptors are owned. Pure.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/ids.h"
#include "base/time.h"
#include "lb/socket_address.h"
#include "spec/spec.h"

namespace muster::lb {

// A replica's process that takes traffic.
struct Endpoint {
  InstanceId instance{};
  std::string label;    // "web/0": for messages
  std::string address;  // numeric, without brackets: "127.0.0.1", "::1"; or the path of a unix socket
  std::uint16_t port = 0;
  int ordinal = 0;
};

// The replicas of one app that are ready and in rotation, by ordinal. May be empty: requests wait in the
// queue.
struct Pool {
  std::string app;
  std::vector<Endpoint> endpoints;
  bool paused = false;     // requests and connections wait in the queue all the same
  bool on_demand = false;  // Callbacks::on_demand is called when one waits because there is no replica
};

// Listening sockets of one address: they are found again by the text of the address.
struct HandedListener {
  std::string bind;
  std::vector<Fd> sockets;
  ino_t file = 0;  // of a unix socket's file that is ours; 0: there is none
};

// A client's plain connection that has no request in flight.
struct HandedClient {
  Fd fd;
  std::string bind;  // of the listener that it came by
  spec::ListenMode mode = spec::ListenMode::http;
  Peer address;
  std::optional<std::string> proxy_header;  // that its connections to replicas begin with
  bool introduced = false;                  // its own PROXY header has been read, or it has none
  std::string unread;                       // was read of the socket and not consumed
};

// Of a tunnel, for the access log of its listener.
struct TunnelRecord {
  bool is_stream = true;             // a TCP connection; else an HTTP request that was answered with a 101
  std::array<std::string, 5> texts;  // request, host, request id, user agent, referer
  int status = 0;
  int tries = 0;
  Nanos queued{0};
  Nanos connecting{0};
  std::optional<Nanos> first_byte;
  Nanos age{0};  // when it was handed over
  std::uint64_t bytes_in = 0;
  std::uint64_t bytes_out = 0;
};

// Bytes both ways between a client and a replica, neither encrypted.
struct HandedTunnel {
  Fd client;
  Fd replica;
  std::string bind;
  Peer address;
  Endpoint endpoint;
  std::string to_replica;  // was read of one side and not written to the other
  std::string to_client;
  bool client_ended = false;  // its end was read and passed on
  bool replica_ended = false;
  TunnelRecord record;
};

// What could not be carried and was closed.
struct HandoverLosses {
  std::uint64_t requests = 0;         // in flight: cut
  std::uint64_t tls_connections = 0;  // without a request in flight
  std::uint64_t tls_tunnels = 0;
  std::uint64_t upstreams = 0;  // idle connections to replicas
  HandoverLosses& operator+=(const HandoverLosses& other) {
    requests += other.requests;
    tls_connections += other.tls_connections;
    tls_tunnels += other.tls_tunnels;
    upstreams += other.upstreams;
    return *this;
  }
};

struct Handover {
  std::vector<HandedListener> listeners;
  std::vector<HandedClient> clients;
  std::vector<HandedTunnel> tunnels;
  HandoverLosses losses;
  std::vector<Pool> pools;  // of the snapshot that was in force
};

}  // namespace muster::lb
