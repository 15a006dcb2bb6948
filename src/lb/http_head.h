// The head of an HTTP/1.x message, scanned without a copy and held to RFC 9112 without mercy: what two parsers could
// read differently is refused, because a proxy that passes it on lends itself to request smuggling.
//
// Pure: bytes in, verdict out. A head is scanned from its first byte each time more has come; the views point into
// the caller's bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/limits.h"

namespace muster::lb {

// Fields that mean something to a proxy; all others pass through.
enum class FieldKind : std::uint8_t {
  other,
  host,
  content_length,
  transfer_encoding,
  connection,
  upgrade,
  expect,
  hop_by_hop,  // Keep-Alive, Proxy-Connection, TE: RFC 9110 7.6.1
  date,
  max_forwards,
  trailer,    // announces the fields after a chunked body
  forwarded,  // Forwarded and the next three: what the client says of itself; ours replace it
  forwarded_for,
  forwarded_host,
  forwarded_proto,
  request_id,
  named_by_connection,
  lookalike,  // with '_' for '-' it would frame or route the message, or say who the client is
};

struct Field {
  std::string_view name;
  std::string_view value;  // without the white space around it
  FieldKind kind = FieldKind::other;
  bool canonical = false;  // in the message it is "name: value", CRLF right behind it
  // Of a canonical field: the whole line.
  [[nodiscard]] std::string_view line() const { return {name.data(), name.size() + value.size() + 4}; }
};

enum class BodyKind : std::uint8_t { none, sized, chunked, until_close };

// How the message goes on after its head, and what its Connection field says.
struct Framing {
  BodyKind body = BodyKind::none;
  std::uint64_t length = 0;  // BodyKind::sized; also the announced length of an answer to HEAD
  bool has_length = false;   // a Content-Length was there
  bool has_coding = false;   // a Transfer-Encoding was there
  bool keep_alive = false;   // the sender is ready for another message on this connection
  bool upgrade = false;      // Connection names Upgrade and an Upgrade field is there
};

struct HeadFields {
  std::array<Field, limits::http_fields_max> items;
  std::size_t count = 0;
  std::uint32_t kinds = 0;  // those that occur
  bool canonical = false;   // each of them is
  [[nodiscard]] bool has(FieldKind kind) const { return (kinds >> static_cast<unsigned>(kind) & 1U) != 0; }
  [[nodiscard]] std::span<Field> all() { return {items.data(), count}; }
  [[nodiscard]] std::span<const Field> all() const { return {items.data(), count}; }
};

struct RequestHead {
  std::string_view start_line;  // as it came, with its CRLF, where it can be sent like that; else empty
  std::string_view method;
  // Origin-form or "*": absolute-form is reduced to it. A query alone when that had no path; it is sent behind a "/".
  std::string_view target;
  std::string_view
      authority;  // of an absolute-form target, else the Host field; empty in HTTP/1.0 without Host
  int minor = 1;  // HTTP/1.0 or 1.1
  Framing framing;
  bool expect_continue = false;
  std::optional<std::uint64_t> hops_left;  // Max-Forwards of OPTIONS and TRACE (RFC 9110 7.6.2)
  std::size_t bytes = 0;                   // of the head, its empty line included
  HeadFields fields;
};

struct ResponseHead {
  std::string_view start_line;  // as in a RequestHead
  int status = 0;
  std::string_view reason;
  int minor = 1;
  Framing framing;  // body: as if the request was no HEAD
  std::size_t bytes = 0;
  HeadFields fields;
};

enum class HeadState : std::uint8_t { need_more, complete, bad };

struct HeadVerdict {
  HeadState state = HeadState::need_more;
  int status = 0;           // bad: what to answer (for an answer of a replica always 502)
  const char* reason = "";  // bad: a sentence for the log
};

HeadVerdict parse_request(std::string_view bytes, RequestHead& head);
HeadVerdict parse_response(std::string_view bytes, ResponseHead& head);

// One field line of a trailer section, without its CRLF. False: not a valid field, or one that must not be a trailer.
bool parse_trailer_line(std::string_view line, Field& field);

// GET, HEAD, OPTIONS, PUT, DELETE, TRACE (RFC 9110 9.2.2): may be sent again when no answer came.
inline bool is_idempotent(std::string_view method) {
  return method == "GET" || method == "HEAD" || method == "OPTIONS" || method == "PUT" ||
         method == "DELETE" || method == "TRACE";
}

// `lower_case`: letters, digits, '-' and '/'. `text`: without control bytes.
bool equals_ignoring_case(std::string_view text, std::string_view lower_case);

// Field names are compared without regard to the case of ASCII letters (RFC 9110 5.1).
bool same_name(std::string_view one, std::string_view other);

}  // namespace muster::lb
