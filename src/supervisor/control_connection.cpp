#include "supervisor/control_connection.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <utility>

#include "base/check.h"

namespace muster::supervisor {
namespace {

constexpr Millis half_closed_every{5'000};          // how often a client that only listens is asked for
constexpr std::size_t kept_bytes_max = 64U << 10U;  // of requests that come before the answer to this one

ControlConnection& connection_of(void* data) {
  return *static_cast<ControlConnection*>(data);
}

// What a handler holds.
class Reply final : public ControlReply, public std::enable_shared_from_this<Reply> {
 public:
  Reply(std::weak_ptr<ControlConnection> connection, std::uint64_t serial)
      : connection_(std::move(connection)), serial_(serial) {}
  ~Reply() override {
    if (!answered_) Reply::send(500, error_body("the request was dropped without an answer"));
  }
  Reply(const Reply&) = delete;
  Reply& operator=(const Reply&) = delete;

  void send(int status, std::string body) override {
    if (std::exchange(answered_, true)) return;
    if (const auto connection = connection_.lock()) connection->send(serial_, status, std::move(body));
  }
  void stream(Source source) override {
    if (std::exchange(answered_, true)) return;
    if (const auto connection = connection_.lock())
      connection->stream(serial_, shared_from_this(), std::move(source));
  }
  void wake() override {
    if (const auto connection = connection_.lock()) connection->wake(serial_);
  }
  void on_gone(std::function<void()> hook) override {
    const auto connection = connection_.lock();
    if (!connection) return hook();
    connection->on_gone(serial_, std::move(hook));
  }

 private:
  std::weak_ptr<ControlConnection> connection_;
  std::uint64_t serial_;
  bool answered_ = false;
};

}  // namespace

struct ControlConnection::Write {
  uv_write_t request{};
  std::string bytes;
  std::shared_ptr<ControlConnection> connection;
};

ControlConnection::ControlConnection(uv_loop_t* loop, std::shared_ptr<Host> host) : host_(std::move(host)) {
  MUSTER_CHECK(uv_pipe_init(loop, &pipe_, 0) == 0 && uv_timer_init(loop, &timer_) == 0);
  pipe_.data = timer_.data = this;
  handles_ = 2;
}

std::shared_ptr<ControlConnection> ControlConnection::accept(uv_stream_t* listener,
                                                             std::shared_ptr<Host> host) {
  std::shared_ptr<ControlConnection> accepted(new ControlConnection(listener->loop, std::move(host)));
  accepted->self_ = accepted;
  if (uv_accept(listener, reinterpret_cast<uv_stream_t*>(&accepted->pipe_)) == 0) return accepted;
  accepted->close();
  return nullptr;
}

int ControlConnection::fd() const {
  uv_os_fd_t fd = -1;
  return uv_fileno(reinterpret_cast<const uv_handle_t*>(&pipe_), &fd) == 0 ? fd : -1;
}

bool ControlConnection::has_unread() const {
  int bytes = 0;
  return ioctl(fd(), FIONREAD, &bytes) == 0 && bytes > 0;
}

void ControlConnection::serve(Peer peer) {
  peer_ = std::move(peer);
  served_ = true;
  number_ = ++host_->served;
  arm(host_->times.request);
  read_on();
}

void ControlConnection::turn_away(int status, std::string_view text) {
  say_error(status, text);
}

void ControlConnection::give_way() {
  served_ = false;
  say_error(503, too_many_clients);
}

// --- in ------------------------------------------------------------------------------------------------------------

void ControlConnection::read_on() {
  input_paused_ = false;
  const int error = uv_read_start(
      reinterpret_cast<uv_stream_t*>(&pipe_),
      [](uv_handle_t* handle, std::size_t, uv_buf_t* buffer) {
        auto& scratch = connection_of(handle->data).host_->scratch;
        *buffer = uv_buf_init(scratch.data(), static_cast<unsigned>(scratch.size()));
      },
      [](uv_stream_t* stream, ssize_t size, const uv_buf_t* buffer) {
        connection_of(stream->data).on_read(size, buffer->base);
      });
  if (error != 0) gone();
}

void ControlConnection::on_read(ssize_t size, const char* bytes) {
  const auto self = shared_from_this();
  if (phase_ == Phase::closed || size == 0) return;
  if (size == UV_EOF) return on_end_of_input();
  if (size < 0) return gone();
  if (phase_ == Phase::lingering) return;
  reader_.feed({bytes, static_cast<std::size_t>(size)});
  if (phase_ == Phase::reading) return pump();
  if (reader_.bytes_kept() <= kept_bytes_max) return;
  uv_read_stop(reinterpret_cast<uv_stream_t*>(&pipe_));
  input_paused_ = true;
}

// A client that has closed its socket is gone; one that has only said that no request follows (shutdown(2)) still
// gets its answer.
void ControlConnection::on_end_of_input() {
  input_ended_ = true;
  if (phase_ == Phase::reading || phase_ == Phase::lingering || is_hung_up()) return gone();
  if (phase_ == Phase::answering || phase_ == Phase::streaming) {
    if (writes_ == 0) arm(half_closed_every);
  }
}

bool ControlConnection::is_hung_up() const {
  pollfd asked{fd(), 0, 0};
  return poll(&asked, 1, 0) == 1 && (asked.revents & (POLLHUP | POLLERR)) != 0;
}

// Works through the requests that are there; one at a time, the next when this one is answered.
void ControlConnection::pump() {
  if (std::exchange(pumping_, true)) return;
  using State = ControlRequestReader::State;
  while (phase_ == Phase::reading && reader_.state() == State::complete) begin_request();
  pumping_ = false;
  if (phase_ != Phase::reading) return;
  if (reader_.state() == State::failed) return say_error(reader_.error_status(), reader_.error_text());
  if (input_ended_) return gone();
  if (reader_.take_wants_continue()) write("HTTP/1.1 100 Continue\r\n\r\n");
  if (reader_.state() != seen_)
    arm(reader_.state() == State::inside ? host_->times.request : host_->times.idle);
  seen_ = reader_.state();
}

void ControlConnection::begin_request() {
  ControlRequest request = reader_.take();
  request.peer_pid = peer_.pid;
  request.peer_uid = peer_.uid;
  phase_ = Phase::answering;
  ++serial_;
  uv_timer_stop(&timer_);
  host_->handler(request, std::make_shared<Reply>(weak_from_this(), serial_));
}

// --- out -----------------------------------------------------------------------------------------------------------

// Without a request to answer, or in place of one that cannot be read: the last thing that is said.
void ControlConnection::say_error(int status, std::string_view text) {
  const std::string body = error_body(text) + "\n";
  phase_ = Phase::ending;
  ++serial_;
  input_ended_ = true;  // whatever follows is not read as a request
  write(response_head(status, json_content, body.size(), false, false) + body);
}

void ControlConnection::send(std::uint64_t serial, int status, std::string body) {
  if (!is_current(serial) || phase_ != Phase::answering) return;
  const bool keep = reader_.keep_alive() && !input_ended_;
  if (!body.ends_with('\n')) body += '\n';
  std::string answer = response_head(status, json_content, body.size(), false, keep);
  if (!reader_.is_head()) answer += body;
  phase_ = Phase::ending;
  write(std::move(answer));
}

void ControlConnection::stream(std::uint64_t serial, std::shared_ptr<ControlReply> reply,
                               ControlReply::Source source) {
  if (!is_current(serial) || phase_ != Phase::answering) return;
  const bool chunked = reader_.can_chunk();
  const bool keep = chunked && reader_.keep_alive() && !input_ended_;
  phase_ = reader_.is_head() ? Phase::ending : Phase::streaming;
  source_ = std::move(source);
  streaming_reply_ = std::move(reply);
  write(response_head(200, lines_content, std::nullopt, chunked, keep));
}

void ControlConnection::wake(std::uint64_t serial) {
  if (!is_current(serial)) return;
  if (pulling_) pull_again_ = true;
  pull();
}

void ControlConnection::on_gone(std::uint64_t serial, std::function<void()> hook) {
  if (!is_current(serial)) return;
  if (phase_ == Phase::closed) return hook();
  if (phase_ == Phase::answering || phase_ == Phase::streaming) gone_hook_ = std::move(hook);
}

// One piece of the stream, when the piece before it is written: libuv reports that in a later turn of the loop, so a
// quick client does not keep it for itself.
void ControlConnection::pull() {
  if (phase_ != Phase::streaming || writes_ > 0 || std::exchange(pulling_, true)) return;
  pull_again_ = false;
  const auto self = shared_from_this();
  std::string data;
  const bool more = source_(data);
  pulling_ = false;
  if (phase_ != Phase::streaming) return;
  std::string bytes;
  if (!reader_.can_chunk()) {
    bytes = std::move(data);
  } else {
    if (!data.empty()) append_chunk(bytes, data);
    if (!more) bytes += last_chunk;
  }
  if (!more) phase_ = Phase::ending;
  if (!bytes.empty()) return write(std::move(bytes));
  if (!more) return finish_answer();
  if (pull_again_) return arm(Millis{0});
  if (input_ended_) arm(half_closed_every);
}

void ControlConnection::write(std::string bytes) {
  auto* job = new Write{{}, std::move(bytes), shared_from_this()};
  job->request.data = job;
  const uv_buf_t buffer = uv_buf_init(job->bytes.data(), static_cast<unsigned>(job->bytes.size()));
  const int error = uv_write(&job->request, reinterpret_cast<uv_stream_t*>(&pipe_), &buffer, 1,
                             [](uv_write_t* request, int status) {
                               const std::unique_ptr<Write> done(static_cast<Write*>(request->data));
                               done->connection->on_written(status);
                             });
  if (error != 0) {
    delete job;
    return gone();
  }
  ++writes_;
  unwritten_ = uv_stream_get_write_queue_size(reinterpret_cast<uv_stream_t*>(&pipe_));
  if (phase_ != Phase::reading) arm(host_->times.progress);  // there the request's own deadline goes on
}

void ControlConnection::on_written(int status) {
  --writes_;
  if (phase_ == Phase::closed) return;
  if (status != 0) return gone();
  if (writes_ > 0 || phase_ == Phase::reading) return;
  uv_timer_stop(&timer_);
  if (phase_ == Phase::ending) return finish_answer();
  if (input_ended_) arm(half_closed_every);
  pull();
}

void ControlConnection::finish_answer() {
  source_ = nullptr;
  gone_hook_ = nullptr;
  const auto reply = std::move(streaming_reply_);
  if (input_ended_ || !reader_.keep_alive() || (reply && !reader_.can_chunk())) return linger();
  phase_ = Phase::reading;
  seen_ = ControlRequestReader::State::complete;  // the timer is armed anew
  if (input_paused_) read_on();
  pump();
}

void ControlConnection::linger() {
  if (is_hung_up()) return gone();
  phase_ = Phase::lingering;
  shutdown(fd(), SHUT_WR);
  arm(host_->times.linger);
  read_on();
}

// --- the end -------------------------------------------------------------------------------------------------------

void ControlConnection::gone() {
  const auto hook = std::exchange(gone_hook_, nullptr);
  close();
  if (hook) hook();
}

void ControlConnection::close() {
  if (std::exchange(phase_, Phase::closed) == Phase::closed) return;
  const auto self = shared_from_this();
  gone_hook_ = nullptr;
  const auto source = std::exchange(source_, nullptr);
  const auto reply = std::exchange(streaming_reply_, nullptr);
  const auto closed = [](uv_handle_t* handle) {
    auto& connection = connection_of(handle->data);
    if (--connection.handles_ == 0) const auto last = std::exchange(connection.self_, nullptr);
  };
  uv_close(reinterpret_cast<uv_handle_t*>(&pipe_), closed);
  uv_close(reinterpret_cast<uv_handle_t*>(&timer_), closed);
  if (host_->on_closed) host_->on_closed(*this);
}

void ControlConnection::arm(Millis in) {
  uv_timer_start(
      &timer_,
      [](uv_timer_t* timer) {
        const auto self = connection_of(timer->data).shared_from_this();
        self->on_timer();
      },
      static_cast<std::uint64_t>(in.count()), 0);
}

void ControlConnection::on_timer() {
  switch (phase_) {
    case Phase::reading:
      if (reader_.state() == ControlRequestReader::State::inside)
        return say_error(408, "the request did not come to its end in time");
      return gone();
    case Phase::answering:
    case Phase::streaming:
    case Phase::ending:
      break;
    case Phase::lingering:
    case Phase::closed:
      return gone();
  }
  if (is_hung_up()) return gone();
  if (writes_ == 0) {
    if (std::exchange(pull_again_, false)) return pull();
    if (input_ended_) arm(half_closed_every);
    return;
  }
  const std::size_t unwritten = uv_stream_get_write_queue_size(reinterpret_cast<uv_stream_t*>(&pipe_));
  if (unwritten >= unwritten_) return gone();
  unwritten_ = unwritten;
  arm(host_->times.progress);
}

}  // namespace muster::supervisor
