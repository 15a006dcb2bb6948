// A client's TCP connection: one replica for all of its life, chosen in turn like a request.
#include "lb/exchange.h"
#include "lb/proxy_accept.h"
#include "lb/tls_accept.h"

namespace muster::lb {

namespace {
struct TcpClient final : Client, WaitsForReplica {
  TcpClient(Worker& w, Ref<LocalListener> l, Fd fd, Peer&& client_address)
      : Client(w, std::move(l), std::move(fd), std::move(client_address)),
        preference(preference_of(listener->frontend->listener, address)),
        begun(w.loop().now()) {
    counters().requests.add();
    const Ref<Frontend>& frontend = listener->frontend;
    if (frontend->access_log) entry = frontend->access_log->begin(frontend->listener.access_log);
  }
  bool has_replica() override {
    const Ref<LocalPool>& pool = listener->frontend->pool;
    return pool && pool->takes_requests();
  }

  Preference preference;
  Instant begun;
  AccessEntryRef entry;        // null: no line is written
  Ref<LocalEndpoint> replica;  // the last that was asked
};

void write_line(const TcpClient& client, const TunnelEnd& tunnelled) {
  AccessRecord record;
  record.client = client.address.text;
  record.is_stream = true;
  record.bytes_in = tunnelled.bytes_in;
  record.bytes_out = tunnelled.bytes_out;
  if (client.replica) record.replica = client.replica->label();
  record.total = std::chrono::steady_clock::now() - client.begun;
  const bool stopped = tunnelled.end != AccessEnd::complete && client.worker.loop().shut();
  record.end = stopped ? AccessEnd::stopped : tunnelled.end;
  client.entry->fill(record);
  client.entry->log->write(client.entry->format, record);
}

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
      if (client.replica) {
        client.counters().retries.add();
        client.replica->counters().retries.add();
      }
      client.replica = endpoint;
      ConnectFailure failure;
      const Instant since = worker.loop().now();
      connected.upstream = co_await endpoint->connect(frontend->listener.timeout.connect, failure);
      if (client.entry) {
        ++client.entry->tries;
        client.entry->connecting += worker.loop().now() - since;
      }
      if (connected.upstream) {
        endpoint->report_success();
        if (client.proxy_header)
          co_await introduce(*connected.upstream, *client.proxy_header, frontend->listener.timeout.send);
        co_return true;
      }
      endpoint->report_failure("connect: " + failure.why, frontend->listener.eject);
      tried.push_back(endpoint->id());
      connected.in_flight.reset();
      const bool over =
          failure.refused ? worker.loop().now() >= queue_deadline : ++tries > frontend->listener.retries;
      if (over) co_return false;
    } else if (!client.has_replica()) {
      const Instant since = worker.loop().now();
      const bool there = co_await worker.wait_for_replica(*client.listener, client, queue_deadline);
      if (client.entry) client.entry->queued += worker.loop().now() - since;
      if (!there) co_return false;
    } else {
      tried.clear();
      co_await worker.loop().sleep(pause_when_all_failed);
    }
  }
  co_return false;
}
}  // namespace

Detached serve_tcp(Worker& worker, Ref<LocalListener> listener, Fd fd, Peer&& client_address) {
  TcpClient client(worker, std::move(listener), std::move(fd), std::move(client_address));
  if (!client.socket.valid()) co_return;
  if (client.listener->frontend->is_proxied()) {
    const bool begun = co_await begin_proxied(client, client.listener->frontend);
    if (!begun) co_return;
    client.preference = preference_of(client.listener->frontend->listener, client.address);
  }
  if (client.listener->frontend->tls) {
    const TlsSession::Step step = co_await accept_tls(worker, client, client.listener->frontend);
    if (step == TlsSession::Step::failed) co_await linger(client.socket, worker.scratch());
    if (step != TlsSession::Step::done) co_return;
  }
  Connected connected;
  TunnelEnd tunnelled;
  const bool reached = co_await reach_replica(client, connected);
  if (reached) {
    EarlyBytes none;
    const TunnelCounters counters{.replica = connected.in_flight->endpoint().counters(),
                                  .listener = client.counters()};
    tunnelled = co_await tunnel(worker, client.socket, connected.upstream->socket(), none, counters,
                                client.listener->frontend->listener.timeout);
  } else {
    client.socket.reset_on_close();
    tunnelled.end = client.replica ? AccessEnd::replica_failed : AccessEnd::muster_refused;
    if (!client.replica) client.counters().refused.add();
  }
  if (client.entry) write_line(client, tunnelled);
}

}  // namespace muster::lb
