// A client's HTTP connection: one request after the other. While it is idle it holds no buffer.
#include <algorithm>

#include "lb/exchange.h"

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

// Says what is wrong with the request in `bytes` and ends the connection.
Task<> refuse_head(HttpClient& client, std::string_view bytes, int status, std::string_view text) {
  const bool to_head =
      bytes.starts_with("HEAD ") || bytes.starts_with("\r\nHEAD ");  // whatever follows is bad
  Buffer answer;
  write_own_answer(answer, {.status = status,
                            .text = text,
                            .head_only = to_head,
                            .edits = &client.listener->frontend->listener.response_headers});
  client.linger = co_await flush(client.socket, answer, client.listener->frontend->listener.timeout.send);
}

Millis time_until(Instant deadline, Worker& worker) {
  const auto left = std::chrono::duration_cast<Millis>(deadline - worker.loop().now());
  return std::max(Millis::zero(), left);
}

bool must_end(const HttpClient& client) {
  return client.worker.stopping() || client.listener->closing;
}
}  // namespace

Detached serve_http(Worker& worker, Ref<LocalListener> listener, Fd fd, Peer client_address) {
  HttpClient client(worker, std::move(listener), std::move(fd), std::move(client_address));
  if (!client.socket.valid()) co_return;
  Instant deadline = worker.loop().now() + client.timeouts().head;  // of the next head
  bool pipelined = false;
  int in_a_row = 0;
  bool wait = false;  // a new connection mostly brings its first request along: look before waiting
  for (;;) {
    if (wait) {
      client.link.idle = client.pending.empty();
      if (client.link.idle && must_end(client)) break;
      const Waited waited = co_await client.socket.readable(time_until(deadline, worker));
      const bool idle = std::exchange(client.link.idle, false);
      if (waited == Waited::timed_out && !idle)
        co_await refuse_head(client, client.pending.view(), 408, "the request head did not come in time");
      if (waited != Waited::ready) break;
    }
    wait = true;
    std::string_view bytes = client.pending.view();
    if (!std::exchange(pipelined, false)) {
      const Got got = take_arrived(client, bytes);
      if (got == Got::end) break;
      if (got == Got::nothing_yet) continue;
    }
    const HeadVerdict verdict = parse_request(bytes, worker.request_head());
    if (verdict.state == HeadState::bad) {
      co_await refuse_head(client, bytes, verdict.status, verdict.reason);
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
  if (client.linger && !worker.loop().shut()) co_await linger(client.socket, worker.scratch());
}

}  // namespace muster::lb
