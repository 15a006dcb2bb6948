// To the service manager: sd_notify(3) without libsystemd. One datagram per message to $NOTIFY_SOCKET.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/time.h"

namespace muster::supervisor {

class SdNotify {
 public:
  // Reads NOTIFY_SOCKET (a path, or "@name" for an abstract one), WATCHDOG_USEC and WATCHDOG_PID, and removes
  // them from the environment: replicas must not see them. Without a (usable) NOTIFY_SOCKET every message is
  // a no-op.
  static SdNotify from_environment();

  [[nodiscard]] bool active() const { return socket_.valid(); }
  // How often watchdog() is due: half of WATCHDOG_USEC. None: the manager does not watch, or watches another pid.
  [[nodiscard]] std::optional<Millis> watchdog_every() const { return watchdog_every_; }

  // Never block; a manager that does not take a message does not get it.
  void ready(std::string_view status);      // READY=1 STATUS=… MAINPID=…
  void reloading(std::string_view status);  // RELOADING=1 MONOTONIC_USEC=now
  void stopping(std::string_view status);   // STOPPING=1
  void status(std::string_view status);
  void watchdog();
  void extend_timeout(Millis by);  // EXTEND_TIMEOUT_USEC

  // The manager holds them under that name until unstore(), and passes them to the next start (FDSTORE, FDPOLL=0: also
  // when their other ends have closed).
  void store(const std::string& name, std::initializer_list<int> fds);
  void unstore(const std::string& name);
  // Whether it does that at all (FileDescriptorStoreMax of the unit): asked, and waited for, `at_most`.
  bool has_store(Millis at_most);

 private:
  void send(const std::string& message, std::initializer_list<int> fds = {});
  Fd socket_;
  std::string address_;  // as in the variable
  std::optional<Millis> watchdog_every_;
};

// The value of STATUS=: one line, control bytes replaced by spaces, at most 512 bytes.
std::string sd_status_value(std::string_view text);

}  // namespace muster::supervisor
