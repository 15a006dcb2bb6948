// A client's HTTP connection: one request after the other. While it is idle it holds no buffer.
#include <algorithm>

#include "lb/exchange.h"
#include "lb/tls_accept.h"

namespace muster::lb {

HttpClient::HttpClient(Worker& w, Ref<LocalListener> l, Fd fd, Peer client_address)
    : worker(w),
      listener(std::move(l)),
      address(std::move(client_address)),
      counted_at(listener->frontend->shared),
      socket(w.loop(), std::move(fd), listener->kind()) {
  counted_at->per_thread[worker.index()].connections.add();
  link.socket = &socket;
  link.listener = listener.get();
  worker.add_client(link);
}

HttpClient::~HttpClient() {
  socket.close();
  counted_at->per_thread[worker.index()].connections.subtract();
  worker.remove_client(link);
}

namespace {
constexpr int requests_in_a_row = 16;

enum class Got : std::uint8_t { bytes, nothing_yet, end };

// Bytes of `head` or none: what arrived lies in the scratch when nothing was pending, else behind it.
Got take_arrived(HttpClient& client, std::string_view& bytes) {
  const std::ptrdiff_t got = receive(client.socket, client.worker.scratch());
  if (got == io_blocked) return Got::nothing_yet;
  if (got == 0 || got == io_failed) return Got::end;
  bytes = {client.worker.scratch().data(), static_cast<std::size_t>(got)};
  if (!client.pending.empty()) {
    client.pending.append(bytes);
    bytes = client.pending.view();
  }
  return Got::bytes;
}

// A head that never became a request. `total`: since its first byte.
struct BadHead {
  std::string_view bytes;
  Nanos total{0};
  int status = 0;
  std::size_t body_bytes = 0;  // of our answer
  AccessEnd end = AccessEnd::muster_refused;
};

void write_line(const HttpClient& client, const BadHead& head) {
  const Frontend& frontend = *client.listener->frontend;
  if (!frontend.access_log) return;
  AccessRecord record;
  record.client = client.address.text;
  record.request = first_line(head.bytes);
  record.status = head.status;
  record.bytes_out = head.body_bytes;
  record.total = head.total;
  record.end = head.end;
  frontend.access_log->write(frontend.listener.access_log, record);
}

// Says what is wrong with the request in `head` and ends the connection.
Task<> refuse_head(HttpClient& client, BadHead& head, std::string_view text) {
  const std::string_view bytes = head.bytes;
  const bool to_head =
      bytes.starts_with("HEAD ") || bytes.starts_with("\r\nHEAD ");  // whatever follows is bad
  Buffer answer;
  const Ref<Frontend> frontend = client.listener->frontend;
  head.body_bytes = write_own_answer(answer, {.status = head.status,
                                              .text = text,
                                              .head_only = to_head,
                                              .edits = &frontend->listener.response_headers});
  frontend->counters->refused.add();
  frontend->counters->responses.add(head.status);
  frontend->counters->bytes_out.add(head.body_bytes);
  write_line(client, head);  // while its bytes are where they are
  client.linger = co_await flush(client.socket, answer, frontend->listener.timeout.send);
}

Millis time_until(Instant deadline, Worker& worker) {
  const auto left = std::chrono::duration_cast<Millis>(deadline - worker.loop().now());
  return std::max(Millis::zero(), left);
}

// What came of a head that is to be complete at `deadline`.
BadHead unfinished_head(const HttpClient& client, Instant deadline) {
  const Instant begun = deadline - client.timeouts().head;
  return {.bytes = client.pending.view(), .total = client.worker.loop().now() - begun};
}

// The handshake of a listener with `tls`. False: the connection is over.
Task<bool> begin_tls(HttpClient& client) {
  const TlsSession::Step step = co_await accept_tls(client.worker, client.link, client.listener->frontend);
  if (step == TlsSession::Step::plain_http) {
    BadHead plain{};
    plain.status = 400;
    co_await refuse_head(client, plain, "this port speaks HTTPS, and the request came in plain HTTP");
  }
  if (step == TlsSession::Step::failed) client.linger = true;  // so that the alert arrives
  co_return step == TlsSession::Step::done;
}

bool must_end(const HttpClient& client) {
  return client.worker.stopping() || client.listener->closing;
}
}  // namespace

Detached serve_http(Worker& worker, Ref<LocalListener> listener, Fd fd, Peer client_address) {
  HttpClient client(worker, std::move(listener), std::move(fd), std::move(client_address));
  if (!client.socket.valid()) co_return;
  bool open = true;
  if (client.listener->frontend->tls) open = co_await begin_tls(client);
  Instant deadline = worker.loop().now() + client.timeouts().head;  // of the next head
  bool pipelined = false;
  int in_a_row = 0;
  bool wait = false;  // a new connection mostly brings its first request along: look before waiting
  while (open) {
    if (wait) {
      client.link.idle = client.pending.empty();
      if (client.link.idle && must_end(client)) break;
      const Waited waited = co_await client.socket.readable(time_until(deadline, worker));
      const bool idle = std::exchange(client.link.idle, false);
      if (waited != Waited::ready && !idle) {
        BadHead late = unfinished_head(client, deadline);
        if (waited == Waited::timed_out) {
          late.status = 408;
          late.end = AccessEnd::client_timeout;
          co_await refuse_head(client, late, "the request head did not come in time");
        } else {
          late.end = AccessEnd::stopped;
          write_line(client, late);
        }
      }
      if (waited != Waited::ready) break;
    }
    wait = true;
    std::string_view bytes = client.pending.view();
    if (!std::exchange(pipelined, false)) {
      const Got got = take_arrived(client, bytes);
      if (got == Got::end && !client.pending.empty()) {
        BadHead broken_off = unfinished_head(client, deadline);
        broken_off.status = status_client_closed;
        broken_off.end = AccessEnd::client_closed;
        write_line(client, broken_off);
      }
      if (got == Got::end) break;
      if (got == Got::nothing_yet) continue;
    }
    const HeadVerdict verdict = parse_request(bytes, worker.request_head());
    if (verdict.state == HeadState::bad) {
      BadHead bad = client.pending.empty() ? BadHead{} : unfinished_head(client, deadline);
      bad.bytes = bytes;
      bad.status = verdict.status;
      co_await refuse_head(client, bad, verdict.reason);
      break;
    }
    if (verdict.state == HeadState::need_more) {
      if (!client.pending.empty()) continue;
      client.pending.append(bytes);
      deadline =
          worker.loop().now() + client.timeouts().head;  // from its first byte, however slowly it comes
      continue;
    }
    const bool goes_on = co_await Exchange::serve(client, bytes);
    if (!goes_on) break;
    pipelined = !client.pending.empty();
    wait = !pipelined;
    // A client that always has another request there must not keep the thread for itself.
    if (++in_a_row == requests_in_a_row) {
      in_a_row = 0;
      co_await worker.loop().turn();
    }
    deadline = worker.loop().now() + (pipelined ? client.timeouts().head : client.timeouts().idle);
  }
  if (worker.loop().shut()) co_return;
  if (client.socket.tls() != nullptr) co_await end_output(client.socket, client.timeouts().send);
  if (client.linger) co_await linger(client.socket, worker.scratch());
}

}  // namespace muster::lb
