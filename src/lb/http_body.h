// Where a message body ends: by length, by chunks or with the connection (RFC 9112 6 and 7). Pure, fed piece by piece.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lb/http_head.h"

namespace muster::lb {

enum class BodyState : std::uint8_t { more, done, bad };

struct BodyPiece {
  std::size_t consumed = 0;  // of the input; what is left belongs to the next call or the next message
  std::string_view payload;  // into the input; may be empty while framing is read
  BodyState state = BodyState::more;
};

class ChunkedDecoder {
 public:
  // Takes at least one byte of a non-empty input unless done or bad; returns after each run of payload.
  BodyPiece next(std::string_view input);
  // The trailer section as it was sent, each line valid and ended by CRLF. Complete once done.
  [[nodiscard]] const std::string& trailers() const { return trailers_; }

 private:
  enum class At : std::uint8_t {
    size_first,
    size,
    extension_space,
    extension,
    size_lf,
    data,
    data_cr,
    data_lf,
    line_start,
    line,
    line_lf,
    last_lf,
    done,
    bad,
  };
  At step(char c);
  At on_size_digit(char c);
  At on_extension_byte(char c);
  At on_trailer_byte(char c);
  At after_size_line();
  At after_trailer_line();

  std::uint64_t left_ = 0;
  std::string trailers_;
  std::size_t line_begin_ = 0;
  std::uint32_t extension_total_ = 0;
  std::uint16_t extension_ = 0;
  std::uint8_t digits_ = 0;
  At at_ = At::size_first;
};

// One of the three ways, as the head said.
class BodyReader {
 public:
  BodyReader() = default;
  BodyReader(BodyKind kind, std::uint64_t length) { begin(kind, length); }
  void begin(BodyKind kind, std::uint64_t length) {  // another body
    chunks_.reset();
    if (kind == BodyKind::chunked) chunks_.emplace();
    kind_ = kind;
    done_ = false;
    left_ = length;
  }

  BodyPiece next(std::string_view input) {
    if (kind_ != BodyKind::sized) return next_unsized(input);
    const std::string_view payload =
        input.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(left_, input.size())));
    left_ -= payload.size();
    done_ = left_ == 0;
    return {
        .consumed = payload.size(), .payload = payload, .state = done_ ? BodyState::done : BodyState::more};
  }
  [[nodiscard]] BodyKind kind() const { return kind_; }
  [[nodiscard]] std::uint64_t left() const { return left_; }  // BodyKind::sized
  [[nodiscard]] bool done() const {
    return done_ || kind_ == BodyKind::none || (kind_ == BodyKind::sized && left_ == 0);
  }
  // The connection ended: is the message whole? Only one that ends with the connection, or ended before.
  [[nodiscard]] bool complete_at_close() const { return done() || kind_ == BodyKind::until_close; }
  [[nodiscard]] std::string_view trailers() const {
    return chunks_ ? std::string_view(chunks_->trailers()) : std::string_view{};
  }

 private:
  BodyPiece next_unsized(std::string_view input);

  BodyKind kind_ = BodyKind::none;
  bool done_ = false;
  std::uint64_t left_ = 0;
  std::optional<ChunkedDecoder> chunks_;  // BodyKind::chunked
};

}  // namespace muster::lb
