#include "supervisor/control_http.h"

#include <fmt/format.h>

#include <boost/asio/buffer.hpp>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/status.hpp>
#include <boost/beast/http/string_body.hpp>
#include <optional>

#include "base/limits.h"
#include "supervisor/text.h"

namespace muster::supervisor {

namespace http = boost::beast::http;

namespace {

constexpr std::uint32_t head_bytes_max = 16U << 10U;

std::string_view view(boost::beast::string_view text) {
  return {text.data(), text.size()};
}

std::optional<int> hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return std::nullopt;
}

// As in forms: "+" is a space.
std::optional<std::string> percent_decode(std::string_view text) {
  std::string decoded;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i] == '+' ? ' ' : text[i];
      continue;
    }
    const auto high = i + 2 < text.size() ? hex_digit(text[i + 1]) : std::nullopt;
    const auto low = i + 2 < text.size() ? hex_digit(text[i + 2]) : std::nullopt;
    if (!high || !low) return std::nullopt;
    decoded += static_cast<char>(*high * 16 + *low);
    i += 2;
  }
  return decoded;
}

bool read_query(std::string_view text, std::map<std::string, std::string>& query) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('&'), text.size());
    const std::string_view pair = text.substr(0, end);
    const std::size_t equals = std::min(pair.find('='), pair.size());
    auto name = percent_decode(pair.substr(0, equals));
    auto value = percent_decode(pair.substr(std::min(equals + 1, pair.size())));
    if (!name || !value) return false;
    if (!pair.empty()) query[std::move(*name)] = std::move(*value);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return true;
}

}  // namespace

struct ControlRequestReader::Parser {
  Parser() {
    parser.header_limit(head_bytes_max);
    parser.body_limit(limits::control_request_bytes_max);
    parser.eager(true);
  }
  http::request_parser<http::string_body> parser;
};

ControlRequestReader::ControlRequestReader() = default;
ControlRequestReader::~ControlRequestReader() = default;

void ControlRequestReader::fail(int status, std::string text) {
  state_ = State::failed;
  error_status_ = status;
  error_text_ = std::move(text);
  kept_ = {};
}

void ControlRequestReader::feed(std::string_view bytes) {
  if (state_ == State::failed) return;
  kept_ += bytes;
  if (state_ != State::complete) parse();
}

void ControlRequestReader::parse() {
  // Empty lines before a request line are allowed for (RFC 9112, 2.2).
  if (!parser_) kept_.erase(0, std::min(kept_.find_first_not_of("\r\n"), kept_.size()));
  if (kept_.empty()) return;
  if (!parser_) parser_ = std::make_unique<Parser>();
  state_ = State::inside;
  auto& parser = parser_->parser;
  std::size_t used = 0;
  while (!parser.is_done() && used < kept_.size()) {
    boost::beast::error_code error;
    const std::size_t eaten =
        parser.put(boost::asio::buffer(kept_.data() + used, kept_.size() - used), error);
    used += eaten;
    if (error == http::error::need_more || (!error && eaten == 0)) break;
    if (error == http::error::body_limit)
      return fail(413, fmt::format("a request may have {} bytes", limits::control_request_bytes_max));
    if (error == http::error::header_limit)
      return fail(431, fmt::format("the head of a request may have {} bytes", head_bytes_max));
    if (error) return fail(400, "this is not an HTTP/1.1 request: " + error.message());
  }
  kept_.erase(0, used);
  if (parser.is_done()) finish();
}

void ControlRequestReader::finish() {
  auto& parser = parser_->parser;
  const auto& message = parser.get();
  if (message.find(http::field::transfer_encoding) != message.end() && !parser.chunked())
    return fail(400, "no transfer coding but 'chunked' is known here");
  const std::string_view target = view(message.target());
  const std::size_t mark = std::min(target.find('?'), target.size());
  request_ = {};
  request_.method = view(message.method_string());
  request_.path = target.substr(0, mark);
  if (!request_.path.starts_with('/')) return fail(400, "the target of a request begins with /");
  if (!read_query(target.substr(std::min(mark + 1, target.size())), request_.query))
    return fail(400, "the query has a % that is not followed by two hexadecimal digits");
  next_keep_alive_ = parser.keep_alive();
  next_can_chunk_ = message.version() >= 11;
  next_is_head_ = message.method() == http::verb::head;
  request_.body = std::move(parser.get().body());
  state_ = State::complete;
}

bool ControlRequestReader::take_wants_continue() {
  if (state_ != State::inside || continue_said_ || !parser_->parser.is_header_done()) return false;
  const auto& message = parser_->parser.get();
  const auto expect = message.find(http::field::expect);
  continue_said_ = expect != message.end() && message.version() >= 11 &&
                   boost::beast::iequals(expect->value(), "100-continue");
  return continue_said_;
}

ControlRequest ControlRequestReader::take() {
  keep_alive_ = next_keep_alive_;
  can_chunk_ = next_can_chunk_;
  is_head_ = next_is_head_;
  parser_.reset();
  continue_said_ = false;
  state_ = State::between;
  ControlRequest taken = std::move(request_);
  parse();
  return taken;
}

std::string response_head(int status, std::string_view content_type, std::optional<std::size_t> length,
                          bool chunked, bool keep_alive) {
  std::string head = fmt::format(
      "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nCache-Control: no-store\r\n", status,
      view(http::obsolete_reason(http::int_to_status(static_cast<unsigned>(status)))), content_type);
  if (length) {
    head += fmt::format("Content-Length: {}\r\n", *length);
  } else if (chunked) {
    head += "Transfer-Encoding: chunked\r\n";
  }
  head += keep_alive ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n";
  return head;
}

void append_chunk(std::string& to, std::string_view data) {
  to += fmt::format("{:x}\r\n{}\r\n", data.size(), data);
}

std::string error_body(std::string_view text) {
  std::string body = R"({"error":)";
  append_json_string(body, text);
  return body + '}';
}

}  // namespace muster::supervisor
