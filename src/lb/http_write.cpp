#include "lb/http_write.h"

#include <fmt/format.h>
#include <algorithm>

#include <array>
#include <charconv>
#include <ctime>
#include <span>
#include <utility>

namespace muster::lb {

namespace {
void append_field(Buffer& out, std::string_view name, std::string_view value) {
  out.append_with(name.size() + value.size() + 4,
                  [&](Pen pen) { return pen.put(name).put(": ").put(value).put("\r\n"); });
}

// Lines in the order they are to have. Those that stay as they came are copied when the run ends.
class Lines {
 public:
  explicit Lines(Buffer& out) : out_(out) {}
  Lines(const Lines&) = delete;
  Lines& operator=(const Lines&) = delete;
  ~Lines() { out_.append(run_); }

  void keep(std::string_view line) {
    if (run_.data() + run_.size() == line.data()) {
      run_ = {run_.data(), run_.size() + line.size()};
    } else {
      end_run();
      run_ = line;
    }
  }
  void write(const Field& field) {
    if (field.canonical) return keep(field.line());
    append_field(end_run(), field.name, field.value);
  }
  Buffer& end_run() {
    out_.append(std::exchange(run_, {}));
    return out_;
  }

 private:
  Buffer& out_;
  std::string_view run_;
};

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

constexpr std::uint32_t bit(FieldKind kind) {
  return 1U << static_cast<unsigned>(kind);
}

// The kinds of fields that go to a replica as they are. Not among them: what is written here (Host where it is not the
// authority, the request's id, Transfer-Encoding, X-Forwarded-*), and what is for the hop alone.
std::uint32_t kinds_for_replica(const RequestHead& head, bool keeps_host) {
  std::uint32_t kinds = bit(FieldKind::other) | bit(FieldKind::trailer) | bit(FieldKind::content_length);
  kinds |= bit(FieldKind::date);
  if (!head.hops_left) kinds |= bit(FieldKind::max_forwards);
  if (head.expect_continue) kinds |= bit(FieldKind::expect);
  if (head.framing.upgrade) kinds |= bit(FieldKind::upgrade);
  if (keeps_host) kinds |= bit(FieldKind::host);
  return kinds;
}

// The kinds that go to a client as they are. Not among them: what is written from the framing or for the hop alone.
std::uint32_t kinds_for_client(const AnswerForm& form) {
  constexpr std::uint32_t always =
      bit(FieldKind::other) | bit(FieldKind::date) | bit(FieldKind::max_forwards) | bit(FieldKind::host) |
      bit(FieldKind::expect) | bit(FieldKind::forwarded) | bit(FieldKind::forwarded_for) |
      bit(FieldKind::forwarded_host) | bit(FieldKind::forwarded_proto) | bit(FieldKind::request_id) |
      bit(FieldKind::lookalike);
  std::uint32_t kinds = always;
  if (form.body == BodyKind::sized || form.keep_length) kinds |= bit(FieldKind::content_length);
  if (form.body == BodyKind::chunked) kinds |= bit(FieldKind::trailer);
  if (form.upgrade) kinds |= bit(FieldKind::upgrade);
  return kinds;
}
}  // namespace

namespace {
const spec::HeaderEdits no_edits;

// Left out, or replaced by what is set.
bool is_edited(std::string_view name, const spec::HeaderEdits& edits) {
  if (edits.remove.empty() && edits.set.empty()) return false;
  const auto same = [name](std::string_view other) { return same_name(name, other); };
  return std::ranges::any_of(edits.remove, same) ||
         std::ranges::any_of(edits.set, same, &spec::HeaderField::name);
}

// All lines of it that are of these kinds, in their order.
void keep_lines(Lines& lines, const HeadFields& fields, std::uint32_t kinds, const spec::HeaderEdits& edits) {
  for (const Field& field : fields.all()) {
    if ((kinds & bit(field.kind)) == 0) continue;
    if (!edits.empty() && is_edited(field.name, edits)) continue;
    lines.write(field);
  }
}

// Where each line goes as it came: the whole head without its empty line. Else empty.
template <typename Head>
std::string_view lines_as_they_came(const Head& head, std::uint32_t kinds, const spec::HeaderEdits& edits) {
  const bool all_stay = head.fields.canonical && (head.fields.kinds & ~kinds) == 0;
  if (!all_stay || head.start_line.empty() || head.fields.count == 0 || !edits.empty()) return {};
  const std::string_view last = head.fields.all().back().line();
  const char* const begin = head.start_line.data();
  return {begin, static_cast<std::size_t>(last.data() + last.size() - begin)};
}

void append_edits(Buffer& out, const spec::HeaderEdits& edits) {
  for (const spec::HeaderField& field : edits.set) append_field(out, field.name, field.value);
  for (const spec::HeaderField& field : edits.add) append_field(out, field.name, field.value);
}

// What the hop before says of the client where it is believed, else what we know.
class Forwarding {
 public:
  Forwarding(Buffer& out, const RequestHead& head, const Origin& origin, const spec::HeaderEdits& edits)
      : out_(out), head_(head), origin_(origin), edits_(edits) {}

  void write() {
    say("X-Forwarded-For", FieldKind::forwarded_for, origin_.address);
    say("X-Forwarded-Proto", FieldKind::forwarded_proto, origin_.is_encrypted ? "https" : "http");
    say("X-Forwarded-Host", FieldKind::forwarded_host, head_.authority);
    if (origin_.is_trusted_proxy && !is_edited("Forwarded", edits_)) {
      for (const Field& field : head_.fields.all()) {
        if (field.kind == FieldKind::forwarded) append_field(out_, field.name, field.value);
      }
    }
    if (!is_edited("X-Request-Id", edits_)) write_request_id();
  }

 private:
  void say(std::string_view name, FieldKind kind, std::string_view ours) {
    if (is_edited(name, edits_)) return;
    if (!origin_.is_trusted_proxy) {
      if (!ours.empty()) append_field(out_, name, ours);
      return;
    }
    bool begun = false;
    for (const Field& field : head_.fields.all()) {
      if (field.kind != kind || field.value.empty()) continue;
      if (begun && kind != FieldKind::forwarded_for) break;  // the first counts
      out_.append(begun ? ", " : name);
      if (!begun) out_.append(": ");
      out_.append(field.value);
      begun = true;
    }
    if (begun && kind == FieldKind::forwarded_for) {
      out_.append(", ");
      out_.append(ours);
    }
    if (begun) {
      out_.append("\r\n");
    } else if (!ours.empty()) {
      append_field(out_, name, ours);
    }
  }

  void write_request_id() {
    const std::string_view id = request_id_of(head_, origin_.request_id);
    if (!id.empty()) append_field(out_, "X-Request-Id", id);
  }

  Buffer& out_;
  const RequestHead& head_;
  const Origin& origin_;
  const spec::HeaderEdits& edits_;
};
}  // namespace

std::string_view request_id_of(const RequestHead& head, std::string_view ours) {
  if (head.fields.has(FieldKind::request_id)) {
    for (const Field& field : head.fields.all()) {
      if (field.kind == FieldKind::request_id && is_valid_request_id(field.value)) ours = field.value;
    }
  }
  return ours;
}

bool is_valid_request_id(std::string_view text) {
  constexpr std::size_t bytes_max = 128;
  constexpr std::string_view others = "-._~+/=:@";
  return !text.empty() && text.size() <= bytes_max && std::ranges::all_of(text, [&](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           others.find(c) != std::string_view::npos;
  });
}

namespace {
void write_request_line(Buffer& out, const RequestHead& head) {
  out.append(head.method);
  out.append(head.target.front() == '?' ? " /" : " ");  // RFC 9112 3.2.1: an empty path is sent as "/"
  out.append(head.target);
  out.append(" HTTP/1.1\r\n");
}

// Lines that go as they came, what we know of the client, and the empty line.
void write_usual_request(Buffer& out, std::string_view lines, const RequestHead& head, const Origin& origin) {
  const bool brings_id = head.fields.has(FieldKind::request_id);
  const std::string_view id = brings_id ? request_id_of(head, origin.request_id) : origin.request_id;
  constexpr std::size_t names_bytes_max = 128;
  const std::size_t values = origin.address.size() + head.authority.size() + id.size();
  out.append_with(lines.size() + names_bytes_max + values, [&](Pen pen) {
    pen.put(lines);
    if (!origin.address.empty()) pen.put("X-Forwarded-For: ").put_short(origin.address).put("\r\n");
    pen.put("X-Forwarded-Proto: http");
    if (origin.is_encrypted) pen.put("s");
    if (!head.authority.empty()) pen.put("\r\nX-Forwarded-Host: ").put_short(head.authority);
    if (!id.empty()) pen.put("\r\nX-Request-Id: ").put_short(id);
    return pen.put("\r\n\r\n");
  });
}

void write_status_line(Buffer& out, const ResponseHead& head) {
  out.append("HTTP/1.1 ");
  append_number(out, static_cast<std::uint64_t>(head.status));
  out.append(" ");
  out.append(head.reason);
  out.append("\r\n");
}
}  // namespace

void write_request_head(Buffer& out, const RequestHead& head, const Origin& origin) {
  const spec::HeaderEdits& edits = origin.edits == nullptr ? no_edits : *origin.edits;
  const bool keeps_host = !head.start_line.empty() && head.fields.has(FieldKind::host);
  const std::uint32_t kinds = kinds_for_replica(head, keeps_host);
  const bool has_more = head.framing.body == BodyKind::chunked || head.framing.upgrade || head.hops_left;
  if (keeps_host && !has_more && !origin.is_trusted_proxy) {
    const std::string_view lines = lines_as_they_came(head, kinds, edits);
    if (!lines.empty()) return write_usual_request(out, lines, head, origin);
  }
  out.reserve(out.size() + head.bytes + 2 * head.authority.size() + origin.address.size() + 256);
  {
    Lines lines(out);
    if (head.start_line.empty()) {
      write_request_line(out, head);
    } else {
      lines.keep(head.start_line);
    }
    if (!keeps_host && !is_edited("Host", edits)) append_field(lines.end_run(), "Host", head.authority);
    keep_lines(lines, head.fields, kinds, edits);
  }
  if (head.framing.body == BodyKind::chunked) out.append("Transfer-Encoding: chunked\r\n");
  if (head.framing.upgrade) out.append("Connection: upgrade\r\n");
  if (head.hops_left && !is_edited("Max-Forwards", edits)) {
    out.append("Max-Forwards: ");
    append_number(out, *head.hops_left - std::min<std::uint64_t>(*head.hops_left, 1));
    out.append("\r\n");
  }
  if (edits.empty() && !origin.is_trusted_proxy) return write_usual_request(out, {}, head, origin);
  Forwarding(out, head, origin, edits).write();
  append_edits(out, edits);
  out.append("\r\n");
}

namespace {
// The end of a head: what is said of this connection alone, and the empty line.
constexpr std::size_t connection_bytes_max = 128;
inline Pen put_connection(Pen pen, const AnswerForm& form) {
  if (form.body == BodyKind::chunked) pen.put("Transfer-Encoding: chunked\r\n");
  if (form.upgrade) pen.put("Connection: upgrade\r\n");
  if (form.close) pen.put("Connection: close\r\n");
  if (form.keep_alive_1_0) pen.put("Connection: keep-alive\r\n");
  return pen.put("\r\n");
}
}  // namespace

void write_response_head(Buffer& out, const ResponseHead& head, const AnswerForm& form,
                         const spec::HeaderEdits* wanted_edits) {
  const spec::HeaderEdits& edits = wanted_edits == nullptr ? no_edits : *wanted_edits;
  const std::uint32_t kinds = kinds_for_client(form);
  const std::string_view as_they_came = lines_as_they_came(head, kinds, edits);
  if (as_they_came.empty()) {
    out.reserve(out.size() + head.bytes + 96);
    Lines lines(out);
    if (head.start_line.empty()) {
      write_status_line(out, head);
    } else {
      lines.keep(head.start_line);
    }
    keep_lines(lines, head.fields, kinds, edits);
  }
  const bool ends = edits.empty() && form.further.empty();
  const bool is_dated =
      form.date.empty() || head.fields.has(FieldKind::date) || (!edits.empty() && is_edited("Date", edits));
  out.append_with(as_they_came.size() + form.date.size() + connection_bytes_max, [&](Pen pen) {
    pen.put(as_they_came);
    if (!is_dated) pen.put("Date: ").put_short(form.date).put("\r\n");
    return ends ? put_connection(pen, form) : pen;
  });
  if (ends) return;
  append_edits(out, edits);
  out.append(form.further);
  out.append_with(connection_bytes_max, [&](Pen pen) { return put_connection(pen, form); });
}

std::array<char, http_date_bytes> http_date(std::time_t when) {
  constexpr std::string_view days = "SunMonTueWedThuFriSat";
  constexpr std::string_view months = "JanFebMarAprMayJunJulAugSepOctNovDec";
  std::array<char, http_date_bytes> text{};
  std::tm utc{};
  ::gmtime_r(&when, &utc);
  const auto three = [](std::string_view names, int number) {
    return names.substr(static_cast<std::size_t>(number) * 3, 3);
  };
  fmt::format_to_n(text.data(), text.size(), "{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT",
                   three(days, utc.tm_wday), utc.tm_mday, three(months, utc.tm_mon), utc.tm_year + 1900,
                   utc.tm_hour, utc.tm_min, utc.tm_sec);
  return text;
}

void write_chunk_size(Buffer& out, std::size_t size) {
  append_number(out, size, 16);
  out.append("\r\n");
}

std::size_t write_own_answer(Buffer& out, const OwnAnswer& answer) {
  const std::string_view reason = reason_of(answer.status);
  const bool without_body = answer.status == 204 || answer.status == 304;  // RFC 9110 8.6
  const std::size_t length = answer.text.size() + (answer.verbatim ? 0 : 1);
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
    append_number(out, length);
  }
  if (!answer.location.empty()) {
    out.append("\r\nLocation: ");
    out.append(answer.location);
  }
  if (answer.retry_after_seconds > 0) {
    out.append("\r\nRetry-After: ");
    append_number(out, static_cast<std::uint64_t>(answer.retry_after_seconds));
  }
  if (!answer.date.empty() && (answer.edits == nullptr || !is_edited("Date", *answer.edits))) {
    out.append("\r\nDate: ");
    out.append(answer.date);
  }
  if (answer.allow || answer.status == 405)
    out.append("\r\nAllow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE");
  if (answer.close) out.append("\r\nConnection: close");
  out.append("\r\n");
  if (answer.edits != nullptr) append_edits(out, *answer.edits);
  out.append("\r\n");
  if (answer.head_only || without_body) return 0;
  out.append(answer.text);
  if (!answer.verbatim) out.append("\n");
  return length;
}

}  // namespace muster::lb
