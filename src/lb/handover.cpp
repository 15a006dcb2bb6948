// One traffic thread's part of a pause, of giving up and of taking over.
#include "lb/handover.h"

#include <algorithm>

#include "lb/exchange.h"

namespace muster::lb {

void Worker::answer_quiescence() {
  loop_->set_alarm({}, nullptr);
  if (const auto answer = std::exchange(quiescence_, nullptr)) answer->arrive(busy_);
}

void Worker::quiesce(Millis patience, std::shared_ptr<Tally> answer) {
  answer_quiescence();  // of a question that was asked before
  quiescence_ = std::move(answer);
  held_ = !stopping_;
  if (busy_ == 0 || stopping_) return answer_quiescence();
  loop_->set_alarm(loop_->now() + patience, [this] { answer_quiescence(); });
}

void Worker::go_on_holding() {
  for (const std::coroutine_handle<> waiter : std::exchange(holding_, {})) waiter.resume();
}

void Worker::resume() {
  answer_quiescence();
  if (!std::exchange(held_, false)) return;
  go_on_holding();
  wake_queue();
}

// Everything that waits goes on and finds that it is given up: what is a value by then leaves itself to the next.
void Worker::give_up() {
  if (stopping_) return;
  answer_quiescence();
  stopping_ = giving_up_ = true;
  held_ = false;
  for (const auto& [id, endpoint] : endpoints_) losses().upstreams += endpoint->close_parked();
  for (const auto& [key, listener] : std::exchange(listeners_, {})) {
    if (!listener->place_waiter) continue;
    if (const auto accepting = std::exchange(listener->place_waiter->accepting, nullptr)) accepting.resume();
  }
  loop_->abandon_waits();
  go_on_holding();
  wake_queue();
  finish_when_done();
}

void Worker::hand_over(Client& client, std::string_view unread) {
  if (client.listener->closing) return;
  if (client.socket.tls() != nullptr) {  // its close says close_notify
    ++losses().tls_connections;
    return;
  }
  const Frontend& frontend = *client.listener->frontend;
  HandedClient handed;
  handed.fd = client.socket.release();
  handed.bind = client.listener->bind;
  handed.mode = frontend.listener.mode;
  handed.address = client.address;
  handed.introduced = client.introduced;
  handed.unread = unread;
  if (client.proxy_header) handed.proxy_header = *client.proxy_header;
  handed_.clients.push_back(std::move(handed));
}

void Worker::hand_over(Client& client, Socket& replica, const LocalEndpoint& endpoint, const EarlyBytes& left,
                       TunnelRecord record) {
  if (client.socket.tls() != nullptr || client.listener->closing) {
    if (client.socket.tls() != nullptr) ++losses().tls_tunnels;
    // An orderly end only where nothing is missing.
    if (!left.from_replica.empty()) client.socket.reset_on_close();
    if (!left.from_client.empty()) replica.reset_on_close();
    return;
  }
  handed_.tunnels.push_back({.client = client.socket.release(),
                             .replica = replica.release(),
                             .bind = client.listener->bind,
                             .address = client.address,
                             .endpoint = endpoint.described(),
                             .to_replica = std::string(left.from_client.view()),
                             .to_client = std::string(left.from_replica.view()),
                             .client_ended = left.client_ended,
                             .replica_ended = left.replica_ended,
                             .record = std::move(record)});
}

Ref<LocalListener> Worker::listener_at(const std::string& bind) const {
  for (const auto& [key, listener] : listeners_) {
    if (listener->bind == bind) return listener;
  }
  return {};
}

void Worker::take_over(HandedShare& share) {
  for (auto& [tunnel, instance] : share.tunnels) {
    const Ref<LocalListener> listener = listener_at(tunnel.bind);
    if (!listener) continue;
    Ref<LocalEndpoint>& endpoint = endpoints_[tunnel.endpoint.instance];
    if (!endpoint) {  // it is being drained
      endpoint = make_ref<LocalEndpoint>(*this, instance);
      endpoint->set_in_rotation(false);
    }
    serve_tunnel(*this, listener, Ref<LocalEndpoint>(endpoint),
                 std::make_unique<HandedTunnel>(std::move(tunnel)));
  }
  for (HandedClient& client : share.clients) {
    const Ref<LocalListener> listener = listener_at(client.bind);
    if (!listener || listener->frontend->listener.mode != client.mode) continue;
    const bool was_plain = client.unread.empty() || listener->frontend->tls == nullptr;
    if (was_plain) begin_connection(*listener, std::move(client.fd), Peer(client.address), &client);
  }
}

}  // namespace muster::lb
