#include "lb/exchange.h"

#include <sys/socket.h>

#include <algorithm>

#include "lb/retry.h"

namespace muster::lb {

namespace {
constexpr Millis pause_when_all_failed{50};  // a snapshot without the dead replica is on its way
constexpr int interim_answers_max = 100;     // 1xx of one request
}  // namespace

Exchange::Exchange(HttpClient& client)
    : client_(client),
      worker_(client.worker),
      busy_(worker_),
      frontend_(client.listener->frontend),
      staged_(worker_.take_buffer()),
      input_(std::move(client.pending)),
      begun_(worker_.loop().now()) {}

Exchange::~Exchange() {
  account();
  upstream_.reset();  // before its endpoint may go
  worker_.give_buffer(std::move(staged_));
}

// Sets choice_: where frontend_ leads such a request. An idle app that its turn passes by is to come up for the next one.
inline void Exchange::choose(std::string_view authority, std::string_view target) {
  if (!frontend_->has_routes()) {
    choice_.pool = frontend_->pool;
    return;
  }
  LocalPool* passed_by = nullptr;
  choice_ = frontend_->choose_route(authority, target, passed_by);
  if (passed_by != nullptr) worker_.demand(*passed_by);
}

void Exchange::begin(std::string_view input) {
  RequestHead& head = worker_.request_head();
  frontend_->counters->requests.add();
  idempotent_ = is_idempotent(head.method);
  answers_head_ = head.method == "HEAD";
  minor_1_ = head.minor == 1;
  keep_alive_ = head.framing.keep_alive;
  wants_upgrade_ = head.framing.upgrade;
  body_.begin(head.framing.body, head.framing.length);
  const auto& body_max = frontend_->listener.body_max;
  if (body_max && head.framing.has_length && head.framing.length > *body_max) {
    refusal_ = Refusal{.status = 413, .text = "the request body is larger than this listener takes"};
    if (frontend_->access_log) remember(input, {});
    return;
  }
  staged_.append_with(head.authority.size() + head.target.size(),
                      [&head](Pen pen) { return pen.put_short(head.authority).put_short(head.target); });
  authority_bytes_ = head.authority.size();
  head_begin_ = staged_.size();
  choose(head.authority, head.target);
  const spec::Listener& listener = frontend_->listener;
  const bool trusted = frontend_->trusts(client_.address);
  if (listener.balance.kind == spec::Balance::Kind::hash || !listener.sticky_cookie.empty())
    preference_ = preference_of(listener, head, client_.address, trusted);
  const std::string_view request_id = worker_.new_request_id();
  if (frontend_->access_log) remember(input, request_id);
  write_request_head(staged_, head,
                     {.address = client_.address.text,
                      .is_encrypted = client_.socket.tls() != nullptr,
                      .is_trusted_proxy = trusted,
                      .request_id = request_id,
                      .edits = &listener.headers});
  head_end_ = staged_.size();
  if (!choice_.pool) refusal_ = answer_of_route();
  // The last hop that such a request names answers it: RFC 9110 7.6.2.
  if (head.hops_left == 0U && head.method == "OPTIONS")
    refusal_ = Refusal{.status = 200, .verbatim = true, .allow = true, .end = AccessEnd::complete};
  if (head.hops_left == 0U && head.method == "TRACE")
    refusal_ = Refusal{.status = 405, .text = "TRACE is not answered here"};
  take_body(input.substr(head.bytes));
}

// What is said without a replica.
Exchange::Refusal Exchange::answer_of_route() {
  if (choice_.route == nullptr) return {.status = 404, .text = "no route leads from here"};
  if (const auto& respond = choice_.route->respond)
    return {.status = respond->status,
            .text = respond->body,
            .type = respond->type,
            .verbatim = true,
            .end = AccessEnd::complete};
  location_ = choice_.route->redirect->expand([this](const spec::TemplateVariable& variable) {
    return std::string(variable.name == "host" ? host_of(authority()) : target());
  });
  return {.status = 308, .text = "moved", .location = location_, .end = AccessEnd::complete};
}

// Whether the app that answers has replicas, or none does.
bool Exchange::is_routed() {
  const bool is_current = frontend_.get() == client_.listener->frontend.get();
  if (!is_current || !choice_.pool || !choice_.pool->takes_requests()) {
    frontend_ = client_.listener->frontend;
    choice_ = {};
    choose(authority(), target());
  }
  return !choice_.pool || choice_.pool->takes_requests();
}

bool Exchange::has_replica(bool in_turn) {
  if (!is_routed()) {
    worker_.demand(*choice_.pool);
    return false;
  }
  if (!choice_.pool || !frontend_->listener.max_in_flight) return true;
  // Whoever was not tried may be gone by now.
  if (!must_wait()) tried_.clear();
  return pick_replica(in_turn);
}

std::shared_ptr<Capacity> Exchange::capacity() const {
  return choice_.pool ? frontend_->capacity_of(*choice_.pool) : nullptr;
}

// No replica can be taken, but another one may come or get free; else each was tried.
bool Exchange::must_wait() const {
  if (!choice_.pool->takes_requests()) return true;
  if (!frontend_->listener.max_in_flight) return false;
  return std::ranges::any_of(choice_.pool->endpoints, [this](const Ref<LocalEndpoint>& endpoint) {
    return std::ranges::find(tried_, endpoint->id()) == tried_.end();
  });
}

// `in_turn`: past those who wait for one with a limit.
bool Exchange::pick_replica(bool in_turn) {
  if (!is_routed() || !choice_.pool) return false;
  if (frontend_->listener.max_in_flight && !in_turn) {
    const std::shared_ptr<Capacity> line = capacity();
    if (line && line->has_line()) return false;
  }
  return take_replica();
}

bool Exchange::take_replica() {
  const spec::Listener& listener = frontend_->listener;
  if (listener.max_in_flight) {
    auto taken = worker_.take(*choice_.pool, listener, preference_, tried_);
    if (!taken) return false;
    in_flight_.emplace(std::move(*taken));
  } else {
    Ref<LocalEndpoint> endpoint = worker_.pick(*choice_.pool, listener, preference_, tried_);
    if (!endpoint) return false;
    in_flight_.emplace(std::move(endpoint));
  }
  count_replica();
  return true;
}

// The one of in_flight_.
inline void Exchange::count_replica() {
  if (replica_) {
    frontend_->counters->retries.add();
    replica_->counters().retries.add();
  }
  if (entry_) ++entry_->tries;
  replica_ = Ref<LocalEndpoint>(&in_flight_->endpoint());
}

void Exchange::replica_failed(std::string_view what) {
  in_flight_->endpoint().report_failure(what, frontend_->listener.eject);
}

// The replica may have closed it at the very moment; a request that must not be sent twice looks before it writes.
bool Exchange::parked_is_dead() {
  char byte = 0;
  return ::recv(upstream_->socket().fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 ||
         (errno != EAGAIN && errno != EWOULDBLOCK);
}

// How long this request may wait for a replica, from its first wait on.
Instant Exchange::queue_deadline() {
  if (queue_deadline_ == Instant{})
    queue_deadline_ = worker_.loop().now() + frontend_->listener.queue_timeout;
  return queue_deadline_;
}

Task<std::optional<Exchange::Refusal>> Exchange::wait_in_queue() {
  const Instant since = worker_.loop().now();
  busy_.end();
  const Queued queued = co_await worker_.wait_for_replica(*this, queue_deadline());
  busy_.begin();
  if (entry_) entry_->queued += worker_.loop().now() - since;
  if (queued == Queued::found) co_return std::nullopt;
  if (queued == Queued::gone) {
    co_return Refusal{.status = status_client_closed, .end = AccessEnd::client_closed};
  }
  const bool are_busy = choice_.pool && choice_.pool->takes_requests();
  co_return Refusal{.status = 503,
                    .text = are_busy ? "all replicas are busy" : "no replica is ready",
                    .retry_after_seconds = 1};
}

// A parked connection to the replica of in_flight_.
bool Exchange::take_parked() {
  LocalEndpoint& endpoint = in_flight_->endpoint();
  const Millis idle_max = reuse_limit(timeouts().keepalive, idempotent_);
  do {
    upstream_ = endpoint.take_parked(worker_.loop().now(), idle_max, client_.upstream_owner());
  } while (upstream_ && !idempotent_ && parked_is_dead());
  return upstream_ != nullptr;
}

// The usual case, without a wait. False: reach_replica() goes on from where this has come.
bool Exchange::reach_at_once() {
  if (!choice_.pool || !choice_.pool->takes_requests()) return false;
  if (frontend_->listener.max_in_flight) {
    if (!pick_replica(false)) return false;
  } else if (LocalEndpoint* const next =
                 worker_.next_in_turn(*choice_.pool, frontend_->listener, preference_)) {
    in_flight_.emplace(Ref<LocalEndpoint>(next));
    count_replica();
  } else if (!take_replica()) {
    return false;
  }
  return take_parked();
}

Task<std::optional<Exchange::Refusal>> Exchange::reach_replica() {
  constexpr Refusal all_failed{
      .status = 502, .text = "no replica could be reached", .end = AccessEnd::replica_failed};
  while (!worker_.giving_up()) {
    if (!in_flight_ && !pick_replica(false)) {
      if (!choice_.pool) co_return answer_of_route();
      if (must_wait()) {
        const std::optional<Refusal> refusal = co_await wait_in_queue();
        if (refusal) co_return refusal;
      } else {  // each was tried: once more from the beginning
        tried_.clear();
        co_await worker_.loop().sleep(pause_when_all_failed);
      }
      continue;
    }
    LocalEndpoint& endpoint = in_flight_->endpoint();
    if (!only_new_connection_ && take_parked()) co_return std::nullopt;
    ConnectFailure failure;
    const Instant since = worker_.loop().now();
    upstream_ = co_await endpoint.connect(timeouts().connect, failure);
    if (entry_) entry_->connecting += worker_.loop().now() - since;
    only_new_connection_ = false;
    if (upstream_ && client_.proxy_header) {
      upstream_->belong_to(client_.upstream_owner());
      co_await introduce(*upstream_, *client_.proxy_header, timeouts().send);
    }
    if (upstream_) co_return std::nullopt;
    in_flight_->endpoint().connect_failed(failure, frontend_->listener.eject);
    tried_.push_back(endpoint.id());
    in_flight_.reset();
    // A refusal costs no time and no risk: while all refuse, it is as if none was ready.
    const bool over =
        failure.refused ? worker_.loop().now() >= queue_deadline() : ++tries_ > frontend_->listener.retries;
    if (over || worker_.loop().shut()) break;
  }
  co_return all_failed;
}

bool Exchange::may_try_again() const {
  return lb::may_try_again({.idempotent = idempotent_,
                            .wrote_anything = wrote_anything_,
                            .replayable = replayable_,
                            .answer_begun = answer_begun_,
                            .interim_sent = interim_sent_});
}

Millis Exchange::answer_limit() const {
  return timeouts().response;
}

// Why a wait brought nothing to read; none: it goes on.
std::optional<Exchange::Heard> Exchange::unheard(Waited waited) const {
  if (waited == Waited::aborted) return upload_ == Upload::going_on ? Heard::nothing : Heard::upload_ended;
  const bool still_sending =
      upload_ == Upload::going_on || worker_.loop().now() - upload_progress_ < answer_limit();
  return still_sending ? std::nullopt : std::optional(Heard::too_late);
}

// The next head in `bytes`. None, and complete: a 1xx, to be passed on.
std::optional<Exchange::Heard> Exchange::take_head(std::string_view bytes, HeadState& state) {
  ResponseHead& head = worker_.response_head();
  const HeadVerdict verdict = parse_response(bytes, head);
  state = verdict.state;
  if (state == HeadState::need_more) return std::nullopt;
  if (state == HeadState::bad) {
    replica_failed(verdict.reason);
    return Heard::malformed;
  }
  Buffer& pending = upstream_->pending();
  if (head.status == 101) {
    if (!wants_upgrade_ || !head.framing.upgrade) return Heard::malformed;
    Buffer rest;
    rest.append(bytes.substr(head.bytes));
    if (!begin_answer({})) return Heard::upload_ended;
    pending = std::move(rest);
    return Heard::tunnel;
  }
  if (head.status < 200)
    return ++interim_answers_ > interim_answers_max ? std::optional(Heard::malformed) : std::nullopt;
  if (!begin_answer(bytes.substr(head.bytes))) return Heard::upload_ended;
  pending.clear();
  return Heard::answer;
}

// What came of one wait. None: a final answer's head was not there yet; then `unread` is what was read and not passed
// on, at its beginning with HeadState::complete a 1xx.
std::optional<Exchange::Heard> Exchange::hear_once(Waited waited, Unread& unread) {
  unread = {};
  if (waited != Waited::ready) return unheard(waited);
  const std::ptrdiff_t got = receive(upstream_->socket(), worker_.scratch());
  if (got == io_blocked) return std::nullopt;
  if (got == 0 || got == io_failed) return Heard::nothing;  // half a head is no answer: nobody has seen it
  in_flight_->endpoint().counters().bytes_from.add(static_cast<std::uint64_t>(got));
  unread.bytes = {worker_.scratch().data(), static_cast<std::size_t>(got)};
  Buffer& pending = upstream_->pending();
  if (!pending.empty()) {
    pending.append(unread.bytes);
    unread.bytes = pending.view();
  }
  return take_head(unread.bytes, unread.state);
}

// Goes on behind hear_once(), until a final answer's head is there and has been passed on, with what came behind it.
Task<Exchange::Heard> Exchange::hear(Unread unread) {
  Buffer& pending = upstream_->pending();
  for (;;) {
    while (unread.state == HeadState::complete) {
      const bool forwarded = co_await forward_interim(unread.bytes);
      if (!forwarded) co_return Heard::upload_ended;
      unread = {.bytes = pending.view()};
      if (unread.bytes.empty()) break;
      const std::optional<Heard> over = take_head(unread.bytes, unread.state);
      if (over) co_return *over;
    }
    if (pending.empty()) pending.append(unread.bytes);
    if (upload_ > Upload::done) co_return Heard::upload_ended;  // it failed while nothing was waited for here
    const Waited waited = co_await upstream_->socket().readable(answer_limit());
    const std::optional<Heard> over = hear_once(waited, unread);
    if (over) co_return *over;
  }
}

// 1xx answers go to HTTP/1.1 clients only. What follows is kept in the upstream's own buffer.
Task<bool> Exchange::forward_interim(std::string_view bytes) {
  const ResponseHead& head = worker_.response_head();
  Buffer rest;
  rest.append(bytes.substr(head.bytes));
  Buffer interim;
  if (minor_1_) write_response_head(interim, head, {});
  upstream_->pending() = std::move(rest);
  const bool sent = interim.empty() || co_await flush(client_.socket, interim, timeouts().send);
  if (!sent) {
    upload_ = Upload::client_failed;
    co_return false;
  }
  if (minor_1_) interim_sent_ = true;  // the client has heard of this try: no other one may follow
  co_return true;
}

Exchange::Refusal Exchange::refusal_of(Heard heard) const {
  switch (heard) {
    case Heard::too_late:
      return {.status = 504, .text = "the replica did not answer in time", .end = AccessEnd::timeout};
    case Heard::malformed:
      return {
          .status = 502, .text = "the replica's answer is not valid HTTP", .end = AccessEnd::replica_failed};
    case Heard::upload_ended:
      if (upload_ == Upload::too_large)
        return {.status = 413, .text = "the request body is larger than this listener takes"};
      if (upload_ == Upload::malformed) return {.status = 400, .text = "the request body is malformed"};
      if (upload_ == Upload::client_too_slow)
        return {
            .status = 408, .text = "the request body did not come in time", .end = AccessEnd::client_timeout};
      return {.end = AccessEnd::client_closed};
    case Heard::nothing:
    case Heard::answer:
    case Heard::tunnel:
      return {.status = 502,
              .text = "the replica closed the connection without an answer",
              .end = AccessEnd::replica_failed};
  }
  return {};
}

Task<bool> Exchange::refuse(Refusal refusal) {
  co_await stop_upload();
  upstream_.reset();
  in_flight_.reset();
  if (worker_.giving_up())
    refusal = {.status = 503, .text = "interrupted by an upgrade", .retry_after_seconds = 1};
  end_ = refusal.end;
  if (refusal.status == 0 || refusal.status == status_client_closed) co_return false;  // the client is gone
  if (answer_begun_) {  // nothing honest can be said any more
    client_.socket.reset_on_close();
    co_return false;
  }
  const bool whole = body_.done();
  const bool close = !whole || !keep_alive_ || !minor_1_ || client_must_close();
  Buffer bytes;
  status_ = refusal.status;
  answer_bytes_ = write_own_answer(bytes, {.status = refusal.status,
                                           .text = refusal.text,
                                           .verbatim = refusal.verbatim,
                                           .type = refusal.type,
                                           .location = refusal.location,
                                           .close = close,
                                           .head_only = answers_head_,
                                           .retry_after_seconds = refusal.retry_after_seconds,
                                           .allow = refusal.allow,
                                           .date = worker_.http_date(),
                                           .edits = &frontend_->listener.response_headers});
  client_.linger = !whole;
  frontend_->counters->bytes_out.add(answer_bytes_);
  const Instant since = worker_.loop().now();
  const bool sent = co_await flush(client_.socket, bytes, timeouts().send);
  if (!sent) client_gone(since, timeouts().send);
  first_byte_ = std::chrono::steady_clock::now();
  co_return sent && !close;
}

bool Exchange::client_must_close() const {
  return worker_.stopping() || client_.listener->closing;
}

Task<bool> Exchange::serve(HttpClient& client, std::string_view input) {
  Exchange self(client);
  self.begin(input);
  std::optional<Refusal>& refusal = self.refusal_;
  bool reached = !refusal && self.reach_at_once();
  if (!reached && self.input_.empty()) self.input_.append(input);
  while (!refusal) {
    if (!reached) refusal = co_await self.reach_replica();
    reached = false;
    if (refusal) break;
    self.input_.release();
    self.start_upload();
    std::optional<Heard> heard;
    Unread unread;
    if (self.upload_ > Upload::done) {
      heard = Heard::upload_ended;
    } else {
      const Waited waited = co_await self.upstream_->socket().readable(self.answer_limit());
      heard = self.hear_once(waited, unread);
    }
    if (!heard) heard = co_await self.hear(unread);
    if (heard == Heard::answer) {
      const bool whole = self.is_relayed() || co_await self.relay_answer();
      if (self.uploading_.running()) co_await self.stop_upload();
      co_return whole&& self.finish();
    }
    if (heard == Heard::tunnel) co_return co_await self.run_tunnel();
    if (self.uploading_.running()) co_await self.stop_upload();
    if (!self.tries_again_after(*heard)) {
      refusal = self.refusal_of(*heard);
      break;
    }
  }
  if (self.may_go_back()) co_return self.go_back();
  co_return co_await self.refuse(*refusal);
}

// Given up before a replica was sent anything of it: the next balancer reads it once more.
bool Exchange::may_go_back() const {
  return worker_.giving_up() && !input_.empty() && client_.socket.tls() == nullptr;
}

bool Exchange::go_back() {
  client_.pending = std::move(input_);
  client_.carries_on = carried_ = true;
  return false;
}

// Nothing of the answer, or nothing usable, has come. True: for another try.
bool Exchange::tries_again_after(Heard heard) {
  const bool stale = upstream_->reused() && heard == Heard::nothing;
  upstream_.reset();
  if (heard != Heard::nothing || !may_try_again() || worker_.loop().shut()) {
    if (heard != Heard::upload_ended) replica_failed(refusal_of(heard).text);
    return false;
  }
  only_new_connection_ = stale;
  if (stale) return true;
  replica_failed("closed the connection without an answer");
  tried_.push_back(in_flight_->endpoint().id());
  in_flight_.reset();
  return ++tries_ <= frontend_->listener.retries;
}

bool Exchange::is_relayed() const {
  return answer_.done() && blocked_.empty() && !answer_malformed_;
}

// Both messages are over on the client's side of things.
bool Exchange::finish() {
  const bool uploaded = upload_ == Upload::done;
  if (uploaded && upstream_keep_alive_ && upstream_clean_)
    in_flight_->endpoint().park(upstream_, timeouts().keepalive);
  upstream_.reset();
  in_flight_.reset();
  client_.linger = !uploaded || !client_.pending.empty();
  return !form_.close && uploaded;
}

}  // namespace muster::lb
