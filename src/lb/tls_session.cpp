#include "lb/tls_session.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "lb/io.h"

namespace muster::lb {

namespace {
constexpr std::size_t record_bytes_max = SSL3_RT_MAX_PLAIN_LENGTH;

// What is next to send, in one record: the end of `first` and the beginning of `second` go together.
std::string_view next_record(std::string_view first, std::string_view second, std::size_t sent) {
  if (sent >= first.size()) return second.substr(sent - first.size(), record_bytes_max);
  first.remove_prefix(sent);
  if (second.empty() || first.size() >= record_bytes_max) return first.substr(0, record_bytes_max);
  static thread_local std::array<char, record_bytes_max> joined;
  second = second.substr(0, record_bytes_max - first.size());
  std::memcpy(joined.data(), first.data(), first.size());
  std::memcpy(joined.data() + first.size(), second.data(), second.size());
  return {joined.data(), first.size() + second.size()};
}
}  // namespace

// Between the session and its socket: the system calls, and what they say about readiness.
struct TlsBio {
  static TlsSession& session(BIO* bio) { return *static_cast<TlsSession*>(BIO_get_data(bio)); }

  static int read(BIO* bio, char* into, int bytes) {
    TlsSession& self = session(bio);
    BIO_clear_retry_flags(bio);
    if (!self.drained_) {
      const std::ptrdiff_t got = receive_plain(*self.socket_, {into, static_cast<std::size_t>(bytes)});
      self.drained_ = got == io_blocked || (got > 0 && !self.socket_->may_be_readable());
      if (got != io_blocked) return got == io_failed ? -1 : static_cast<int>(got);
    }
    BIO_set_retry_read(bio);
    return -1;
  }

  static int write(BIO* bio, const char* from, int bytes) {
    BIO_clear_retry_flags(bio);
    const std::ptrdiff_t sent = send_plain(*session(bio).socket_, {from, static_cast<std::size_t>(bytes)});
    if (sent == io_blocked) BIO_set_retry_write(bio);
    return sent < 0 ? -1 : static_cast<int>(sent);
  }

  static long control(BIO* /*bio*/, int command, long /*number*/, void* /*pointer*/) {
    return command == BIO_CTRL_FLUSH ? 1 : 0;
  }

  static const BIO_METHOD* method() {
    static BIO_METHOD* const made = [] {
      BIO_METHOD* fresh = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket of the loop");
      MUSTER_CHECK(fresh != nullptr);
      BIO_meth_set_read(fresh, &TlsBio::read);
      BIO_meth_set_write(fresh, &TlsBio::write);
      BIO_meth_set_ctrl(fresh, &TlsBio::control);
      return fresh;
    }();
    return made;
  }
};

// OpenSSL's queue of errors is one for each thread: what another connection left in it must not count for this one.
class TlsSession::Use {
 public:
  Use(TlsSession& session, const Socket& socket) : session_(session) {
    session_.socket_ = &socket;
    session_.drained_ = false;
    ERR_clear_error();
  }
  ~Use() {
    session_.socket_ = nullptr;
    ERR_clear_error();
  }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;

 private:
  TlsSession& session_;
};

TlsSession::TlsSession(std::shared_ptr<const TlsContext> context, SslPtr ssl)
    : context_(std::move(context)), ssl_(std::move(ssl)) {}
TlsSession::~TlsSession() {
  // Else OpenSSL forgets the session of a connection that ended without close_notify; a fatal alert has done so already.
  SSL_set_shutdown(ssl_.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
}

std::unique_ptr<TlsSession> TlsSession::begin(std::shared_ptr<const TlsContext> context) {
  SslPtr ssl = context->connection();
  BIO* bio = ssl ? BIO_new(TlsBio::method()) : nullptr;
  if (bio == nullptr) return nullptr;
  SSL_set_bio(ssl.get(), bio, bio);
  SSL_set_accept_state(ssl.get());
  std::unique_ptr<TlsSession> session(new TlsSession(std::move(context), std::move(ssl)));
  BIO_set_data(bio, session.get());
  BIO_set_init(bio, 1);
  return session;
}

TlsSession::Step TlsSession::shake_hands(const Socket& socket) {
  const Use use(*this, socket);
  const int returned = SSL_do_handshake(ssl_.get());
  if (returned == 1) {
    // A request may have come along with the end of the handshake.
    if (SSL_has_pending(ssl_.get()) == 1) socket.more_to_read();
    return Step::done;
  }
  const int error = SSL_get_error(ssl_.get(), returned);
  if (error == SSL_ERROR_WANT_READ) return Step::wants_read;
  if (error == SSL_ERROR_WANT_WRITE) return Step::wants_write;
  broken_ = true;
  const unsigned long code = ERR_peek_error();
  const bool http = ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == SSL_R_HTTP_REQUEST;
  return http ? Step::plain_http : Step::failed;
}

// What a call that moved nothing means.
std::ptrdiff_t TlsSession::failed(const Socket& socket, int returned, Direction direction) {
  const int error = SSL_get_error(ssl_.get(), returned);
  if (error == SSL_ERROR_ZERO_RETURN) return 0;
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
    const auto wanted = error == SSL_ERROR_WANT_READ ? Direction::read : Direction::write;
    if (wanted != direction) {  // a message of the protocol's own has to be moved first
      socket.blocked(direction);
      socket.count_events_for_both();
    }
    return io_blocked;
  }
  broken_ = true;
  return io_failed;
}

std::ptrdiff_t TlsSession::receive(const Socket& socket, std::span<char> into) {
  if (broken_) return io_failed;
  const Use use(*this, socket);
  std::size_t got = 0;
  while (got < into.size()) {
    std::size_t moved = 0;
    const int returned = SSL_read_ex(ssl_.get(), into.data() + got, into.size() - got, &moved);
    if (returned != 1) {
      const std::ptrdiff_t outcome = failed(socket, returned, Direction::read);
      if (got == 0) return outcome;
      if (outcome != io_blocked) socket.more_to_read();  // the end: it is said when it is asked for again
      return static_cast<std::ptrdiff_t>(got);
    }
    got += moved;
    const bool is_empty = SSL_has_pending(ssl_.get()) == 0;
    if (is_empty && drained_) return static_cast<std::ptrdiff_t>(got);
  }
  if (SSL_has_pending(ssl_.get()) == 1) socket.more_to_read();
  return static_cast<std::ptrdiff_t>(got);
}

std::ptrdiff_t TlsSession::send(const Socket& socket, std::string_view first, std::string_view second) {
  if (broken_) return io_failed;
  const Use use(*this, socket);
  const std::size_t total = first.size() + second.size();
  std::size_t sent = 0;
  while (sent < total) {
    // After io_blocked the caller comes again with the same bytes, and perhaps more behind them: what is encrypted
    // already is the beginning of the next record that is taken from them.
    const std::string_view record = next_record(first, second, sent);
    std::size_t moved = 0;
    const int returned = SSL_write_ex(ssl_.get(), record.data(), record.size(), &moved);
    if (returned == 1) {
      sent += moved;
      continue;
    }
    const std::ptrdiff_t outcome = failed(socket, returned, Direction::write);
    if (outcome != io_blocked) return io_failed;
    return sent == 0 ? io_blocked : static_cast<std::ptrdiff_t>(sent);
  }
  return static_cast<std::ptrdiff_t>(sent);
}

TlsSession::Step TlsSession::end(const Socket& socket) {
  if (ended_) return Step::done;
  if (broken_ || SSL_in_init(ssl_.get()) != 0) return Step::failed;
  const Use use(*this, socket);
  const int returned = SSL_shutdown(ssl_.get());  // says it, and does not wait for the peer's
  ended_ = returned >= 0;
  if (ended_) return Step::done;
  if (SSL_get_error(ssl_.get(), returned) == SSL_ERROR_WANT_WRITE) return Step::wants_write;
  broken_ = true;
  return Step::failed;
}

}  // namespace muster::lb
