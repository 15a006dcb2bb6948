// Heads and chunked bodies under arbitrary bytes. The first byte chooses: A answer, B chunked body, all else a request.
//
// Held to: what is complete needs every byte it took; what is written for the next hop reads as the same message; a
// body is the same however its bytes are cut; and what is accepted here is accepted, and framed alike, by Boost.Beast.
// (The other way round Beast is laxer by design: obs-fold, two Hosts, other codings.)
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "lb/http_body.h"
#include "lb/http_head.h"
#include "lb/http_write.h"

namespace {

namespace http = boost::beast::http;
using namespace muster::lb;

void require(bool holds, const char* rule, std::string_view input) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s\n", rule);
  std::fwrite(input.data(), 1, input.size(), stderr);
  std::abort();
}

// What Beast refuses and we accept on purpose.
bool is_known_divergence(std::string_view input, const HeadFields& fields) {
  const std::string_view line = input.substr(0, input.find('\r'));
  if (line.starts_with("HTTP/") && line.size() == 12)
    return true;                               // "HTTP/1.1 200": many leave out the last space
  if (input.starts_with("\r\n")) return true;  // RFC 9112 2.2: one empty line before a request is skipped
  const std::size_t version = line.starts_with("HTTP/1.") ? 0 : line.rfind("HTTP/1.");
  if (version != std::string_view::npos && version + 7 < line.size() && line[version + 7] > '1')
    return true;  // RFC 9110 2.5: a higher minor version is read as 1.1
  for (const Field& field : fields.all()) {
    if (equals_ignoring_case(field.name, "proxy-connection")) return true;  // dropped unread
  }
  return false;
}

// Our framing against Beast's. `parser` is a request or a response parser.
template <bool is_request>
void compare_with_beast(std::string_view input, const HeadFields& fields, const Framing& framing) {
  http::parser<is_request, http::string_body> parser;
  parser.header_limit(1U << 20U);
  parser.body_limit(boost::none);
  boost::beast::error_code error;
  parser.put(boost::asio::buffer(input.data(), input.size()), error);
  // The head alone matters; Beast goes on into the body.
  if (!parser.is_header_done()) {
    require(is_known_divergence(input, fields), "accepted here, refused by Beast", input);
    return;
  }
  require(parser.chunked() == framing.has_coding, "chunked or not", input);
  if (framing.has_length) {
    const auto length = parser.content_length();
    require(length.has_value() && *length == framing.length, "the same length", input);
  }
}

void prefix_needs_more(std::string_view input, std::size_t bytes) {
  RequestHead head;
  for (const std::size_t cut : {bytes - 1, bytes / 2, bytes / 3})
    require(parse_request(input.substr(0, cut), head).state == HeadState::need_more, "a prefix needs more",
            input);
}

bool same_framing(const Framing& a, const Framing& b) {
  return a.body == b.body && a.length == b.length && a.upgrade == b.upgrade;
}

void check_request(std::string_view input) {
  RequestHead head;
  const HeadVerdict verdict = parse_request(input, head);
  if (verdict.state == HeadState::bad)
    require(verdict.status >= 400 && verdict.status <= 505, "a status", input);
  if (verdict.state != HeadState::complete) return;
  prefix_needs_more(input, head.bytes);
  require(head.fields.count <= head.fields.items.size(), "field count", input);
  compare_with_beast<true>(input.substr(0, head.bytes), head.fields, head.framing);
  Buffer written;
  write_request_head(written, head, {.address = "192.0.2.1"});
  RequestHead again;
  const HeadVerdict second = parse_request(written.view(), again);
  if (second.state == HeadState::bad && second.status == 431) return;  // ours came on top of a full head
  if (head.authority.empty()) return;  // HTTP/1.0 without Host: its Host is empty
  require(second.state == HeadState::complete && again.bytes == written.size(), "written anew it reads",
          input);
  const std::string target = (head.target.starts_with('?') ? "/" : "") + std::string(head.target);
  require(again.method == head.method && again.target == target, "the same request", input);
  require(again.authority == head.authority, "the same authority", input);
  require(same_framing(again.framing, head.framing), "the same framing", input);
}

void check_answer(std::string_view input) {
  ResponseHead head;
  const HeadVerdict verdict = parse_response(input, head);
  if (verdict.state == HeadState::bad) require(verdict.status == 502, "502", input);
  if (verdict.state != HeadState::complete) return;
  compare_with_beast<false>(input.substr(0, head.bytes), head.fields, head.framing);
  Buffer written;
  AnswerForm form;
  form.body = head.framing.body;
  form.keep_length = head.framing.has_length && head.status != 204;
  form.upgrade = head.status == 101 && head.framing.upgrade;
  if (form.body == BodyKind::until_close) form.body = BodyKind::chunked;
  write_response_head(written, head, form);
  ResponseHead again;
  const HeadVerdict second = parse_response(written.view(), again);
  if (second.state == HeadState::bad && head.bytes + 64 > muster::limits::http_head_bytes_max) return;
  if (second.state == HeadState::bad && head.fields.count >= head.fields.items.size() - 1) return;
  require(second.state == HeadState::complete && again.bytes == written.size(), "written anew it reads",
          input);
  require(again.status == head.status && again.framing.body == form.body, "the same answer", input);
}

struct Body {
  std::string payload;
  std::string trailers;
  std::size_t consumed = 0;
  BodyState state = BodyState::more;
};

Body read_body(std::string_view input, std::size_t step) {
  Body body;
  ChunkedDecoder decoder;
  while (body.consumed < input.size() && body.state == BodyState::more) {
    const BodyPiece piece = decoder.next(input.substr(body.consumed, step));
    require(piece.consumed > 0 || piece.state != BodyState::more, "progress", input);
    body.payload += piece.payload;
    body.consumed += piece.consumed;
    body.state = piece.state;
  }
  body.trailers = decoder.trailers();
  return body;
}

void check_body(std::string_view input) {
  const Body whole = read_body(input, input.size() + 1);
  for (const std::size_t step : {std::size_t{1}, std::size_t{3}}) {
    const Body cut = read_body(input, step);
    require(cut.state == whole.state, "the same end", input);
    if (whole.state == BodyState::bad) continue;
    require(cut.payload == whole.payload && cut.consumed == whole.consumed, "the same payload", input);
    require(cut.trailers == whole.trailers, "the same trailers", input);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  // A copy of its own: a read behind the end is seen.
  const std::string input(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] == 'A') {
    check_answer(input);
  } else if (data[0] == 'B') {
    check_body(input);
  } else {
    check_request(input);
  }
  return 0;
}
