// The answer on its way to the client: framed anew for what the client speaks, sent as it comes, never held but for a
// client that is blocked. A truncated answer never looks complete.
#include "lb/exchange.h"

#include <cstring>

namespace muster::lb {

namespace {
constexpr int reads_in_a_row = 16;  // then other connections get their turn
// From here on a second part of one sendmsg(2) is cheaper than a copy behind the head and a plain send(2).
constexpr std::size_t direct_from_bytes = 4096;
}  // namespace

AnswerForm Exchange::form_of(const ResponseHead& head) const {
  AnswerForm form;
  if (head.status == 101) {
    form.upgrade = true;
    return form;
  }
  form.upgrade = head.status == 426 && head.framing.upgrade;  // RFC 9110 15.5.22: it names what is required
  form.keep_length = head.framing.has_length && head.status != 204;
  if (!answers_head_) form.body = head.framing.body;
  const bool without_length = form.body == BodyKind::chunked || form.body == BodyKind::until_close;
  if (without_length) form.body = minor_1_ ? BodyKind::chunked : BodyKind::until_close;
  form.close =
      !keep_alive_ || form.body == BodyKind::until_close || upload_ != Upload::done || client_must_close();
  form.keep_alive_1_0 = !form.close && !minor_1_;
  return form;
}

// Passes on the head in response_head() and what came behind it. False: the client is gone.
bool Exchange::begin_answer(std::string_view bytes) {
  const ResponseHead& head = worker_.response_head();
  form_ = form_of(head);
  answer_.begin(answers_head_ ? BodyKind::none : head.framing.body, head.framing.length);
  upstream_keep_alive_ = head.framing.keep_alive && answer_.kind() != BodyKind::until_close;
  const spec::Listener& listener = frontend_->listener;
  LocalEndpoint& endpoint = in_flight_->endpoint();
  if (head.status >= 502 && head.status <= 504) {
    endpoint.count_failure(listener.eject);
  } else {
    endpoint.report_success();
  }
  answer_begun_ = replica_answered_ = true;
  status_ = head.status;
  worker_.serialised().clear();
  std::string cookie;
  if (!listener.sticky_cookie.empty() && preference_.stuck != endpoint.seed())
    cookie = sticky_cookie_line(listener.sticky_cookie, endpoint.seed());
  form_.further = cookie;
  form_.date = worker_.http_date();
  write_response_head(worker_.serialised(), head, form_, &listener.response_headers);
  form_.further = form_.date = {};
  const bool there = pass_on(bytes);
  // The time of the loop is that of the whole round; read here it has this one's turn and what was done for it.
  first_byte_ = std::chrono::steady_clock::now();
  return there;
}

// Sends what serialised() holds and the body in `bytes`, re-framed. False: the client is gone.
bool Exchange::pass_on(std::string_view bytes) {
  Buffer& out = worker_.serialised();
  // The usual case: the whole body, or the rest of it, as it came.
  const bool is_whole = answer_.kind() == BodyKind::sized && answer_.left() == bytes.size() &&
                        form_.body == BodyKind::sized && !form_.close;
  if (is_whole && !bytes.empty()) {
    answer_.next(bytes);
    upstream_clean_ = true;
    answer_bytes_ += bytes.size();
    frontend_->counters->bytes_out.add(bytes.size());
    const std::string_view head = out.view();
    char* const place = worker_.before_in_scratch(bytes.data(), head.size());
    if (place != nullptr && !head.empty()) std::memcpy(place, head.data(), head.size());
    const std::string_view both(place, head.size() + bytes.size());
    const bool there = place != nullptr ? send_or_keep(client_.socket, both, {}, blocked_)
                                        : send_or_keep(client_.socket, head, bytes, blocked_);
    out.clear();
    return there;
  }
  const bool reframed = form_.body == BodyKind::chunked || answer_.kind() == BodyKind::chunked;
  std::string_view direct;  // a body that goes as it is, without a copy
  std::uint64_t body_bytes = 0;
  while (!bytes.empty() && !answer_.done() && !answer_malformed_) {
    const BodyPiece piece = answer_.next(bytes);
    bytes.remove_prefix(piece.consumed);
    answer_malformed_ = piece.state == BodyState::bad;
    body_bytes += piece.payload.size();
    if (!reframed && piece.payload.size() >= direct_from_bytes) {
      direct = piece.payload;
    } else if (form_.body == BodyKind::chunked && !piece.payload.empty()) {
      write_chunk_size(out, piece.payload.size());
      out.append(piece.payload);
      out.append("\r\n");
    } else {
      out.append(piece.payload);
    }
    if (piece.state == BodyState::done) end_answer();
  }
  upstream_clean_ = bytes.empty();
  answer_bytes_ += body_bytes;
  frontend_->counters->bytes_out.add(body_bytes);
  const bool is_last = form_.close && upload_ == Upload::done && answer_.done();
  const bool there =
      send_or_keep(client_.socket, out.view(), direct, blocked_, is_last ? Then::end : Then::more);
  out.clear();
  return there;
}

void Exchange::end_answer() {
  if (form_.body != BodyKind::chunked) return;
  Buffer& out = worker_.serialised();
  out.append("0\r\n");
  out.append(answer_.trailers());
  out.append("\r\n");
}

// The rest of an answer whose head was passed on. False: it broke off, on either side.
Task<bool> Exchange::relay_answer() {
  const spec::ListenTimeouts timeout = timeouts();
  end_ = AccessEnd::replica_failed;  // unless something else is found out
  for (int reads = 0;;) {
    const Instant since = worker_.loop().now();
    const bool sent = blocked_.empty() || co_await flush(client_.socket, blocked_, timeout.send);
    if (!sent) {
      client_gone(since, timeout.send);
      co_return false;
    }
    if (answer_malformed_) break;
    if (answer_.done()) {
      end_ = AccessEnd::complete;
      co_return true;
    }
    if (worker_.giving_up()) break;
    if (!upstream_->socket().may_be_readable()) {
      const Waited waited = co_await upstream_->socket().readable(timeout.tunnel);
      if (waited == Waited::timed_out) end_ = AccessEnd::timeout;
      if (waited != Waited::ready) break;
      reads = 0;
    } else if (++reads > reads_in_a_row) {
      reads = 0;
      co_await worker_.loop().turn();
    }
    const std::ptrdiff_t got = receive(upstream_->socket(), worker_.scratch());
    if (got == io_blocked) continue;
    if (got == 0 && answer_.complete_at_close()) {
      end_answer();
      answer_ = {};
      upstream_keep_alive_ = false;
      if (!pass_on({})) {
        end_ = AccessEnd::client_closed;
        co_return false;
      }
      continue;
    }
    if (got == 0 || got == io_failed) break;
    in_flight_->endpoint().counters().bytes_from.add(static_cast<std::uint64_t>(got));
    if (!pass_on({worker_.scratch().data(), static_cast<std::size_t>(got)})) {
      end_ = AccessEnd::client_closed;
      co_return false;
    }
  }
  if (upload_ <= Upload::done) {
    replica_failed("its answer broke off");
  } else {  // it is the client's doing
    end_ = refusal_of(Heard::upload_ended).end;
  }
  // A body that ends with the connection would look whole after an orderly close.
  if (form_.body == BodyKind::until_close) client_.socket.reset_on_close();
  co_return false;
}

// After a 101 that answers the Upgrade that was forwarded.
Task<bool> Exchange::run_tunnel() {
  EarlyBytes early;
  early.from_client = std::move(client_.pending);
  early.from_replica = std::move(blocked_);
  early.from_replica.append(upstream_->pending().view());
  const TunnelCounters counters{.replica = in_flight_->endpoint().counters(),
                                .listener = *frontend_->counters};
  busy_.end();
  const TunnelEnd tunnelled =
      co_await tunnel(worker_, client_.socket, upstream_->socket(), early, counters, timeouts());
  body_bytes_ += tunnelled.bytes_in;
  answer_bytes_ += tunnelled.bytes_out;
  end_ = tunnelled.end;
  if (tunnelled.given_up) {
    worker_.hand_over(client_, upstream_->socket(), in_flight_->endpoint(), early, record_of_tunnel());
    carried_ = true;
  }
  co_return false;
}

TunnelRecord Exchange::record_of_tunnel() const {
  TunnelRecord record;
  record.is_stream = false;
  if (entry_) {
    record.texts = entry_->texts();
    record.tries = entry_->tries;
    record.queued = entry_->queued;
    record.connecting = entry_->connecting;
  }
  record.status = status_;
  record.first_byte = first_byte_ - begun_;
  record.age = worker_.loop().now() - begun_;
  record.bytes_in = body_bytes_;
  record.bytes_out = answer_bytes_;
  return record;
}

}  // namespace muster::lb
