// sd_notify(3) from replicas: one abstract unix datagram socket per instance that uses it (`health = "notify"`,
// `watchdog`). The socket says whose message it is, so also a helper that has ended by the time it is read counts
// (systemd-notify(1)); the sender's uid must be the replica's, ours or root. For the control thread.
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "base/result.h"
#include "supervisor/event.h"

struct uv_loop_s;

namespace muster::supervisor {

class NotifySockets {
 public:
  // The loop must run once more after the destructor.
  NotifySockets(uv_loop_s* loop, std::function<void(Notified)> on_notified);
  ~NotifySockets();
  NotifySockets(const NotifySockets&) = delete;
  NotifySockets& operator=(const NotifySockets&) = delete;

  // The value of NOTIFY_SOCKET for it, "@…".
  Result<std::string> open(InstanceId instance, uid_t replica_uid);
  // The socket of a process that another daemon has started; it knows it by this name.
  Status reopen(InstanceId instance, uid_t replica_uid, const std::string& name);
  void close(InstanceId instance);

  struct Socket;

 private:
  uv_loop_s* loop_;
  std::function<void(Notified)> on_notified_;
  std::string prefix_;
  std::map<InstanceId, Socket*> sockets_;
};

}  // namespace muster::supervisor
