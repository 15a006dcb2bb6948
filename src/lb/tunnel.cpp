// Bytes both ways between two sockets, each direction with its own end: a half-close on one side is passed on and the
// other direction goes on.
#include <cerrno>

#include "lb/exchange.h"

namespace muster::lb {

namespace {
constexpr int reads_in_a_row = 16;
constexpr int full_reads_of_bulk = 4;                 // in a row: from then on bytes go through a pipe
constexpr std::uint64_t bulk_bytes_min = 32U << 10U;  // a burst with less ends that

struct Tunnel {
  Worker& worker;
  Socket& client;
  Socket& replica;
  spec::ListenTimeouts timeout;
  Instant last_moved;
  bool broken = false;
  AccessEnd end = AccessEnd::complete;

  [[nodiscard]] AccessEnd failure_of(const Socket& side) const {
    return &side == &client ? AccessEnd::client_closed : AccessEnd::replica_failed;
  }
  // An error on one side ends both directions, and the peers are told by a reset. Called by one of the two.
  void break_off(AccessEnd why) {
    broken = true;
    end = why;
    client.reset_on_close();
    replica.reset_on_close();
    client.abort_waits();
    replica.abort_waits();
  }
  // Nothing moved in either direction for the whole limit.
  [[nodiscard]] bool is_idle() const { return worker.loop().now() - last_moved >= timeout.tunnel; }
};

struct OneWay {
  Tunnel& tunnel;
  Socket& from;
  Socket& to;
  Buffer waiting;  // read, not yet written
  Counter& bytes;
  Counter& listener_bytes;
  std::uint64_t moved = 0;
  int full_reads = 0;
  bool takes_pipes = true;
  bool ended = false;  // nothing more comes

  [[nodiscard]] bool is_bulk() const { return takes_pipes && full_reads >= full_reads_of_bulk; }
  void count(std::uint64_t amount) {
    bytes.add(amount);
    listener_bytes.add(amount);
    moved += amount;
  }
  // The side that is read no more was reset. One direction is left and waits in one place at most; woken up it ends
  // the tunnel, and nothing of it may be looked at afterwards.
  static void on_reset(void* self) {
    const auto& way = *static_cast<OneWay*>(self);
    Tunnel& tunnel = way.tunnel;
    tunnel.broken = true;
    tunnel.end = tunnel.failure_of(way.from);
    tunnel.client.reset_on_close();
    tunnel.replica.reset_on_close();
    Socket& client = tunnel.client;
    Socket& replica = tunnel.replica;
    static_cast<void>(client.abort_wait(Direction::read) || client.abort_wait(Direction::write) ||
                      replica.abort_wait(Direction::read) || replica.abort_wait(Direction::write));
  }
};

Task<bool> write_waiting(OneWay& way) {
  way.count(way.waiting.size());
  const bool written = co_await flush(way.to, way.waiting, way.tunnel.timeout.send);
  way.tunnel.last_moved = way.tunnel.worker.loop().now();
  co_return written;
}

// Something to read, or the end. False: time is over, or the other direction broke off.
Task<bool> await_bytes(OneWay& way) {
  for (;;) {
    const Waited waited = co_await way.from.readable(way.tunnel.timeout.tunnel);
    if (way.tunnel.broken || waited == Waited::aborted) co_return false;
    if (waited == Waited::ready) co_return true;
    if (way.tunnel.is_idle()) co_return false;
  }
}

// What a pipe holds, to its end. False: the other side takes no more.
Task<bool> empty_pipe(OneWay& way, Pipe& pipe) {
  while (!pipe.empty()) {
    const std::ptrdiff_t sent = pipe.drain(way.to);
    if (sent == io_failed) co_return false;
    if (sent == io_blocked) {
      const Waited waited = co_await way.to.writable(way.tunnel.timeout.send);
      if (waited != Waited::ready) co_return false;
    } else {
      way.count(static_cast<std::uint64_t>(sent));
      way.tunnel.last_moved = way.tunnel.worker.loop().now();
    }
  }
  co_return true;
}

enum class Moved : std::uint8_t { some, end, from_failed, to_failed };

// One read and what the other side takes of it at once; the rest waits.
Moved copy_some(OneWay& way) {
  Worker& worker = way.tunnel.worker;
  const std::ptrdiff_t got = receive(way.from, worker.scratch());
  way.full_reads = got == static_cast<std::ptrdiff_t>(Worker::scratch_bytes) ? way.full_reads + 1 : 0;
  if (got == io_blocked) return Moved::some;
  if (got == 0) return Moved::end;
  if (got == io_failed) return Moved::from_failed;
  way.tunnel.last_moved = worker.loop().now();
  const std::string_view bytes(worker.scratch().data(), static_cast<std::size_t>(got));
  if (!send_or_keep(way.to, bytes, {}, way.waiting)) return Moved::to_failed;
  way.count(bytes.size() - way.waiting.size());
  return Moved::some;
}

// All that is there to read, without a copy. An idle connection holds no pipe.
Task<Moved> move_burst(OneWay& way) {
  Worker& worker = way.tunnel.worker;
  std::unique_ptr<Pipe> pipe = worker.take_pipe();
  if (!pipe) way.takes_pipes = false;
  const std::uint64_t before = way.moved;
  Moved burst = Moved::some;
  for (int fills = 0; pipe && burst == Moved::some;) {
    const std::ptrdiff_t got = pipe->fill(way.from);
    if (got == io_blocked) break;
    if (got == io_failed && errno == EINVAL) {  // not of these sockets, says the kernel: nothing was moved
      way.takes_pipes = false;
      break;
    }
    if (got == 0) burst = Moved::end;
    if (got == io_failed) burst = Moved::from_failed;
    if (got <= 0) break;
    const bool sent = co_await empty_pipe(way, *pipe);
    if (worker.giving_up()) {
      pipe->empty_into(way.waiting);
      break;
    }
    if (!sent) burst = Moved::to_failed;
    if (way.tunnel.broken) break;
    if (++fills == reads_in_a_row) {
      fills = 0;
      co_await worker.loop().turn();
      if (way.tunnel.broken || worker.giving_up()) break;
    }
  }
  if (pipe) worker.give_pipe(std::move(pipe));
  if (way.moved - before < bulk_bytes_min) way.full_reads = 0;
  co_return burst;
}

// The side that is read sends no more.
Task<> pass_end_on(OneWay& way) {
  way.ended = true;
  co_await end_output(way.to, way.tunnel.timeout.send);
  if (!way.tunnel.broken) way.from.watch_reset(&OneWay::on_reset, &way);  // nobody reads it any more
}

Task<> relay(OneWay& way) {
  Tunnel& tunnel = way.tunnel;
  const bool begun = way.waiting.empty() || co_await write_waiting(way);
  const Worker& worker = tunnel.worker;
  if (worker.giving_up()) co_return;
  if (!begun) co_return tunnel.break_off(tunnel.failure_of(way.to));
  if (way.ended) co_return co_await pass_end_on(way);
  for (int reads = 0; !tunnel.broken && !worker.giving_up();) {
    if (!way.from.may_be_readable()) {
      const bool there = co_await await_bytes(way);
      if (!there) break;
      reads = 0;
    } else if (++reads > reads_in_a_row) {
      reads = 0;
      co_await tunnel.worker.loop().turn();
      continue;
    }
    Moved moved = Moved::some;
    if (way.is_bulk()) {
      moved = co_await move_burst(way);
    } else {
      moved = copy_some(way);
    }
    if (!way.waiting.empty() && moved == Moved::some) {
      const bool written = co_await write_waiting(way);
      if (!written) moved = Moved::to_failed;
    }
    if (tunnel.broken) co_return;
    if (moved == Moved::end) co_return co_await pass_end_on(way);
    if (worker.giving_up()) break;
    if (moved != Moved::some)
      co_return tunnel.break_off(tunnel.failure_of(moved == Moved::from_failed ? way.from : way.to));
  }
  if (!tunnel.broken && !worker.giving_up()) tunnel.break_off(AccessEnd::timeout);
}
}  // namespace

Task<TunnelEnd> tunnel(Worker& worker, Socket& client, Socket& replica, EarlyBytes& early,
                       TunnelCounters counters, spec::ListenTimeouts timeouts) {
  Tunnel both{.worker = worker,
              .client = client,
              .replica = replica,
              .timeout = timeouts,
              .last_moved = worker.loop().now()};
  // Named, and passed by reference: g++ 12 copies an aggregate that is made inside a co_await expression bit by bit.
  OneWay up{.tunnel = both,
            .from = client,
            .to = replica,
            .waiting = std::move(early.from_client),
            .bytes = counters.replica.bytes_to,
            .listener_bytes = counters.listener.bytes_in};
  OneWay down{.tunnel = both,
              .from = replica,
              .to = client,
              .waiting = std::move(early.from_replica),
              .bytes = counters.replica.bytes_from,
              .listener_bytes = counters.listener.bytes_out};
  up.ended = early.client_ended;
  down.ended = early.replica_ended;
  up.takes_pipes = down.takes_pipes = client.tls() == nullptr && replica.tls() == nullptr;
  Branch back;
  back.start(relay(down));
  co_await relay(up);
  co_await back.join();
  client.unwatch();
  replica.unwatch();
  TunnelEnd end{.bytes_in = up.moved, .bytes_out = down.moved, .end = both.end};
  end.given_up = worker.giving_up() && !both.broken && !(up.ended && down.ended);
  early.from_client = std::move(up.waiting);
  early.from_replica = std::move(down.waiting);
  early.client_ended = up.ended;
  early.replica_ended = down.ended;
  co_return end;
}

namespace {
// One that another balancer has given up.
struct TakenTunnel : Client {
  TakenTunnel(Worker& w, Ref<LocalListener> l, HandedTunnel& handed)
      : Client(w, std::move(l), std::move(handed.client), std::move(handed.address)),
        begun(w.loop().now() - handed.record.age),
        record(std::move(handed.record)) {
    const Ref<Frontend>& frontend = listener->frontend;
    if (!frontend->access_log) return;
    entry = frontend->access_log->begin(frontend->listener.access_log);
    entry->remember(record.texts[0], record.texts[1], record.texts[2], record.texts[3], record.texts[4]);
    entry->tries = record.tries;
    entry->queued = record.queued;
    entry->connecting = record.connecting;
  }
  Instant begun;
  TunnelRecord record;
  AccessEntryRef entry;  // null: no line is written
};

void write_line(const TakenTunnel& client, const LocalEndpoint& replica, AccessEnd end) {
  AccessRecord record;
  record.client = client.address.text;
  record.is_stream = client.record.is_stream;
  record.status = client.record.status;
  record.bytes_in = client.record.bytes_in;
  record.bytes_out = client.record.bytes_out;
  record.replica = replica.label();
  record.first_byte = client.record.first_byte;
  record.total = std::chrono::steady_clock::now() - client.begun;
  const bool stopped = end != AccessEnd::complete && client.worker.loop().shut();
  record.end = stopped ? AccessEnd::stopped : end;
  client.entry->fill(record);
  client.entry->log->write(client.entry->format, record);
}
}  // namespace

Detached serve_tunnel(Worker& worker, Ref<LocalListener> listener, Ref<LocalEndpoint> endpoint,
                      std::unique_ptr<HandedTunnel> handed) {
  TakenTunnel client(worker, std::move(listener), *handed);
  const bool is_local = endpoint->described().port == 0;
  Socket replica(worker.loop(), std::move(handed->replica),
                 is_local ? Socket::Kind::connected_local : Socket::Kind::connected);
  EarlyBytes early;
  early.from_client.append(handed->to_replica);
  early.from_replica.append(handed->to_client);
  early.client_ended = handed->client_ended;
  early.replica_ended = handed->replica_ended;
  handed.reset();
  if (!client.socket.valid() || !replica.valid()) co_return;
  const InFlight in_flight(std::move(endpoint));
  const TunnelCounters counters{.replica = in_flight.endpoint().counters(), .listener = client.counters()};
  const TunnelEnd tunnelled = co_await tunnel(worker, client.socket, replica, early, counters,
                                              client.listener->frontend->listener.timeout);
  client.record.bytes_in += tunnelled.bytes_in;
  client.record.bytes_out += tunnelled.bytes_out;
  if (tunnelled.given_up) {
    client.record.age = worker.loop().now() - client.begun;
    worker.hand_over(client, replica, in_flight.endpoint(), early, std::move(client.record));
  } else if (client.entry) {
    write_line(client, in_flight.endpoint(), tunnelled.end);
  }
}

}  // namespace muster::lb
