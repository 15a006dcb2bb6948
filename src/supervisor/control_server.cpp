#include "supervisor/control_server.h"

#include <fcntl.h>
#include <unistd.h>
#include <uv.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "base/check.h"
#include "base/limits.h"
#include "supervisor/control_connection.h"
#include "supervisor/control_socket.h"
#include "supervisor/uv_handles.h"

namespace muster::supervisor {
namespace {

constexpr int backlog = 128;

class Server final : public ControlServer {
 public:
  Server(uv_loop_t* loop, ControlServerOptions options, ControlHandler handler)
      : loop_(loop), options_(std::move(options)), host_(std::make_shared<ControlConnection::Host>()) {
    host_->handler = std::move(handler);
    host_->times = options_.times;
    host_->on_closed = [this](ControlConnection& closed) { connections_.erase(closed.shared_from_this()); };
  }
  ~Server() override {
    close_listener();
    host_->on_closed = nullptr;
    for (const auto& connection : connections_) connection->close();
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  void close_listener() override {
    if (!listener_) return;
    remove_control_socket(options_.path, bound_);
    drop_listener();
  }
  [[nodiscard]] bool still_there() const override { return listener_ && is_same_file(options_.path, bound_); }
  Status reopen() override;
  [[nodiscard]] BoundSocket listening_socket() const override;
  Status open();

 private:
  Status listen_on(BoundSocket bound);
  void drop_listener();
  void on_connection();
  void take_connection();
  [[nodiscard]] bool must_read_first() const;
  [[nodiscard]] std::size_t served() const;
  [[nodiscard]] bool may_linger() const;
  bool make_room();

  uv_loop_t* loop_;
  ControlServerOptions options_;
  std::shared_ptr<ControlConnection::Host> host_;
  uv_pipe_t* listener_ = nullptr;
  UvTimer read_first_;  // while a connection waits to be accepted
  BoundSocket bound_;   // its descriptor belongs to listener_
  std::set<std::shared_ptr<ControlConnection>> connections_;
};

Status Server::reopen() {
  auto bound = bind_control_socket(options_.path, options_.group);
  if (!bound) return std::move(bound).error();
  return listen_on(std::move(bound).value());
}

Status Server::open() {
  if (!options_.taken) return reopen();
  return listen_on(*std::exchange(options_.taken, std::nullopt));
}

BoundSocket Server::listening_socket() const {
  uv_os_fd_t fd = -1;
  BoundSocket socket{.fd = {}, .device = bound_.device, .inode = bound_.inode};
  if (listener_ && uv_fileno(reinterpret_cast<const uv_handle_t*>(listener_), &fd) == 0)
    socket.fd.reset(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  return socket;
}

Status Server::listen_on(BoundSocket bound) {
  drop_listener();
  bound_ = std::move(bound);
  listener_ = new uv_pipe_t{};
  MUSTER_CHECK(uv_pipe_init(loop_, listener_, 0) == 0);
  listener_->data = this;
  int error = uv_pipe_open(listener_, bound_.fd.get());
  if (error == 0) {
    static_cast<void>(bound_.fd.release());
    error =
        uv_listen(reinterpret_cast<uv_stream_t*>(listener_), backlog, [](uv_stream_t* stream, int status) {
          if (stream->data && status == 0) static_cast<Server*>(stream->data)->on_connection();
        });
  }
  if (error == 0) return Unit{};
  close_listener();
  return system_error("listen on " + options_.path, -error);
}

void Server::drop_listener() {
  if (!listener_) return;
  read_first_.stop();
  listener_->data = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(std::exchange(listener_, nullptr)),
           [](uv_handle_t* closed) { delete reinterpret_cast<uv_pipe_t*>(closed); });
}

std::size_t Server::served() const {
  const auto count = std::count_if(connections_.begin(), connections_.end(),
                                   [](const auto& connection) { return connection->is_served(); });
  return static_cast<std::size_t>(count);
}

// Those that are turned away stay for a moment to read why; when there are too many of them too, without a word.
bool Server::may_linger() const {
  return connections_.size() - served() < limits::control_clients_max;
}

// Who has asked nothing yet, or half a question, gives way: clients that stall must not keep one out that has something
// to say. Of the user who has most of them, and of that user's process that has, the one that has been there longest: on
// a busy host a client may not run for long between connect(2) and its question, and a crowd comes meanwhile.
bool Server::make_room() {
  std::map<uid_t, std::size_t> of_user;
  std::map<std::pair<uid_t, pid_t>, std::size_t> of_process;
  const auto process = [](const ControlConnection& of) { return std::pair(of.uid(), of.pid()); };
  for (const auto& connection : connections_) {
    if (!connection->is_waiting()) continue;
    ++of_user[connection->uid()];
    ++of_process[process(*connection)];
  }
  std::shared_ptr<ControlConnection> chosen;
  for (const auto& connection : connections_) {
    if (!connection->is_waiting() || connection->has_unread()) continue;
    const auto rank = [&](const ControlConnection& of) {
      return std::tuple(of_user[of.uid()], of_process[process(of)], ~of.number());
    };
    if (!chosen || rank(*connection) > rank(*chosen)) chosen = connection;
  }
  if (!chosen) return false;
  if (may_linger()) {
    chosen->give_way();
  } else {
    connections_.erase(chosen);
    chosen->close();
  }
  return true;
}

// All places are taken, and nobody can give way before what they have sent is read: many have come at once.
bool Server::must_read_first() const {
  if (served() < limits::control_clients_max) return false;
  bool unread = false;
  for (const auto& connection : connections_) {
    if (!connection->is_waiting()) continue;
    if (!connection->has_unread()) return false;
    unread = true;
  }
  return unread;
}

// libuv offers no further one until this one is taken.
void Server::on_connection() {
  if (!must_read_first()) return take_connection();
  if (!read_first_.open())
    read_first_ = UvTimer(loop_, [this] {
      if (listener_) on_connection();
    });
  // Not 0: libuv would call it again before it reads anything.
  read_first_.start(std::chrono::milliseconds{1});
}

void Server::take_connection() {
  const auto connection = ControlConnection::accept(reinterpret_cast<uv_stream_t*>(listener_), host_);
  if (!connection) return;
  auto peer = peer_of(connection->fd());
  const bool allowed = peer && is_allowed(peer.value(), geteuid(), options_.group);
  if (allowed && (served() < limits::control_clients_max || make_room())) {
    connections_.insert(connection);
    return connection->serve(std::move(peer).value());
  }
  if (!may_linger()) return connection->close();
  connections_.insert(connection);
  if (allowed) return connection->turn_away(503, too_many_clients);
  connection->turn_away(403, "this socket is for root, the daemon's own user and its group");
}

}  // namespace

Result<std::unique_ptr<ControlServer>> ControlServer::listen(uv_loop_s* loop, ControlServerOptions options,
                                                             ControlHandler handler) {
  auto server = std::make_unique<Server>(loop, std::move(options), std::move(handler));
  if (Status opened = server->open(); !opened) return std::move(opened).error();
  return std::unique_ptr<ControlServer>(std::move(server));
}

}  // namespace muster::supervisor
