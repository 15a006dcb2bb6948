// Opening listening sockets: one per traffic thread and address. No thread of its own.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "lb/handover.h"
#include "spec/spec.h"

namespace muster::lb {

// One address, open: the sockets close with the last owner. A unix socket's file goes with it.
class BoundAddress {
 public:
  // At least one socket for each thread.
  BoundAddress(spec::BindAddress address, std::vector<Fd> sockets, std::size_t threads)
      : address_(std::move(address)), threads_(threads), sockets_(std::move(sockets)) {}
  BoundAddress(const BoundAddress&) = delete;
  BoundAddress& operator=(const BoundAddress&) = delete;
  ~BoundAddress();

  [[nodiscard]] const spec::BindAddress& address() const { return address_; }
  // The sockets that this thread accepts from: its own, and its share of those that are beyond one for each.
  [[nodiscard]] std::vector<std::size_t> sockets_of(std::size_t thread) const;
  // Another descriptor of a socket.
  [[nodiscard]] Fd duplicate(std::size_t socket) const;
  // The file at `path` is this socket's, and is removed with it.
  void own_file(std::string path);
  // That file is gone or is another one.
  [[nodiscard]] bool has_lost_file() const;
  // The sockets and the file go on under another owner: nothing is closed here any more.
  HandedListener give_up();

 private:
  friend Result<std::shared_ptr<BoundAddress>> take_address(const spec::BindAddress& address,
                                                            HandedListener handed, std::size_t threads);
  const spec::BindAddress address_;
  const std::size_t threads_;
  std::vector<Fd> sockets_;  // by thread, then the rest
  std::string path_;
  ino_t inode_ = 0;
};

// Inet: a socket with SO_REUSEPORT for each thread, after a probe without it has shown that nobody else has the
// address (two daemons of one user would share it silently). `port_is_ours`: an address of ours with this port is
// open, so the probe is left out: a listener may move from 127.0.0.1 to 0.0.0.0 without closing first. Unix: one socket for all; a stale file of a dead owner is
// replaced. systemd: the descriptor that was handed in.
Result<std::shared_ptr<BoundAddress>> open_address(
    const spec::BindAddress& address, std::size_t threads, bool port_is_ours,
    const std::vector<std::pair<std::string, int>>& systemd_fds);

// Closes them; a unix socket's file goes too.
void drop(HandedListener handed);

// The same of sockets that were handed over. Fewer than threads are filled up; none is closed.
Result<std::shared_ptr<BoundAddress>> take_address(const spec::BindAddress& address, HandedListener handed,
                                                   std::size_t threads);

}  // namespace muster::lb
