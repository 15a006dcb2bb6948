// One client of the control socket: reads a request, hands it on, writes the answer, and again. Its life is counted by
// whoever holds it and by libuv; a reply knows it weakly.
#pragma once

#include <uv.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "supervisor/control_http.h"
#include "supervisor/control_server.h"
#include "supervisor/control_socket.h"

namespace muster::supervisor {

inline constexpr char too_many_clients[] = "too many clients are connected";

class ControlConnection : public std::enable_shared_from_this<ControlConnection> {
 public:
  // What all connections of a server share.
  struct Host {
    ControlHandler handler;
    ControlTimes times;
    std::function<void(ControlConnection&)> on_closed;  // once; null when the server is gone
    std::uint64_t served = 0;
    std::array<char, 16U << 10U> scratch{};
  };

  // Takes the next connection from a listener; none when there is none any more.
  static std::shared_ptr<ControlConnection> accept(uv_stream_t* listener, std::shared_ptr<Host> host);

  [[nodiscard]] int fd() const;
  void serve(Peer peer);
  void turn_away(int status, std::string_view text);  // an answer without a question, then the end
  void close();                                       // at once, and nobody is told
  // Told that another client needs its place more.
  void give_way();
  [[nodiscard]] bool is_served() const { return served_; }
  // It has sent something that was not looked at yet.
  [[nodiscard]] bool has_unread() const;
  [[nodiscard]] bool is_waiting() const { return served_ && phase_ == Phase::reading; }  // for its request
  [[nodiscard]] uid_t uid() const { return peer_.uid; }
  [[nodiscard]] pid_t pid() const { return peer_.pid; }
  [[nodiscard]] std::uint64_t number() const { return number_; }  // in the order of those that are served

  // For replies; `serial` says of which request. Calls for an earlier one do nothing.
  void send(std::uint64_t serial, int status, std::string body);
  void stream(std::uint64_t serial, std::shared_ptr<ControlReply> reply, ControlReply::Source source);
  void wake(std::uint64_t serial);
  void on_gone(std::uint64_t serial, std::function<void()> hook);

 private:
  enum class Phase {
    reading,    // waits for a request; ends by a whole one, by 10 s in one, by 30 s without one
    answering,  // somebody works on it; the client may go away
    streaming,  // the answer has begun and comes from a source
    ending,     // the answer is whole, not yet written
    lingering,  // nothing more is said; what the client still sends is thrown away for a moment, so that it can read
                // the answer in peace
    closed,
  };
  struct Write;

  ControlConnection(uv_loop_t* loop, std::shared_ptr<Host> host);
  void read_on();
  void on_read(ssize_t size, const char* bytes);
  void on_end_of_input();
  void pump();
  void begin_request();
  void say_error(int status, std::string_view text);
  void pull();
  void write(std::string bytes);
  void on_written(int status);
  void finish_answer();
  void linger();
  void gone();
  void arm(Millis in);
  void on_timer();
  [[nodiscard]] bool is_hung_up() const;
  [[nodiscard]] bool is_current(std::uint64_t serial) const { return serial == serial_; }

  std::shared_ptr<Host> host_;
  std::shared_ptr<ControlConnection> self_;  // until libuv has closed both handles
  int handles_ = 0;
  uv_pipe_t pipe_{};
  uv_timer_t timer_{};
  Phase phase_ = Phase::reading;
  bool served_ = false;
  std::uint64_t number_ = 0;
  Peer peer_;
  ControlRequestReader reader_;
  ControlRequestReader::State seen_ = ControlRequestReader::State::between;  // what the timer runs for
  std::uint64_t serial_ = 0;
  bool pumping_ = false;
  bool pulling_ = false;
  bool pull_again_ = false;
  bool input_ended_ = false;  // the client has said all it will; it may still listen
  bool input_paused_ = false;
  int writes_ = 0;
  std::size_t unwritten_ = 0;  // at the last look: less of it is progress
  ControlReply::Source source_;
  std::shared_ptr<ControlReply> streaming_reply_;
  std::function<void()> gone_hook_;
};

}  // namespace muster::supervisor
