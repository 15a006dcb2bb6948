// The request's body on its way to the replica. It is staged behind the head while all of it fits the replay buffer,
// so that another try can send it again; beyond that the buffer is only a stage between two sockets.
#include "lb/exchange.h"

#include <sys/socket.h>

#include <cerrno>

namespace muster::lb {

namespace {
constexpr int reads_in_a_row = 16;  // then other connections get their turn
}

void Exchange::encode_body(std::string_view payload) {
  if (payload.empty()) return;
  body_bytes_ += payload.size();
  frontend_->counters->bytes_in.add(payload.size());
  if (body_.kind() == BodyKind::chunked) {
    write_chunk_size(staged_, payload.size());
    staged_.append(payload);
    staged_.append("\r\n");
  } else {
    staged_.append(payload);
  }
}

void Exchange::end_body() {
  if (body_.kind() != BodyKind::chunked) return;
  staged_.append("0\r\n");
  staged_.append(body_.trailers());
  staged_.append("\r\n");
}

// Takes what belongs to the body; what is left is the client's next request.
void Exchange::take_body(std::string_view input) {
  upload_ = body_.done() ? Upload::done : Upload::going_on;
  while (!input.empty() && upload_ == Upload::going_on) {
    const BodyPiece piece = body_.next(input);
    input.remove_prefix(piece.consumed);
    encode_body(piece.payload);
    const auto& body_max = frontend_->listener.body_max;
    if (piece.state == BodyState::bad) {
      upload_ = Upload::malformed;
    } else if (body_max && body_bytes_ > *body_max) {
      upload_ = Upload::too_large;
    } else if (piece.state == BodyState::done) {
      end_body();
      upload_ = Upload::done;
    }
  }
  if (upload_ == Upload::malformed || upload_ == Upload::too_large)
    refusal_ = refusal_of(Heard::upload_ended);
  client_.pending.append(input);  // what was pending is in input_
}

// Where the replica has ended the connection, its answer or the absence of one is there to be read. After any other
// failure (ENOBUFS) it would wait for the rest of the request, and we for its answer.
void Exchange::sending_failed() {
  if (errno != EPIPE && errno != ECONNRESET) ::shutdown(upstream_->socket().fd(), SHUT_RDWR);
}

// What is staged goes out at once; a branch carries on where that is not all.
void Exchange::start_upload() {
  written_ = head_begin_;
  wrote_anything_ = false;
  upload_progress_ = worker_.loop().now();
  const std::ptrdiff_t sent = send_some(upstream_->socket(), staged_.view().substr(written_));
  if (sent == io_failed) return sending_failed();
  if (sent > 0) {
    wrote_anything_ = true;
    written_ += static_cast<std::size_t>(sent);
    in_flight_->endpoint().counters().bytes_to.add(static_cast<std::uint64_t>(sent));
  }
  if (upload_ == Upload::done && written_ == staged_.size()) return;
  upload_ = Upload::going_on;
  uploading_.start(upload());
}

Task<bool> Exchange::upload_staged() {
  while (written_ < staged_.size()) {
    const std::ptrdiff_t sent = send_some(upstream_->socket(), staged_.view().substr(written_));
    if (sent == io_failed) {
      sending_failed();
      co_return false;
    }
    if (sent == io_blocked) {
      const Waited waited = co_await upstream_->socket().writable(timeouts().send);
      if (waited != Waited::ready) co_return false;
      continue;
    }
    wrote_anything_ = true;
    written_ += static_cast<std::size_t>(sent);
    upload_progress_ = worker_.loop().now();
    in_flight_->endpoint().counters().bytes_to.add(static_cast<std::uint64_t>(sent));
  }
  co_return true;
}

Task<> Exchange::upload() {
  for (int reads = 0;;) {
    if (++reads > reads_in_a_row) {
      reads = 0;
      co_await worker_.loop().turn();
      if (ending_upload_ || worker_.giving_up()) co_return;
    }
    const bool written = co_await upload_staged();
    if (!written) {
      if (upload_ == Upload::going_on) upload_ = Upload::replica_failed;
      co_return;
    }
    if (body_.done()) {
      upload_ = Upload::done;
      co_return;
    }
    if (replayable_ && staged_.size() - head_end_ > limits::replay_buffer_bytes) replayable_ = false;
    if (!replayable_) {
      staged_.clear();
      written_ = authority_bytes_ = head_begin_ = head_end_ = 0;
    }
    const std::ptrdiff_t got = receive(client_.socket, worker_.scratch());
    if (got == io_blocked) {
      const Waited waited = co_await client_.socket.readable(timeouts().idle);
      if (waited == Waited::ready) continue;
      if (waited == Waited::aborted) co_return;  // stop_upload()
      upload_ = Upload::client_too_slow;
    } else if (got == 0 || got == io_failed) {
      upload_ = Upload::client_failed;
    } else {
      take_body({worker_.scratch().data(), static_cast<std::size_t>(got)});
      if (upload_ == Upload::done) upload_ = Upload::going_on;  // until it is written
    }
    if (upload_ != Upload::going_on) {
      upstream_->socket().abort_wait(Direction::read);  // nobody needs the answer any more
      co_return;
    }
  }
}

// Ends the branch where it waits. What was read is staged, so another try can go on from there.
Task<> Exchange::stop_upload() {
  if (!uploading_.running()) co_return;
  ending_upload_ = true;  // it may also wait for its turn
  client_.socket.abort_wait(Direction::read);
  if (upstream_) upstream_->socket().abort_wait(Direction::write);
  co_await uploading_.join();
  ending_upload_ = false;
  if (upload_ == Upload::replica_failed) upload_ = Upload::going_on;
}

}  // namespace muster::lb
