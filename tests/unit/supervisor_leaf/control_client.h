// A client of the control socket on the same loop as the server.
#pragma once

#include <string>

#include "base/fd.h"
#include "leaf_rig.h"
#include "supervisor/uv_handles.h"

namespace muster::supervisor {

class ControlClient {
 public:
  ControlClient(Loop& loop, const std::string& path);
  ControlClient(const ControlClient&) = delete;
  ControlClient& operator=(const ControlClient&) = delete;

  [[nodiscard]] bool connected() const { return fd_.valid(); }
  void send(std::string text);  // as the server takes it
  void listen_no_more();        // stays connected, reads nothing
  void listen_again();
  void end_of_input();  // shutdown(2)
  void hang_up();
  [[nodiscard]] const std::string& received() const { return received_; }
  [[nodiscard]] bool ended() const { return ended_; }  // the server has closed
  [[nodiscard]] bool unsent() const { return !unsent_.empty(); }

  bool receives(const std::string& text);  // waits for it
  bool sees_end();
  void forget() { received_.clear(); }

 private:
  void watch();
  void read_on();
  void write_on();

  Loop& loop_;
  Fd fd_;
  UvPoll poll_;
  bool listening_ = true;
  std::string unsent_;
  std::string received_;
  bool ended_ = false;
};

}  // namespace muster::supervisor
