#include "supervisor/notify_sockets.h"

#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "base/check.h"
#include "base/fd.h"
#include "fmt/core.h"
#include "supervisor/notification.h"

namespace muster::supervisor {

namespace {
constexpr std::size_t datagram_bytes_max = 4096;  // sd_notify(3) messages are a few lines
constexpr int datagrams_per_turn = 16;
}  // namespace

// Lives until libuv has closed its handle.
struct NotifySockets::Socket {
  uv_poll_t poll{};
  Fd fd;
  NotifySockets* owner = nullptr;  // null: closing
  InstanceId instance{};
  uid_t uid = 0;

  void read() {
    for (int count = 0; count < datagrams_per_turn && owner != nullptr; ++count) {
      std::array<char, datagram_bytes_max> bytes{};
      // The kernel's alignment for control messages; descriptors that somebody sends along are closed by MSG_CTRUNC.
      alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(ucred))> control{};
      iovec into{.iov_base = bytes.data(), .iov_len = bytes.size()};
      msghdr message{};
      message.msg_iov = &into;
      message.msg_iovlen = 1;
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      const auto got = ::recvmsg(fd.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
      if (got < 0) return;
      if ((message.msg_flags & MSG_TRUNC) != 0 || !is_allowed(message)) continue;
      owner->on_notified_(
          parse_notification(instance, std::string_view(bytes.data(), static_cast<std::size_t>(got))));
    }
  }

  [[nodiscard]] bool is_allowed(msghdr& message) const {
    const cmsghdr* header = CMSG_FIRSTHDR(&message);
    if (header == nullptr || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_CREDENTIALS)
      return false;
    ucred sender{};
    std::memcpy(&sender, CMSG_DATA(header), sizeof sender);
    return sender.uid == uid || sender.uid == geteuid() || sender.uid == 0;
  }

  void close() {
    owner = nullptr;
    uv_close(reinterpret_cast<uv_handle_t*>(&poll),
             [](uv_handle_t* handle) { delete static_cast<Socket*>(handle->data); });
  }
};

NotifySockets::NotifySockets(uv_loop_s* loop, std::function<void(Notified)> on_notified)
    : loop_(loop), on_notified_(std::move(on_notified)) {
  std::uint64_t random = 0;
  if (::getrandom(&random, sizeof random, 0) != sizeof random) random = static_cast<std::uint64_t>(getpid());
  prefix_ = fmt::format("@muster/{}-{:016x}", getpid(), random);
}

NotifySockets::~NotifySockets() {
  for (const auto& [instance, socket] : sockets_) socket->close();
}

Result<std::string> NotifySockets::open(InstanceId instance, uid_t replica_uid) {
  std::string name = fmt::format("{}/{}", prefix_, raw(instance));
  if (Status opened = reopen(instance, replica_uid, name); !opened) return std::move(opened).error();
  return name;
}

Status NotifySockets::reopen(InstanceId instance, uid_t replica_uid, const std::string& name) {
  Fd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return system_error("notify socket", errno);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (name.size() < 2 || name.size() >= sizeof address.sun_path || name[0] != '@')
    return Error{.message = "notify socket: not a name of one: " + name};
  std::memcpy(address.sun_path, name.data(), name.size());
  address.sun_path[0] = '\0';
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  const int on = 1;
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0 ||
      ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0)
    return system_error("notify socket", errno);
  auto* socket = new Socket;
  if (uv_poll_init(loop_, &socket->poll, fd.get()) != 0) {
    delete socket;
    return Error{.message = "notify socket: the loop takes no more descriptors"};
  }
  socket->fd = std::move(fd);
  socket->owner = this;
  socket->instance = instance;
  socket->uid = replica_uid;
  socket->poll.data = socket;
  uv_poll_start(&socket->poll, UV_READABLE,
                [](uv_poll_t* handle, int, int) { static_cast<Socket*>(handle->data)->read(); });
  sockets_[instance] = socket;
  return Unit{};
}

void NotifySockets::close(InstanceId instance) {
  const auto at = sockets_.find(instance);
  if (at == sockets_.end()) return;
  at->second->close();
  sockets_.erase(at);
}

}  // namespace muster::supervisor
