// Heads as the proxy sends them: written anew from parsed fields, so that what the next hop reads is what was checked.
// Lines that came as they would be written are copied, all that follow one another at once. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <ctime>
#include <string_view>

#include "lb/buffer.h"
#include "lb/http_head.h"
#include "spec/spec.h"

namespace muster::lb {

// Whose request it is.
struct Origin {
  std::string_view address;          // of the client
  bool is_encrypted = false;         // it came by TLS
  bool is_trusted_proxy = false;     // what it says in X-Forwarded-* and Forwarded is kept, its address added
  std::string_view request_id = {};  // for a request that brings no valid one
  const spec::HeaderEdits* edits = nullptr;
};
// The request's own where that is valid, else `ours`.
std::string_view request_id_of(const RequestHead& head, std::string_view ours);
// Request to a replica: HTTP/1.1, hop-by-hop fields dropped, X-Forwarded-* ours.
void write_request_head(Buffer& out, const RequestHead& head, const Origin& origin);

struct AnswerForm {
  BodyKind body = BodyKind::none;  // how the body goes to the client; `sized` keeps Content-Length as it came
  bool keep_length = false;        // no body follows, yet Content-Length stays (HEAD, 304)
  bool close = false;              // "Connection: close"
  bool keep_alive_1_0 = false;     // "Connection: keep-alive", which an HTTP/1.0 client must be told
  bool upgrade = false;            // the 101 that opens a tunnel, a 426 that names a protocol
  std::string_view further = {};   // field lines, each with its CRLF
  std::string_view date = {};      // for an answer without a Date (RFC 9110 6.6.1); empty: none is added
};
// `form.further` lines are muster's own, behind the others.
void write_response_head(Buffer& out, const ResponseHead& head, const AnswerForm& form,
                         const spec::HeaderEdits* edits = nullptr);

// "Sun, 06 Nov 1994 08:49:37 GMT": IMF-fixdate of RFC 9110 5.6.7.
inline constexpr std::size_t http_date_bytes = 29;
std::array<char, http_date_bytes> http_date(std::time_t when);

// One line that opens a chunk of `size` bytes; the chunk itself ends with CRLF.
void write_chunk_size(Buffer& out, std::size_t size);

// 1 to 128 letters, digits and the marks of UUIDs, ULIDs and base64: nothing that could forge a line of a log.
bool is_valid_request_id(std::string_view text);

// What muster says itself: a sentence, or a body of the spec.
struct OwnAnswer {
  int status = 500;
  std::string_view text;
  bool verbatim = false;  // as it is; else a line
  std::string_view type = "text/plain";
  std::string_view location = {};
  bool close = true;
  bool head_only = false;       // answers HEAD
  int retry_after_seconds = 0;  // 0: none
  bool allow = false;           // lists the methods, as each 405 does
  std::string_view date = {};   // empty: none
  const spec::HeaderEdits* edits = nullptr;
};
// Returns the bytes of its body.
std::size_t write_own_answer(Buffer& out, const OwnAnswer& answer);

}  // namespace muster::lb
