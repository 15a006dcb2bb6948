#include "lb/http_write.h"

#include <array>
#include <charconv>

namespace muster::lb {

namespace {
void append_field(Buffer& out, std::string_view name, std::string_view value) {
  out.append(name);
  out.append(": ");
  out.append(value);
  out.append("\r\n");
}

void append_number(Buffer& out, std::uint64_t number, int base = 10) {
  std::array<char, 24> digits{};
  const auto end = std::to_chars(digits.begin(), digits.end(), number, base).ptr;
  out.append({digits.data(), static_cast<std::size_t>(end - digits.data())});
}

std::string_view reason_of(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 301:
      return "Moved Permanently";
    case 302:
      return "Found";
    case 304:
      return "Not Modified";
    case 307:
      return "Temporary Redirect";
    case 308:
      return "Permanent Redirect";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 410:
      return "Gone";
    case 429:
      return "Too Many Requests";
    case 500:
      return "Internal Server Error";
    case 400:
      return "Bad Request";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 417:
      return "Expectation Failed";
    case 431:
      return "Request Header Fields Too Large";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return status < 400 ? "OK" : "Error";
  }
}

bool passes_to_replica(const Field& field) {
  switch (field.kind) {
    case FieldKind::other:
    case FieldKind::expect:
    case FieldKind::trailer:
    case FieldKind::content_length:
      return true;
    case FieldKind::host:               // written from the authority
    case FieldKind::transfer_encoding:  // written from the framing
    case FieldKind::upgrade:            // written when it is forwarded
    case FieldKind::connection:
    case FieldKind::hop_by_hop:
    case FieldKind::forwarded:
    case FieldKind::named_by_connection:
      return false;
  }
  return false;
}

bool passes_to_client(const Field& field, const AnswerForm& form) {
  switch (field.kind) {
    case FieldKind::content_length:
      return form.body == BodyKind::sized || form.keep_length;
    case FieldKind::other:
    case FieldKind::host:
    case FieldKind::expect:
    case FieldKind::forwarded:
      return true;
    case FieldKind::trailer:
      return form.body == BodyKind::chunked;
    case FieldKind::upgrade:
      return form.upgrade;
    case FieldKind::transfer_encoding:
    case FieldKind::connection:
    case FieldKind::hop_by_hop:
    case FieldKind::named_by_connection:
      return false;
  }
  return false;
}
}  // namespace

void write_request_head(Buffer& out, const RequestHead& head, std::string_view client_address) {
  out.reserve(out.size() + head.bytes + 2 * head.authority.size() + client_address.size() + 160);
  out.append(head.method);
  out.append(" ");
  out.append(head.target);
  out.append(" HTTP/1.1\r\n");
  append_field(out, "Host", head.authority);
  for (const Field& field : head.fields.all()) {
    const bool expects_of_1_0 = field.kind == FieldKind::expect && !head.expect_continue;
    if (passes_to_replica(field) && !expects_of_1_0) append_field(out, field.name, field.value);
    if (field.kind == FieldKind::upgrade && head.framing.upgrade) append_field(out, field.name, field.value);
  }
  if (head.framing.body == BodyKind::chunked) out.append("Transfer-Encoding: chunked\r\n");
  if (head.framing.upgrade) out.append("Connection: upgrade\r\n");
  append_field(out, "X-Forwarded-For", client_address);
  out.append("X-Forwarded-Proto: http\r\n");
  if (!head.authority.empty()) append_field(out, "X-Forwarded-Host", head.authority);
  out.append("\r\n");
}

StagedHead read_staged_head(std::string_view head) {
  constexpr std::string_view host = "\r\nHost: ";
  const std::size_t target = head.find(' ') + 1;
  const std::size_t target_end = head.find(' ', target);
  const std::size_t authority = head.find(host) + host.size();
  return {.target = head.substr(target, target_end - target),
          .authority = head.substr(authority, head.find('\r', authority) - authority)};
}

void write_response_head(Buffer& out, const ResponseHead& head, const AnswerForm& form) {
  out.reserve(out.size() + head.bytes + 96);
  out.append("HTTP/1.1 ");
  append_number(out, static_cast<std::uint64_t>(head.status));
  out.append(" ");
  out.append(head.reason);
  out.append("\r\n");
  for (const Field& field : head.fields.all()) {
    if (passes_to_client(field, form)) append_field(out, field.name, field.value);
  }
  if (form.body == BodyKind::chunked) out.append("Transfer-Encoding: chunked\r\n");
  if (form.upgrade) out.append("Connection: upgrade\r\n");
  if (form.close) out.append("Connection: close\r\n");
  if (form.keep_alive_1_0) out.append("Connection: keep-alive\r\n");
  out.append("\r\n");
}

void write_chunk_size(Buffer& out, std::size_t size) {
  append_number(out, size, 16);
  out.append("\r\n");
}

void write_own_answer(Buffer& out, const OwnAnswer& answer) {
  const std::string_view reason = reason_of(answer.status);
  const bool without_body = answer.status == 204 || answer.status == 304;  // RFC 9110 8.6
  out.append("HTTP/1.1 ");
  append_number(out, static_cast<std::uint64_t>(answer.status));
  out.append(" ");
  out.append(reason);
  if (!answer.type.empty() && !without_body) {
    out.append("\r\nContent-Type: ");
    out.append(answer.type);
  }
  if (!without_body) {
    out.append("\r\nContent-Length: ");
    append_number(out, answer.text.size() + (answer.verbatim ? 0 : 1));
  }
  if (!answer.location.empty()) {
    out.append("\r\nLocation: ");
    out.append(answer.location);
  }
  if (answer.retry_after_seconds > 0) {
    out.append("\r\nRetry-After: ");
    append_number(out, static_cast<std::uint64_t>(answer.retry_after_seconds));
  }
  if (answer.status == 405) out.append("\r\nAllow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE");
  if (answer.close) out.append("\r\nConnection: close");
  out.append("\r\n\r\n");
  if (answer.head_only || without_body) return;
  out.append(answer.text);
  if (!answer.verbatim) out.append("\n");
}

}  // namespace muster::lb
