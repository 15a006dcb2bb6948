// A client's TCP connection: one replica for all of its life, chosen in turn like a request.
#include "lb/exchange.h"

namespace muster::lb {

namespace {
struct TcpClient final : WaitsForReplica {
  TcpClient(Worker& w, Ref<LocalListener> l, Fd fd, const Peer& address)
      : worker(w),
        listener(std::move(l)),
        counted_at(listener->frontend->shared),
        socket(w.loop(), std::move(fd), listener->kind()),
        preference(preference_of(listener->frontend->listener, address)) {
    ListenerCounters& counters = counted_at->per_thread[worker.index()];
    counters.connections.add();
    counters.requests.add();
    link.socket = &socket;
    link.listener = listener.get();
    worker.add_client(link);
  }
  ~TcpClient() override {
    socket.close();
    counted_at->per_thread[worker.index()].connections.subtract();
    worker.remove_client(link);
  }
  TcpClient(const TcpClient&) = delete;
  TcpClient& operator=(const TcpClient&) = delete;
  bool has_replica() override {
    const Ref<LocalPool>& pool = listener->frontend->pool;
    return pool && pool->takes_requests();
  }

  Worker& worker;
  Ref<LocalListener> listener;
  std::shared_ptr<SharedListener> counted_at;
  Socket socket;
  Preference preference;
  ClientLink link;
};

// The connection and what holds its replica in flight.
struct Connected {
  std::optional<InFlight> in_flight;
  std::unique_ptr<Upstream> upstream;
};

constexpr Millis pause_when_all_failed{50};

// No byte was sent yet, so every failure may be followed by another replica.
Task<bool> reach_replica(TcpClient& client, Connected& connected) {
  Worker& worker = client.worker;
  const Instant queue_deadline = worker.loop().now() + client.listener->frontend->listener.queue_timeout;
  std::vector<InstanceId> tried;
  for (int tries = 0; !worker.loop().shut();) {
    const Ref<Frontend> frontend = client.listener->frontend;
    Ref<LocalEndpoint> endpoint;
    if (frontend->pool && frontend->pool->takes_requests())
      endpoint = worker.pick(*frontend->pool, frontend->listener, client.preference, tried);
    if (endpoint) {
      connected.in_flight.emplace(endpoint);
      ConnectFailure failure;
      connected.upstream = co_await endpoint->connect(frontend->listener.timeout.connect, failure);
      if (connected.upstream) {
        endpoint->report_success();
        co_return true;
      }
      endpoint->report_failure("connect: " + failure.why, frontend->listener.eject);
      tried.push_back(endpoint->id());
      connected.in_flight.reset();
      const bool over =
          failure.refused ? worker.loop().now() >= queue_deadline : ++tries > frontend->listener.retries;
      if (over) co_return false;
    } else if (!client.has_replica()) {
      const bool there = co_await worker.wait_for_replica(*client.listener, client, queue_deadline);
      if (!there) co_return false;
    } else {
      tried.clear();
      co_await worker.loop().sleep(pause_when_all_failed);
    }
  }
  co_return false;
}
}  // namespace

Detached serve_tcp(Worker& worker, Ref<LocalListener> listener, Fd fd, Peer client_address) {
  TcpClient client(worker, std::move(listener), std::move(fd), client_address);
  if (!client.socket.valid()) co_return;
  Connected connected;
  const bool reached = co_await reach_replica(client, connected);
  if (!reached) {
    client.socket.reset_on_close();
    co_return;
  }
  EarlyBytes none;
  co_await tunnel(worker, client.socket, connected.upstream->socket(), none,
                  connected.in_flight->endpoint().counters(), client.listener->frontend->listener.timeout);
}

}  // namespace muster::lb
