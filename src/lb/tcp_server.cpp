// A client's TCP connection: one replica for all of its life, chosen in turn like a request.
#include <algorithm>

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
  bool has_replica(bool in_turn) override;
  [[nodiscard]] std::shared_ptr<Capacity> capacity() const override {
    const Ref<LocalPool>& pool = listener->frontend->pool;
    return pool ? listener->frontend->capacity_of(*pool) : nullptr;
  }
  [[nodiscard]] Client& client() override { return *this; }
  [[nodiscard]] bool is_over_at_end() const override { return false; }
  bool take_replica(bool in_turn);
  [[nodiscard]] bool must_wait() const;

  Preference preference;
  Instant begun;
  AccessEntryRef entry;  // null: no line is written
  std::vector<InstanceId> tried;
  std::optional<InFlight> in_flight;
  Ref<LocalEndpoint> replica;  // the last that was asked
};

bool TcpClient::has_replica(bool in_turn) {
  const Frontend& frontend = *listener->frontend;
  if (!frontend.pool) return false;
  if (!frontend.pool->takes_requests()) {
    worker.demand(*frontend.pool);
    return false;
  }
  if (!frontend.listener.max_in_flight) return true;
  if (!must_wait()) tried.clear();
  return take_replica(in_turn);
}

// No replica can be taken, but another one may come or get free; else each was tried.
bool TcpClient::must_wait() const {
  const Frontend& frontend = *listener->frontend;
  if (!frontend.pool || !frontend.pool->takes_requests()) return true;
  if (!frontend.listener.max_in_flight) return false;
  return std::ranges::any_of(frontend.pool->endpoints, [this](const Ref<LocalEndpoint>& endpoint) {
    return std::ranges::find(tried, endpoint->id()) == tried.end();
  });
}

// `in_turn`: past those who wait for one with a limit.
bool TcpClient::take_replica(bool in_turn) {
  const Frontend& frontend = *listener->frontend;
  if (!frontend.pool || !frontend.pool->takes_requests()) return false;
  if (frontend.listener.max_in_flight && !in_turn) {
    const std::shared_ptr<Capacity> line = capacity();
    if (line && line->has_line()) return false;
  }
  std::optional<InFlight> taken = worker.take(*frontend.pool, frontend.listener, preference, tried);
  if (!taken) return false;
  in_flight.emplace(std::move(*taken));
  if (replica) {
    counters().retries.add();
    replica->counters().retries.add();
  }
  replica = Ref<LocalEndpoint>(&in_flight->endpoint());
  return true;
}

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

constexpr Millis pause_when_all_failed{50};

// No byte was sent yet, so every failure may be followed by another replica. Null: none could be reached.
Task<std::unique_ptr<Upstream>> reach_replica(TcpClient& client, AccessEnd& end) {
  Worker& worker = client.worker;
  const Instant queue_deadline = worker.loop().now() + client.listener->frontend->listener.queue_timeout;
  for (int tries = 0; !worker.loop().shut();) {
    const Ref<Frontend> frontend = client.listener->frontend;
    if (client.in_flight || client.take_replica(false)) {
      LocalEndpoint& endpoint = client.in_flight->endpoint();
      ConnectFailure failure;
      const Instant since = worker.loop().now();
      std::unique_ptr<Upstream> upstream =
          co_await endpoint.connect(frontend->listener.timeout.connect, failure);
      if (client.entry) {
        ++client.entry->tries;
        client.entry->connecting += worker.loop().now() - since;
      }
      if (upstream) {
        endpoint.report_success();
        if (client.proxy_header)
          co_await introduce(*upstream, *client.proxy_header, frontend->listener.timeout.send);
        co_return upstream;
      }
      endpoint.connect_failed(failure, frontend->listener.eject);
      client.tried.push_back(endpoint.id());
      client.in_flight.reset();
      const bool over =
          failure.refused ? worker.loop().now() >= queue_deadline : ++tries > frontend->listener.retries;
      if (over) break;
    } else if (client.must_wait()) {
      const Instant since = worker.loop().now();
      const Queued queued = co_await worker.wait_for_replica(client, queue_deadline);
      if (client.entry) client.entry->queued += worker.loop().now() - since;
      if (queued == Queued::gone) {
        end = AccessEnd::client_closed;
        co_return nullptr;
      }
      if (queued == Queued::over) break;
    } else {
      client.tried.clear();
      co_await worker.loop().sleep(pause_when_all_failed);
    }
  }
  if (client.replica) end = AccessEnd::replica_failed;
  co_return nullptr;
}
TunnelRecord record_of(const TcpClient& client, const TunnelEnd& tunnelled) {
  TunnelRecord record;
  if (client.entry) {
    record.tries = client.entry->tries;
    record.queued = client.entry->queued;
    record.connecting = client.entry->connecting;
  }
  record.age = client.worker.loop().now() - client.begun;
  record.bytes_in = tunnelled.bytes_in;
  record.bytes_out = tunnelled.bytes_out;
  return record;
}

// Goes on where another balancer has given it up.
void take_up(TcpClient& client, const HandedClient& handed) {
  client.introduced = handed.introduced;
  if (handed.proxy_header) client.proxy_header = std::make_unique<const std::string>(*handed.proxy_header);
}
}  // namespace

Detached serve_tcp(Worker& worker, Ref<LocalListener> listener, Fd fd, Peer&& client_address,
                   const HandedClient* handed) {
  TcpClient client(worker, std::move(listener), std::move(fd), std::move(client_address));
  if (!client.socket.valid()) co_return;
  if (handed != nullptr) take_up(client, *handed);
  if (client.listener->frontend->is_proxied() && !client.introduced) {
    const bool begun = co_await begin_proxied(client, client.listener->frontend);
    if (client.carries_on) worker.hand_over(client, {});
    if (!begun) co_return;
    client.preference = preference_of(client.listener->frontend->listener, client.address);
  }
  if (client.listener->frontend->tls) {
    const TlsSession::Step step = co_await accept_tls(worker, client, client.listener->frontend);
    if (client.carries_on) worker.hand_over(client, {});
    if (step == TlsSession::Step::failed) co_await linger(client.socket, worker.scratch());
    if (step != TlsSession::Step::done) co_return;
  }
  if (worker.held()) co_await worker.hold();
  TunnelEnd tunnelled;
  tunnelled.end = AccessEnd::muster_refused;
  const std::unique_ptr<Upstream> upstream = co_await reach_replica(client, tunnelled.end);
  if (upstream) {
    EarlyBytes early;
    const TunnelCounters counters{.replica = client.in_flight->endpoint().counters(),
                                  .listener = client.counters()};
    tunnelled = co_await tunnel(worker, client.socket, upstream->socket(), early, counters,
                                client.listener->frontend->listener.timeout);
    if (tunnelled.given_up) {
      worker.hand_over(client, upstream->socket(), client.in_flight->endpoint(), early,
                       record_of(client, tunnelled));
      client.entry.reset();
    }
  } else if (worker.giving_up()) {  // no replica has seen it
    worker.hand_over(client, {});
    client.entry.reset();
  } else {
    client.socket.reset_on_close();
    if (tunnelled.end == AccessEnd::muster_refused) client.counters().refused.add();
  }
  if (client.entry) write_line(client, tunnelled);
}

}  // namespace muster::lb
