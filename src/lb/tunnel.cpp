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
    if (!sent) burst = Moved::to_failed;
    if (way.tunnel.broken) break;
    if (++fills == reads_in_a_row) {
      fills = 0;
      co_await worker.loop().turn();
      if (way.tunnel.broken) break;
    }
  }
  if (pipe) worker.give_pipe(std::move(pipe));
  if (way.moved - before < bulk_bytes_min) way.full_reads = 0;
  co_return burst;
}

// The side that is read sends no more.
Task<> pass_end_on(OneWay& way) {
  co_await end_output(way.to, way.tunnel.timeout.send);
  if (!way.tunnel.broken) way.from.watch_reset(&OneWay::on_reset, &way);  // nobody reads it any more
}

Task<> relay(OneWay& way) {
  Tunnel& tunnel = way.tunnel;
  const bool begun = way.waiting.empty() || co_await write_waiting(way);
  if (!begun) co_return tunnel.break_off(tunnel.failure_of(way.to));
  for (int reads = 0; !tunnel.broken;) {
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
    if (moved != Moved::some)
      co_return tunnel.break_off(tunnel.failure_of(moved == Moved::from_failed ? way.from : way.to));
  }
  if (!tunnel.broken) tunnel.break_off(AccessEnd::timeout);
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
  up.takes_pipes = down.takes_pipes = client.tls() == nullptr && replica.tls() == nullptr;
  Branch back;
  back.start(relay(down));
  co_await relay(up);
  co_await back.join();
  client.unwatch();
  replica.unwatch();
  co_return TunnelEnd{.bytes_in = up.moved, .bytes_out = down.moved, .end = both.end};
}

}  // namespace muster::lb
