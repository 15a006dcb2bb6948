// The syntax of a head: request line or status line, then field lines. What the fields mean is http_rules.cpp's.
#include "lb/http_head.h"

#include <cstring>

#include "lb/http_rules.h"
#include "lb/http_scan.h"

namespace muster::lb {

namespace {
constexpr HeadVerdict need_more{};
constexpr HeadVerdict bad(int status, const char* reason) {
  return {.state = HeadState::bad, .status = status, .reason = reason};
}
constexpr HeadVerdict complete{.state = HeadState::complete};

struct Cursor {
  const char* begin;
  const char* at;
  const char* end;
  [[nodiscard]] bool empty() const { return at == end; }
  [[nodiscard]] std::size_t left() const { return static_cast<std::size_t>(end - at); }
};

template <std::size_t Size>
bool begins_with(const char* at, const char* end,
                 const char (&text)[Size]) {  // NOLINT(modernize-avoid-c-arrays)
  constexpr std::size_t bytes = Size - 1;
  return end - at >= static_cast<std::ptrdiff_t>(bytes) && std::memcmp(at, text, bytes) == 0;
}

// At CR: takes CRLF.
inline HeadVerdict take_crlf(Cursor& in) {
  if (begins_with(in.at, in.end, "\r\n")) {
    in.at += 2;
    return complete;
  }
  if (in.empty()) return need_more;
  if (*in.at != '\r') return bad(400, "a control byte or a bare LF in the head");
  return in.left() < 2 ? need_more : bad(400, "a bare CR in the head");
}

// What is wrong with the field line at `in`, or missing of it. take_fields() found out that something is.
HeadVerdict judge_line(Cursor in) {
  const char* const begin = in.at;
  const char* const colon = scan::skip(begin, in.end, scan::token);
  if (colon == in.end) return need_more;
  if (colon == begin) {
    const bool folded = *begin == ' ' || *begin == '\t';
    return bad(400, folded ? "a folded field line (obs-fold)" : "a field line without a name");
  }
  if (*colon != ':') return bad(400, "a field name that is no token, or white space before its colon");
  in.at = scan::find_control(in.begin, colon + 1, in.end);
  return take_crlf(in);
}

// Of a byte that is no control byte.
inline bool is_blank(char c) {
  return static_cast<unsigned char>(c) <= ' ';
}

HeadVerdict take_fields(Cursor& in, HeadFields& fields) {
  const char* const begin = in.begin;
  const char* const end = in.end;
  std::uint32_t kinds = 0;
  bool canonical = true;
  Field* field = fields.items.data();
  const Field* const last = field + fields.items.size();
  const char* at = in.at;
  while (at != end && *at != '\r') {
    const char* colon = scan::skip_plain(begin, at, end);
    const bool plain = colon != end && *colon == ':';
    if (!plain) colon = scan::skip(colon, end, scan::token);
    const bool named = colon != end && *colon == ':' && colon != at;
    // The value is over at the first control byte; anything but CRLF there is refused.
    const char* const stop = named ? scan::find_control(begin, colon + 1, end) : end;
    if (field == last) return bad(431, "more than 100 header fields");
    if (!begins_with(stop, end, "\r\n")) {
      in.at = at;
      return judge_line(in);
    }
    field->name = {at, static_cast<std::size_t>(colon - at)};
    field->kind = plain ? kind_of_plain_field(field->name) : kind_of_field(field->name);
    field->canonical = colon[1] == ' ' && !is_blank(colon[2]) && !is_blank(stop[-1]);
    if (field->canonical) {
      field->value = {colon + 2, static_cast<std::size_t>(stop - colon) - 2};
    } else {
      field->value = scan::trim({colon + 1, static_cast<std::size_t>(stop - colon) - 1});
      canonical = false;
    }
    kinds |= 1U << static_cast<unsigned>(field->kind);
    ++field;
    at = stop + 2;
  }
  in.at = at;
  fields.count = static_cast<std::size_t>(field - fields.items.data());
  fields.kinds = kinds;
  fields.canonical = canonical;
  return take_crlf(in);
}

// "HTTP/1.0" or "HTTP/1.1". A higher minor version is processed as 1.1 (RFC 9110 2.5), another major one is 505.
HeadVerdict take_version(Cursor& in, int& minor) {
  constexpr std::string_view prefix = "HTTP/";
  const std::string_view rest(in.at, in.left());
  if (rest.size() < prefix.size() + 3) {
    const bool begins = rest.substr(0, prefix.size()) == prefix.substr(0, rest.size());
    return begins ? need_more : bad(400, "a malformed HTTP version");
  }
  const bool formed = rest.substr(0, prefix.size()) == prefix && scan::is(rest[5], scan::digit) &&
                      rest[6] == '.' && scan::is(rest[7], scan::digit);
  if (!formed) return bad(400, "a malformed HTTP version");
  if (rest[5] != '1') return bad(505, "a major version of HTTP other than 1");
  minor = rest[7] == '0' ? 0 : 1;
  in.at += prefix.size() + 3;
  return complete;
}

std::string_view line_until(const Cursor& in, const char* begin) {
  return {begin, static_cast<std::size_t>(in.at - begin)};
}

constexpr std::size_t method_bytes_max = 32;

HeadVerdict take_request_line(Cursor& in, RequestHead& head) {
  const char* at = scan::skip(in.at, in.end, scan::token);
  if (static_cast<std::size_t>(at - in.at) > method_bytes_max)
    return bad(501, "a method longer than 32 bytes");
  if (at == in.end) return need_more;
  if (at == in.at || *at != ' ') return bad(400, "a malformed method");
  head.method = {in.at, static_cast<std::size_t>(at - in.at)};
  const char* const target = ++at;
  at = scan::skip_target(in.begin, target, in.end);
  if (static_cast<std::size_t>(at - target) > limits::http_target_bytes_max)
    return bad(414, "a request target longer than 16 KiB");
  if (at == in.end) return need_more;
  if (at == target || *at != ' ') return bad(400, "a malformed request target");
  head.target = {target, static_cast<std::size_t>(at - target)};
  static constexpr char usual_end[] = " HTTP/1.1\r\n";  // NOLINT(modernize-avoid-c-arrays)
  if (begins_with(at, in.end, usual_end)) {
    in.at = at + sizeof usual_end - 1;
    head.minor = 1;
    head.start_line = line_until(in, head.method.data());
    return complete;
  }
  in.at = at + 1;
  const HeadVerdict version = take_version(in, head.minor);
  if (version.state != HeadState::complete) return version;
  const bool is_1_1 = in.at[-1] == '1';
  const HeadVerdict end = take_crlf(in);
  head.start_line = is_1_1 ? line_until(in, head.method.data()) : std::string_view{};
  return end;
}

HeadVerdict take_status_line(Cursor& in, ResponseHead& head) {
  const char* const begin = in.at;
  static constexpr char usual[] = "HTTP/1.1 200 OK\r\n";  // NOLINT(modernize-avoid-c-arrays)
  if (begins_with(begin, in.end, usual)) {
    constexpr std::size_t reason_bytes = 2;
    in.at = begin + sizeof usual - 1;
    head.minor = 1;
    head.status = 200;
    head.reason = {in.at - 2 - reason_bytes, reason_bytes};
    head.start_line = line_until(in, begin);
    return complete;
  }
  if (begins_with(in.at, in.end, "HTTP/1.1")) {
    head.minor = 1;
    in.at += 8;
  } else {
    const HeadVerdict version = take_version(in, head.minor);
    if (version.state != HeadState::complete) return version;
  }
  if (in.left() < 5) return need_more;  // " 200" and one byte that ends or goes on
  const bool canonical = in.at[-1] == '1' && in.at[4] == ' ';
  const bool formed = in.at[0] == ' ' && scan::is(in.at[1], scan::digit) && scan::is(in.at[2], scan::digit) &&
                      scan::is(in.at[3], scan::digit) && (in.at[4] == ' ' || in.at[4] == '\r');
  if (!formed) return bad(502, "a malformed status line");
  head.status = (in.at[1] - '0') * 100 + (in.at[2] - '0') * 10 + (in.at[3] - '0');
  if (head.status < 100 || head.status > 599) return bad(502, "a status code outside 100-599");
  in.at += in.at[4] == ' ' ? 5 : 4;  // the reason and its space are left out by many
  const char* const stop = scan::find_control(in.begin, in.at, in.end);
  if (stop == in.end) return need_more;
  head.reason = {in.at, static_cast<std::size_t>(stop - in.at)};
  in.at = stop;
  const HeadVerdict end = take_crlf(in);
  head.start_line = canonical ? line_until(in, begin) : std::string_view{};
  return end;
}

Cursor head_of(std::string_view bytes) {
  const char* const begin = bytes.data();
  return {.begin = begin, .at = begin, .end = begin + std::min(bytes.size(), limits::http_head_bytes_max)};
}

// A head that is not over within the limit never will be accepted.
HeadVerdict limited(HeadVerdict verdict, std::size_t bytes) {
  if (verdict.state == HeadState::need_more && bytes >= limits::http_head_bytes_max)
    return bad(431, "a head longer than 32 KiB");
  return verdict;
}
}  // namespace

HeadVerdict parse_request(std::string_view bytes, RequestHead& head) {
  Cursor in = head_of(bytes);
  if (in.empty()) return need_more;
  if (*in.at ==
      '\r') {  // one empty line before the request line is the usual leftover of old clients (RFC 9112 2.2)
    const HeadVerdict empty_line = take_crlf(in);
    if (empty_line.state != HeadState::complete) return empty_line;
  }
  HeadVerdict verdict = take_request_line(in, head);
  if (verdict.state == HeadState::complete) verdict = take_fields(in, head.fields);
  if (verdict.state != HeadState::complete) return limited(verdict, bytes.size());
  head.bytes = static_cast<std::size_t>(in.at - bytes.data());
  return judge_request(head);
}

HeadVerdict parse_response(std::string_view bytes, ResponseHead& head) {
  Cursor in = head_of(bytes);
  HeadVerdict verdict = in.empty() ? need_more : take_status_line(in, head);
  if (verdict.state == HeadState::complete) verdict = take_fields(in, head.fields);
  if (verdict.state == HeadState::complete) {
    head.bytes = static_cast<std::size_t>(in.at - bytes.data());
    verdict = judge_response(head);
  } else {
    verdict = limited(verdict, bytes.size());
  }
  if (verdict.state == HeadState::bad) verdict.status = 502;
  return verdict;
}

bool parse_trailer_line(std::string_view line, Field& field) {
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos || colon == 0) return false;
  field.name = line.substr(0, colon);
  field.value = scan::trim(line.substr(colon + 1));
  if (!scan::all_are(field.name, scan::token)) return false;
  const char* const end = field.value.data() + field.value.size();
  if (scan::find_control(field.value.data(), field.value.data(), end) != end) return false;
  field.kind = kind_of_field(field.name);
  return true;
}

}  // namespace muster::lb
