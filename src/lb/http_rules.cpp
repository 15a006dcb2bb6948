#include "lb/http_rules.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "lb/http_scan.h"

namespace muster::lb {

namespace {
constexpr HeadVerdict complete{.state = HeadState::complete};
constexpr HeadVerdict bad(int status, const char* reason) {
  return {.state = HeadState::bad, .status = status, .reason = reason};
}

// 1*DIGIT up to 2^63-1: no sign, no space, no list. Every proxy that was laxer had its own smuggling hole.
bool parse_length(std::string_view text, std::uint64_t& length) {
  constexpr auto max = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  constexpr std::size_t always_fits = 18;  // digits
  if (text.empty()) return false;
  std::uint64_t number = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto value = static_cast<std::uint64_t>(static_cast<unsigned char>(text[i])) - '0';
    if (value > 9) return false;
    if (i >= always_fits && number > (max - value) / 10) return false;
    number = number * 10 + value;
  }
  length = number;
  return true;
}

// uri-host [ ":" port ] (RFC 9110 7.2). A bracketed address is checked for its alphabet only.
bool is_authority(std::string_view text) {
  if (text.size() >= scan::name_bytes_min && scan::is_plain_host(text)) return true;
  std::string_view port;
  if (!text.empty() && text.front() == '[') {
    const std::size_t close = text.find(']');
    if (close == std::string_view::npos || close < 3) return false;
    if (text.substr(1, close - 1).find_first_not_of("0123456789abcdefABCDEF:.") != std::string_view::npos)
      return false;
    port = text.substr(close + 1);
  } else {
    const char* const end = text.data() + text.size();
    const char* const name_end = scan::skip(text.data(), end, scan::host);
    if (name_end == text.data() || (name_end != end && *name_end != ':')) return false;
    port = {name_end, static_cast<std::size_t>(end - name_end)};
  }
  if (port.empty()) return true;
  std::uint64_t number = 0;
  if (port.front() != ':' || port.size() > 6) return false;
  return port.size() == 1 || (parse_length(port.substr(1), number) && number <= 65535);
}

void mark_named(HeadFields& fields, std::string_view name) {
  for (Field& field : fields.all()) {
    const bool same = field.name.size() == name.size() && field.kind == FieldKind::other;
    if (!same) continue;
    bool equal = true;
    for (std::size_t i = 0; i < name.size() && equal; ++i) equal = (field.name[i] | 0x20) == (name[i] | 0x20);
    if (!equal) continue;
    field.kind = FieldKind::named_by_connection;
    fields.kinds |= 1U << static_cast<unsigned>(FieldKind::named_by_connection);
  }
}

// The Upgrade field's list has HTTP/2 in it ("h2c", "HTTP/2.0").
bool names_http2(std::string_view protocols) {
  while (!protocols.empty()) {
    const std::size_t comma = protocols.find(',');
    const std::string_view protocol = scan::trim(protocols.substr(0, comma));
    protocols = comma == std::string_view::npos ? std::string_view{} : protocols.substr(comma + 1);
    if (equals_ignoring_case(protocol.substr(0, 2), "h2") ||
        equals_ignoring_case(protocol.substr(0, 6), "http/2"))
      return true;
  }
  return false;
}

struct ConnectionOptions {
  bool close = false;
  bool keep_alive = false;
  bool upgrade = false;
};

// False: not a list of tokens, or it names a field that frames or routes the message.
bool read_connection(std::string_view value, HeadFields& fields, ConnectionOptions& options) {
  while (!value.empty()) {
    const std::size_t comma = value.find(',');
    const std::string_view option = scan::trim(value.substr(0, comma));
    value = comma == std::string_view::npos ? std::string_view{} : value.substr(comma + 1);
    if (option.empty()) continue;  // empty list elements: RFC 9110 5.6.1.2
    if (!scan::all_are(option, scan::token)) return false;
    if (equals_ignoring_case(option, "close")) {
      options.close = true;
    } else if (equals_ignoring_case(option, "keep-alive")) {
      options.keep_alive = true;
    } else if (equals_ignoring_case(option, "upgrade")) {
      options.upgrade = true;
    } else {
      const FieldKind kind = kind_of_field(option);
      if (kind == FieldKind::host || kind == FieldKind::content_length ||
          kind == FieldKind::transfer_encoding)
        return false;
      mark_named(fields, option);
    }
  }
  return true;
}

// Where nothing but a length says how the message goes on.
HeadVerdict judge_length(const HeadFields& fields, Framing& framing) {
  for (const Field& field : fields.all()) {
    if (field.kind != FieldKind::content_length) continue;
    if (framing.has_length) return bad(400, "two Content-Length fields");
    if (!parse_length(field.value, framing.length)) return bad(400, "a malformed Content-Length");
    framing.has_length = true;
  }
  if (framing.length > 0) framing.body = BodyKind::sized;
  return complete;
}

// What both directions share: one length or one coding, never both; Connection.
HeadVerdict judge_framing(HeadFields& fields, int minor, Framing& framing) {
  framing = {};
  framing.keep_alive = minor == 1;
  if (!fields.has(FieldKind::connection) && !fields.has(FieldKind::transfer_encoding))
    return fields.has(FieldKind::content_length) ? judge_length(fields, framing) : complete;
  ConnectionOptions options;
  bool has_upgrade = false;
  bool to_http2 = false;
  for (Field& field : fields.all()) {
    if (field.kind == FieldKind::other) continue;
    if (field.kind == FieldKind::content_length) {
      if (framing.has_length) return bad(400, "two Content-Length fields");
      if (!parse_length(field.value, framing.length)) return bad(400, "a malformed Content-Length");
      framing.has_length = true;
    } else if (field.kind == FieldKind::transfer_encoding) {
      if (framing.has_coding) return bad(400, "two Transfer-Encoding fields");
      if (minor == 0) return bad(400, "a Transfer-Encoding in HTTP/1.0");
      if (!equals_ignoring_case(field.value, "chunked"))
        return bad(400, "a Transfer-Encoding other than chunked");
      framing.has_coding = true;
    } else if (field.kind == FieldKind::connection) {
      if (!read_connection(field.value, fields, options)) return bad(400, "a malformed Connection field");
    } else if (field.kind == FieldKind::upgrade) {
      // Upgrading to HTTP/2 would carry requests past the routing: as if it was not asked for.
      has_upgrade = has_upgrade || !field.value.empty();
      to_http2 = to_http2 || names_http2(field.value);
    }
  }
  if (framing.has_length && framing.has_coding) return bad(400, "Content-Length beside Transfer-Encoding");
  if (framing.has_coding) framing.body = BodyKind::chunked;
  if (framing.has_length && framing.length > 0) framing.body = BodyKind::sized;
  framing.keep_alive = !options.close && (minor == 1 || options.keep_alive);
  framing.upgrade = options.upgrade && has_upgrade && !to_http2 && minor == 1;
  return complete;
}

HeadVerdict judge_host(RequestHead& head) {
  bool seen = false;
  for (const Field& field : head.fields.all()) {
    if (field.kind != FieldKind::host) continue;
    if (seen) return bad(400, "two Host fields");
    if (!is_authority(field.value)) return bad(400, "a malformed Host");
    seen = true;
    head.authority = field.value;
  }
  if (!seen && head.minor == 1) return bad(400, "no Host in HTTP/1.1");
  return complete;
}

// RFC 9112 3.2: a proxy takes the authority of an absolute-form target and drops Host.
HeadVerdict judge_target(RequestHead& head) {
  std::string_view target = head.target;
  if (target.front() == '/') return complete;
  if (target == "*")
    return head.method == "OPTIONS" ? complete : bad(400, "the target * of a method other than OPTIONS");
  const std::size_t scheme = target.find("://");
  const bool ours =
      scheme != std::string_view::npos && (equals_ignoring_case(target.substr(0, scheme), "http") ||
                                           equals_ignoring_case(target.substr(0, scheme), "https"));
  if (!ours) return bad(400, "a request target that is neither a path nor an http URL");
  head.start_line = {};
  target.remove_prefix(scheme + 3);
  const std::size_t path = target.find_first_of("/?");
  head.authority = target.substr(0, path);
  if (!is_authority(head.authority)) return bad(400, "a malformed authority in the request target");
  if (path == std::string_view::npos) {
    head.target = head.method == "OPTIONS" ? "*" : "/";  // RFC 9112 3.2.4
  } else {
    head.target = target.substr(path);
  }
  return complete;
}

HeadVerdict judge_lookalikes(const RequestHead& head) {
  if (!head.fields.has(FieldKind::lookalike)) return complete;
  for (const Field& field : head.fields.all()) {
    const char first = static_cast<char>(field.name.front() | 0x20);  // Content_Length, Transfer_Encoding
    const bool frames = field.kind == FieldKind::lookalike && (first == 'c' || first == 't');
    if (frames) return bad(400, "a field that frames the message, spelled with _");
  }
  return complete;  // the others are dropped
}

// One that is no number is passed on like any other field.
void read_max_forwards(RequestHead& head) {
  head.hops_left.reset();
  if (!head.fields.has(FieldKind::max_forwards) || (head.method != "OPTIONS" && head.method != "TRACE"))
    return;
  for (const Field& field : head.fields.all()) {
    std::uint64_t number = 0;
    if (field.kind == FieldKind::max_forwards && parse_length(field.value, number))
      head.hops_left = std::min(number, head.hops_left.value_or(number));
  }
}

HeadVerdict judge_expect(RequestHead& head) {
  head.expect_continue = false;
  if (!head.fields.has(FieldKind::expect)) return complete;
  for (const Field& field : head.fields.all()) {
    if (field.kind != FieldKind::expect) continue;
    if (!equals_ignoring_case(field.value, "100-continue"))
      return bad(417, "an expectation other than 100-continue");
    head.expect_continue = head.minor == 1;
  }
  return complete;
}
}  // namespace

// Bit 5 tells the cases of a letter apart; digits, '-' and '/' have it, and without it they would be control bytes.
bool equals_ignoring_case(std::string_view text, std::string_view lower_case) {
  const std::size_t size = text.size();
  if (size != lower_case.size()) return false;
  const auto differ = [&]<typename Word>(Word case_bits, std::size_t at) {
    Word ours = 0;
    Word theirs = 0;
    std::memcpy(&ours, text.data() + at, sizeof ours);
    std::memcpy(&theirs, lower_case.data() + at, sizeof theirs);
    return (ours | case_bits) != theirs;
  };
  constexpr std::uint64_t of_eight = 0x2020202020202020U;
  constexpr std::uint32_t of_four = 0x20202020U;
  if (size >= 8) {
    for (std::size_t at = 0; at + 8 < size; at += 8) {
      if (differ(of_eight, at)) return false;
    }
    return !differ(of_eight, size - 8);
  }
  if (size >= 4) return !differ(of_four, 0) && !differ(of_four, size - 4);
  for (std::size_t at = 0; at < size; ++at) {
    if ((text[at] | 0x20) != lower_case[at]) return false;
  }
  return true;
}

bool same_name(std::string_view one, std::string_view other) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return one.size() == other.size() && std::ranges::equal(one, other, {}, lower, lower);
}

namespace {
// Where fields become variables of a program (CGI, WSGI, Rack), '-' and '_' are the same.
FieldKind kind_with_underscores(std::string_view name) {
  constexpr std::size_t shortest = 12;
  constexpr std::size_t longest = 17;
  if (name.size() < shortest || name.size() > longest) return FieldKind::other;
  std::array<char, longest> spelled{};
  std::ranges::replace_copy(name, spelled.begin(), '_', '-');
  return kind_of_plain_field({spelled.data(), name.size()}) == FieldKind::other ? FieldKind::other
                                                                                : FieldKind::lookalike;
}
}  // namespace

FieldKind kind_of_field(std::string_view name) {
  const FieldKind kind = kind_of_plain_field(name);
  if (kind != FieldKind::other || name.find('_') == std::string_view::npos) return kind;
  return kind_with_underscores(name);
}

HeadVerdict judge_request(RequestHead& head) {
  head.authority = {};
  if (head.method == "CONNECT") return bad(405, "the method CONNECT");
  HeadVerdict verdict = judge_framing(head.fields, head.minor, head.framing);
  if (verdict.state == HeadState::complete) verdict = judge_host(head);
  if (verdict.state == HeadState::complete) verdict = judge_target(head);
  if (verdict.state == HeadState::complete) verdict = judge_lookalikes(head);
  if (verdict.state == HeadState::complete) verdict = judge_expect(head);
  read_max_forwards(head);
  if (verdict.state == HeadState::complete && head.framing.upgrade && head.framing.body != BodyKind::none)
    head.framing.upgrade = false;  // where the body ends and the tunnel begins is not worth guessing
  return verdict;
}

HeadVerdict judge_response(ResponseHead& head) {
  const HeadVerdict verdict = judge_framing(head.fields, head.minor, head.framing);
  if (verdict.state != HeadState::complete) return verdict;
  Framing& framing = head.framing;
  const bool never_a_body = head.status < 200 || head.status == 204;
  if (never_a_body && framing.has_coding) return bad(502, "a Transfer-Encoding in an answer without a body");
  if (never_a_body && framing.body == BodyKind::sized)
    return bad(502, "a Content-Length in an answer without a body");
  if (never_a_body || head.status == 304) {
    framing.body = BodyKind::none;
  } else if (!framing.has_length && !framing.has_coding) {
    framing.body = BodyKind::until_close;
  }
  return verdict;
}

}  // namespace muster::lb
