// HTTP/1.1 of the control socket as text: bytes to requests, answers to bytes. Touches no socket.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "supervisor/control_server.h"

namespace muster::supervisor {

// Reads one request after the other from a stream of bytes.
class ControlRequestReader {
 public:
  ControlRequestReader();
  ~ControlRequestReader();
  ControlRequestReader(const ControlRequestReader&) = delete;
  ControlRequestReader& operator=(const ControlRequestReader&) = delete;

  enum class State {
    between,   // nothing of a request has come
    inside,    // a part of one
    complete,  // take() it
    failed,    // see error_status() and error_text(); nothing after it is read
  };
  // Bytes that come while a request is complete are kept for the next one.
  void feed(std::string_view bytes);
  [[nodiscard]] State state() const { return state_; }
  // True once per request, when its sender waits for "100 Continue" before the body.
  bool take_wants_continue();

  // The complete request, without its peer; the reader goes on with the bytes behind it.
  ControlRequest take();
  // Of the request that was taken last.
  [[nodiscard]] bool keep_alive() const { return keep_alive_; }
  [[nodiscard]] bool can_chunk() const { return can_chunk_; }  // not in HTTP/1.0
  [[nodiscard]] bool is_head() const { return is_head_; }
  [[nodiscard]] std::size_t bytes_kept() const { return kept_.size(); }

  [[nodiscard]] int error_status() const { return error_status_; }
  [[nodiscard]] const std::string& error_text() const { return error_text_; }

 private:
  struct Parser;
  void parse();
  void finish();
  void fail(int status, std::string text);

  std::unique_ptr<Parser> parser_;
  std::string kept_;
  State state_ = State::between;
  ControlRequest request_;
  bool continue_said_ = false;
  bool keep_alive_ = false;
  bool can_chunk_ = true;
  bool is_head_ = false;
  bool next_keep_alive_ = false;
  bool next_can_chunk_ = true;
  bool next_is_head_ = false;
  int error_status_ = 0;
  std::string error_text_;
};

inline constexpr std::string_view json_content = "application/json";
inline constexpr std::string_view lines_content = "application/x-ndjson";

// The head of an answer. `length` none: the body is chunked, or ends with the connection when `chunked` is false.
std::string response_head(int status, std::string_view content_type, std::optional<std::size_t> length,
                          bool chunked, bool keep_alive);
void append_chunk(std::string& to, std::string_view data);
inline constexpr std::string_view last_chunk = "0\r\n\r\n";

std::string error_body(std::string_view text);  // {"error":"…"}

}  // namespace muster::supervisor
