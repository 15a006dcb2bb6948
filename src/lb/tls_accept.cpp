#include "lb/tls_accept.h"

#include <algorithm>

namespace muster::lb {

Task<TlsSession::Step> accept_tls(Worker& worker, Client& client, Ref<Frontend> frontend) {
  Socket& socket = client.socket;
  const Instant deadline = worker.loop().now() + frontend->listener.timeout.head;
  client.idle = true;  // a client that says nothing costs no memory for TLS, and holds up no stop
  Waited waited = co_await socket.readable(frontend->listener.timeout.head);
  client.idle = false;
  if (worker.held()) co_await worker.hold();
  TlsSession::Step step = TlsSession::Step::wants_read;
  if (worker.giving_up()) {
    client.carries_on = true;
    co_return step;
  }
  const Busy busy(worker);
  if (waited == Waited::ready) socket.encrypt(TlsSession::begin(frontend->tls));
  while (waited == Waited::ready && socket.tls() != nullptr) {
    step = socket.tls()->shake_hands(socket);
    const Millis left = std::max(Millis::zero(), std::chrono::ceil<Millis>(deadline - worker.loop().now()));
    if (step == TlsSession::Step::wants_read) {
      waited = co_await socket.readable(left);
    } else if (step == TlsSession::Step::wants_write) {
      waited = co_await socket.writable(left);
    } else {
      break;
    }
  }
  if (step != TlsSession::Step::done && worker.giving_up()) ++worker.losses().tls_connections;
  if (step != TlsSession::Step::done) socket.encrypt(nullptr);
  co_return step;
}

}  // namespace muster::lb
