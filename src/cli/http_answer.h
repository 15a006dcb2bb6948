// One HTTP/1.1 answer of our own control server, read piece by piece: Content-Length, chunked, or up to the end of
// the connection. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace muster::cli {

class HttpAnswer {
 public:
  // Bytes as they came. An error means that the other side speaks no HTTP/1.1: nothing more may be fed.
  Status feed(std::string_view bytes);
  // The connection has ended. An error when the answer was not complete.
  Status end();

  [[nodiscard]] bool has_head() const { return state_ != State::head; }
  [[nodiscard]] bool complete() const { return state_ == State::done; }
  [[nodiscard]] int status() const { return status_; }
  // The part of the body that came since the last call.
  [[nodiscard]] std::string take_body();
  [[nodiscard]] std::size_t body_bytes() const { return body_.size(); }

 private:
  enum class State : std::uint8_t { head, length, until_end, chunk_size, chunk, chunk_end, trailer, done };
  Status step(bool& moved);
  Status read_head(bool& moved);
  Status read_chunk_size(bool& moved);
  void read_counted(State after, bool& moved);
  bool take_line(std::string& line);

  State state_ = State::head;
  int status_ = 0;
  std::uint64_t left_ = 0;
  std::string input_;
  std::string body_;
};

// Cuts what was fed so far into lines (NDJSON); the rest waits for its line feed.
class Lines {
 public:
  void add(std::string_view bytes) { rest_ += bytes; }
  // False when no whole line is left.
  bool next(std::string& line);
  [[nodiscard]] std::size_t waiting_bytes() const { return rest_.size() - at_; }

 private:
  std::string rest_;
  std::size_t at_ = 0;
};

}  // namespace muster::cli
