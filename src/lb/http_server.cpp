// A client's HTTP connection: one request after the other. While it is idle it holds no buffer.
#include <algorithm>

#include "lb/exchange.h"
#include "lb/proxy_accept.h"
#include "lb/tls_accept.h"

namespace muster::lb {

namespace {
constexpr int requests_in_a_row = 16;

// A head that never became a request.
struct BadHead {
  std::string_view bytes;
  Nanos total{0};  // since its first byte
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
Task<> refuse_head(HttpClient& client, BadHead head, std::string_view text) {
  const bool to_head =
      head.bytes.starts_with("HEAD ") || head.bytes.starts_with("\r\nHEAD ");  // whatever follows is bad
  Buffer answer;
  const Ref<Frontend> frontend = client.listener->frontend;
  head.body_bytes = write_own_answer(answer, {.status = head.status,
                                              .text = text,
                                              .head_only = to_head,
                                              .date = client.worker.http_date(),
                                              .edits = &frontend->listener.response_headers});
  frontend->counters->refused.add();
  frontend->counters->responses.add(head.status);
  frontend->counters->bytes_out.add(head.body_bytes);
  write_line(client, head);  // while its bytes are where they are
  const Busy busy(client.worker);
  client.linger = co_await flush(client.socket, answer, frontend->listener.timeout.send);
}

Instant now(const HttpClient& client) {
  return client.worker.loop().now();
}

// What came of a head that is to be complete at the client's deadline.
BadHead unfinished_head(const HttpClient& client) {
  const Instant begun = client.head_deadline - client.timeouts().head;
  return {.bytes = client.pending.view(), .total = now(client) - begun};
}

// Answers a head that parse_request() does not take.
Task<> refuse_malformed(HttpClient& client, std::string_view bytes) {
  const HeadVerdict verdict = parse_request(bytes, client.worker.request_head());
  BadHead bad{};
  if (!client.pending.empty()) bad = unfinished_head(client);
  bad.bytes = bytes;
  bad.status = verdict.status;
  co_await refuse_head(client, bad, verdict.reason);
}

// A head was begun and did not get its end.
Task<> end_unfinished(HttpClient& client, Waited waited) {
  BadHead late = unfinished_head(client);
  if (waited == Waited::timed_out) {
    late.status = 408;
    late.end = AccessEnd::client_timeout;
    co_await refuse_head(client, late, "the request head did not come in time");
  } else {
    late.end = AccessEnd::stopped;
    write_line(client, late);
  }
}

enum class Next : std::uint8_t { wait, serve, malformed, end };

// Takes what has arrived. Next::serve: the whole head stands at the beginning of `bytes`, parsed.
Next take_head(HttpClient& client, std::string_view& bytes) {
  bytes = client.pending.view();
  if (!std::exchange(client.pipelined, false)) {
    // It lies in the scratch when nothing was pending, else behind that.
    const std::ptrdiff_t got = receive(client.socket, client.worker.scratch());
    if (got == io_blocked) return Next::wait;
    if (got == 0 || got == io_failed) {
      if (client.pending.empty()) return Next::end;
      BadHead broken_off = unfinished_head(client);
      broken_off.status = status_client_closed;
      broken_off.end = AccessEnd::client_closed;
      write_line(client, broken_off);
      return Next::end;
    }
    bytes = {client.worker.scratch().data(), static_cast<std::size_t>(got)};
    if (!client.pending.empty()) {
      client.pending.append(bytes);
      bytes = client.pending.view();
    }
  }
  switch (parse_request(bytes, client.worker.request_head()).state) {
    case HeadState::complete:
      return Next::serve;
    case HeadState::bad:
      return Next::malformed;
    case HeadState::need_more:
      if (client.pending.empty()) {
        client.pending.append(bytes);
        // From its first byte, however slowly it comes.
        client.head_deadline = now(client) + client.timeouts().head;
      }
      break;
  }
  return Next::wait;
}

// The handshake of a listener with `tls`. False: the connection is over.
Task<bool> begin_tls(HttpClient& client) {
  const TlsSession::Step step = co_await accept_tls(client.worker, client, client.listener->frontend);
  if (step == TlsSession::Step::plain_http) {
    BadHead plain{};
    plain.status = 400;
    co_await refuse_head(client, plain, "this port speaks HTTPS, and the request came in plain HTTP");
  }
  if (step == TlsSession::Step::failed) client.linger = true;  // so that the alert arrives
  co_return step == TlsSession::Step::done;
}

// What comes before the first head. False: the connection is over.
Task<bool> take_preface(HttpClient& client) {
  const Ref<Frontend> frontend = client.listener->frontend;
  if (frontend->is_proxied() && !client.introduced) {
    const bool begun = co_await begin_proxied(client, frontend);
    if (!begun) co_return false;
  }
  if (!frontend->tls) co_return true;
  const bool encrypted = co_await begin_tls(client);
  co_return encrypted;
}

bool must_end(const HttpClient& client) {
  return client.worker.stopping() || client.listener->closing;
}

SocketWait next_bytes(HttpClient& client) {
  const auto left = std::chrono::duration_cast<Millis>(client.head_deadline - now(client));
  return client.socket.readable(std::max(Millis::zero(), left));
}

Task<> say_goodbye(HttpClient& client) {
  const Busy busy(client.worker);
  if (client.socket.tls() != nullptr) co_await end_output(client.socket, client.timeouts().send);
  if (client.linger) co_await linger(client.socket, client.worker.scratch());
}
// Goes on where another balancer has given it up.
void take_up(HttpClient& client, const HandedClient& handed) {
  client.introduced = handed.introduced;
  if (handed.proxy_header) client.proxy_header = std::make_unique<const std::string>(*handed.proxy_header);
  client.pending.append(handed.unread);
  client.pipelined = !client.pending.empty();
}
}  // namespace

// Its frame is what an idle connection costs, beside its socket: what is needed only now and then has a frame of its
// own.
Detached serve_http(Worker& worker, Ref<LocalListener> listener, Fd fd, Peer&& client_address,
                    const HandedClient* handed) {
  HttpClient client(worker, std::move(listener), std::move(fd), std::move(client_address));
  if (!client.socket.valid()) co_return;
  bool open = true;
  if (handed != nullptr) take_up(client, *handed);
  if (client.listener->frontend->has_preface()) open = co_await take_preface(client);
  client.head_deadline = worker.loop().now() + client.timeouts().head;
  bool wait = false;  // a new connection mostly brings its first request along: look before waiting
  while (open) {
    if (wait) {
      client.idle = client.pending.empty();
      client.carries_on = worker.giving_up();
      if (client.idle && must_end(client)) break;
      const Waited waited = co_await next_bytes(client);
      client.idle = false;
      if (waited != Waited::ready) {
        client.carries_on = worker.giving_up();
        if (!client.carries_on && !client.pending.empty()) co_await end_unfinished(client, waited);
        break;
      }
    }
    wait = true;
    if (worker.held()) co_await worker.hold();
    client.carries_on = worker.giving_up();
    if (client.carries_on) break;
    std::string_view bytes;
    const Next next = take_head(client, bytes);
    if (next == Next::wait) continue;
    if (next == Next::malformed) co_await refuse_malformed(client, bytes);
    if (next != Next::serve) break;
    open = co_await Exchange::serve(client, bytes);
    if (!open) break;
    client.pipelined = !client.pending.empty();
    wait = !client.pipelined;
    // A client that always has another request there must not keep the thread for itself.
    if (++client.in_a_row == requests_in_a_row) {
      client.in_a_row = 0;
      co_await worker.loop().turn();
    }
    client.head_deadline =
        worker.loop().now() + (client.pipelined ? client.timeouts().head : client.timeouts().idle);
  }
  if (client.carries_on) worker.hand_over(client, client.pending.view());
  if (!worker.loop().shut()) co_await say_goodbye(client);
}

}  // namespace muster::lb
