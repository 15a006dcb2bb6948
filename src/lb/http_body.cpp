#include "lb/http_body.h"

#include <algorithm>
#include <limits>

#include "base/limits.h"
#include "lb/http_scan.h"

namespace muster::lb {

namespace {
constexpr int size_digits_max = 16;

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Framing, routing and connection fields have no business after the body (RFC 9110 6.5.1).
bool may_be_trailer(const Field& field) {
  return field.kind == FieldKind::other;
}
}  // namespace

ChunkedDecoder::At ChunkedDecoder::on_size_digit(char c) {
  const int value = hex_value(c);
  if (value >= 0) {
    if (++digits_ > size_digits_max) return At::bad;
    left_ = left_ * 16 + static_cast<std::uint64_t>(value);
    return At::size;
  }
  if (digits_ == 0) return At::bad;
  extension_ = 0;
  if (c == '\r') return At::size_lf;
  if (c == ';') return At::extension;
  return c == ' ' || c == '\t' ? At::extension_space : At::bad;
}

ChunkedDecoder::At ChunkedDecoder::on_extension_byte(char c) {
  if (c == '\r') return At::size_lf;
  if (scan::is_control(c)) return At::bad;
  if (++extension_ > limits::http_chunk_ext_bytes_max) return At::bad;
  if (++extension_total_ > limits::http_chunk_ext_total_max) return At::bad;
  return At::extension;
}

ChunkedDecoder::At ChunkedDecoder::after_size_line() {
  digits_ = 0;
  if (left_ > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return At::bad;
  return left_ == 0 ? At::line_start : At::data;
}

ChunkedDecoder::At ChunkedDecoder::on_trailer_byte(char c) {
  if (c == '\r') return At::line_lf;
  if (scan::is_control(c) || trailers_.size() + 2 > limits::http_trailer_bytes_max) return At::bad;
  trailers_.push_back(c);
  return At::line;
}

ChunkedDecoder::At ChunkedDecoder::after_trailer_line() {
  Field field;
  if (!parse_trailer_line(std::string_view(trailers_).substr(line_begin_), field)) return At::bad;
  if (may_be_trailer(field)) {
    trailers_ += "\r\n";
  } else {
    trailers_.resize(line_begin_);
  }
  return At::line_start;
}

ChunkedDecoder::At ChunkedDecoder::step(char c) {
  switch (at_) {
    case At::size_first:
    case At::size:
      return on_size_digit(c);
    case At::extension_space:
      if (++extension_ > limits::http_chunk_ext_bytes_max) return At::bad;
      if (c == ';') return At::extension;
      return c == ' ' || c == '\t' ? At::extension_space : At::bad;
    case At::extension:
      return on_extension_byte(c);
    case At::size_lf:
      return c == '\n' ? after_size_line() : At::bad;
    case At::data_cr:
      return c == '\r' ? At::data_lf : At::bad;
    case At::data_lf:
      return c == '\n' ? At::size_first : At::bad;
    case At::line_start:
      if (c == '\r') return At::last_lf;
      line_begin_ = trailers_.size();
      return on_trailer_byte(c);
    case At::line:
      return on_trailer_byte(c);
    case At::line_lf:
      return c == '\n' ? after_trailer_line() : At::bad;
    case At::last_lf:
      return c == '\n' ? At::done : At::bad;
    case At::data:
    case At::done:
    case At::bad:
      return at_;
  }
  return At::bad;
}

BodyPiece ChunkedDecoder::next(std::string_view input) {
  BodyPiece piece;
  while (piece.consumed < input.size() && at_ != At::data && at_ != At::done && at_ != At::bad)
    at_ = step(input[piece.consumed++]);
  if (at_ == At::data && piece.consumed < input.size()) {
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(left_, input.size() - piece.consumed));
    piece.payload = input.substr(piece.consumed, size);
    piece.consumed += size;
    left_ -= size;
    if (left_ == 0) at_ = At::data_cr;
  }
  if (at_ == At::done) piece.state = BodyState::done;
  if (at_ == At::bad) piece.state = BodyState::bad;
  return piece;
}

BodyPiece BodyReader::next_unsized(std::string_view input) {
  BodyPiece piece;
  switch (kind_) {
    case BodyKind::none:
    case BodyKind::sized:
      piece.state = BodyState::done;
      break;
    case BodyKind::chunked:
      piece = chunks_->next(input);
      break;
    case BodyKind::until_close:
      piece.consumed = input.size();
      piece.payload = input;
      break;
  }
  if (piece.state == BodyState::done) done_ = true;
  return piece;
}

}  // namespace muster::lb
