#include "lb/access_line.h"

#include <algorithm>
#include <charconv>
#include <span>

#include "spec/utf8.h"

namespace muster::lb {

namespace {

constexpr std::string_view hex_digits = "0123456789ABCDEF";

void append_number(std::string& to, std::uint64_t number) {
  std::array<char, 20> digits{};
  const auto end = std::to_chars(digits.begin(), digits.end(), number).ptr;
  to.append(digits.data(), static_cast<std::size_t>(end - digits.data()));
}

void put_digits(std::span<char> into, unsigned number) {
  for (auto at = into.rbegin(); at != into.rend(); ++at, number /= 10)
    *at = static_cast<char>('0' + number % 10);
}

void append_byte(std::string& to, char byte) {
  const auto value = static_cast<unsigned char>(byte);
  to += "\\x";
  to += hex_digits[value >> 4U];
  to += hex_digits[value & 0xfU];
}

constexpr bool is_plain(char byte) {
  return byte >= ' ' && byte < 0x7f && byte != '"' && byte != '\\';
}

// The part of `text` that goes as it is.
std::size_t plain_length(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::find_if_not(text, is_plain) - text.begin());
}

void append_escaped(std::string& to, std::string_view text) {
  for (;;) {
    const std::size_t plain = plain_length(text);
    to.append(text.substr(0, plain));
    if (plain == text.size()) return;
    append_byte(to, text[plain]);
    text.remove_prefix(plain + 1);
  }
}

void append_quoted(std::string& to, std::string_view text) {
  to += '"';
  if (text.empty()) to += '-';
  append_escaped(to, text);
  to += '"';
}

// RFC 8259. A byte that is no UTF-8 becomes the text \xHH, as in all JSON of muster.
void append_json_escaped(std::string& to, std::string_view text) {
  for (std::size_t at = 0;;) {
    const std::size_t plain = plain_length(text.substr(at));
    to.append(text.substr(at, plain));
    at += plain;
    if (at == text.size()) return;
    const spec::CodePoint point = spec::decode_utf8(text, at);
    if (point.bytes == 0) {
      to += '\\';
      append_byte(to, text[at]);
    } else if (point.bytes > 1) {
      to.append(text.substr(at, point.bytes));
    } else if (text[at] == '"' || text[at] == '\\') {
      to += '\\';
      to += text[at];
    } else {
      to += "\\u00";
      to += hex_digits[static_cast<unsigned char>(text[at]) >> 4U];
      to += hex_digits[static_cast<unsigned char>(text[at]) & 0xfU];
    }
    at += std::max<std::size_t>(point.bytes, 1);
  }
}

void append_member(std::string& to, std::string_view name) {
  to += ",\"";
  to += name;
  to += "\":";
}

void append_text(std::string& to, std::string_view name, std::string_view text) {
  append_member(to, name);
  if (text.empty()) {
    to += "null";
    return;
  }
  to += '"';
  append_json_escaped(to, text);
  to += '"';
}

void append_count(std::string& to, std::string_view name, std::uint64_t count) {
  append_member(to, name);
  append_number(to, count);
}

void append_milliseconds(std::string& to, std::string_view name, std::optional<Nanos> length) {
  append_member(to, name);
  if (!length) {
    to += "null";
    return;
  }
  const auto micros = static_cast<std::uint64_t>(std::max<Nanos::rep>(length->count(), 0)) / 1000;
  append_number(to, micros / 1000);
  std::array<char, 4> fraction{'.'};
  put_digits(std::span(fraction).subspan(1), static_cast<unsigned>(micros % 1000));
  to.append(fraction.data(), fraction.size());
}

struct RequestLine {
  std::string_view method = {};
  std::string_view path = {};
  std::string_view protocol = {};
};

// What is no request line (RFC 9112 section 3) is all path.
RequestLine split(std::string_view line) {
  const std::size_t first = line.find(' ');
  const std::size_t last = line.rfind(' ');
  if (first == 0 || first == last || !line.substr(last + 1).starts_with("HTTP/")) return {.path = line};
  return {.method = line.substr(0, first),
          .path = line.substr(first + 1, last - first - 1),
          .protocol = line.substr(last + 1)};
}

}  // namespace

std::string_view to_string(AccessEnd end) {
  switch (end) {
    case AccessEnd::complete:
      return "complete";
    case AccessEnd::client_closed:
      return "client_closed";
    case AccessEnd::client_timeout:
      return "client_timeout";
    case AccessEnd::replica_failed:
      return "replica_failed";
    case AccessEnd::timeout:
      return "timeout";
    case AccessEnd::muster_refused:
      return "muster_refused";
    case AccessEnd::stopped:
      return "stopped";
  }
  return "";
}

std::string_view first_line(std::string_view head) {
  while (head.starts_with("\r\n")) head.remove_prefix(2);
  return head.substr(0, head.find_first_of("\r\n"));
}

void AccessLineWriter::know(std::chrono::sys_seconds second) {
  if (second_ == second) return;
  second_ = second;
  constexpr std::string_view months = "JanFebMarAprMayJunJulAugSepOctNovDec";
  const auto day = std::chrono::floor<std::chrono::days>(second);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(second - day);
  const auto year = static_cast<unsigned>(static_cast<int>(date.year()));
  const auto month = static_cast<unsigned>(date.month());
  std::ranges::copy(std::string_view("00/Mon/0000:00:00:00 +0000"), clf_time_.begin());
  std::ranges::copy(std::string_view("0000-00-00T00:00:00"), json_time_.begin());
  const std::span clf(clf_time_);
  const std::span json(json_time_);
  put_digits(json.subspan(0, 4), year);
  put_digits(json.subspan(5, 2), month);
  put_digits(json.subspan(8, 2), static_cast<unsigned>(date.day()));
  put_digits(json.subspan(11, 2), static_cast<unsigned>(clock.hours().count()));
  put_digits(json.subspan(14, 2), static_cast<unsigned>(clock.minutes().count()));
  put_digits(json.subspan(17, 2), static_cast<unsigned>(clock.seconds().count()));
  std::ranges::copy(json.subspan(8, 2), clf.begin());
  std::ranges::copy(months.substr(std::size_t{month - 1} * 3, 3), clf.begin() + 3);
  std::ranges::copy(json.subspan(0, 4), clf.begin() + 7);
  std::ranges::copy(json.subspan(11, 8), clf.begin() + 12);
}

void AccessLineWriter::append_clf(std::string& to, const AccessRecord& record, bool combined) {
  if (record.client.empty()) to += '-';
  append_escaped(to, record.client);
  to += " - - [";
  to.append(clf_time_.data(), clf_time_.size());
  to += "] ";
  if (record.is_stream) {  // no method, no path: the replica is what can be said
    to += "\"TCP ";
    to += record.replica.empty() ? "-" : record.replica;
    to += '"';
  } else {
    append_quoted(to, record.request);
  }
  to += ' ';
  if (record.status == 0) {
    to += '-';
  } else {
    append_number(to, static_cast<std::uint64_t>(record.status));
  }
  to += ' ';
  if (record.bytes_out == 0) {
    to += '-';
  } else {
    append_number(to, record.bytes_out);
  }
  if (combined) {
    to += ' ';
    append_quoted(to, record.referer);
    to += ' ';
    append_quoted(to, record.user_agent);
  }
  to += '\n';
}

void AccessLineWriter::append_json(std::string& to, const AccessRecord& record) {
  to += R"({"time":")";
  to.append(json_time_.data(), json_time_.size());
  std::array<char, 4> fraction{'.'};
  const auto since =
      std::chrono::floor<Millis>(record.time - std::chrono::floor<std::chrono::seconds>(record.time));
  put_digits(std::span(fraction).subspan(1), static_cast<unsigned>(since.count()));
  to.append(fraction.data(), fraction.size());
  to += "Z\"";
  const RequestLine line = record.is_stream ? RequestLine{.protocol = "TCP"} : split(record.request);
  append_text(to, "listener", record.listener);
  append_text(to, "client", record.client);
  append_text(to, "method", line.method);
  append_text(to, "host", record.host);
  append_text(to, "path", line.path);
  append_text(to, "protocol", line.protocol);
  append_member(to, "status");
  if (record.status == 0) {
    to += "null";
  } else {
    append_number(to, static_cast<std::uint64_t>(record.status));
  }
  append_count(to, "bytes_in", record.bytes_in);
  append_count(to, "bytes_out", record.bytes_out);
  append_text(to, "replica", record.replica);
  append_count(to, "tries", static_cast<std::uint64_t>(record.tries));
  append_milliseconds(to, "queued_ms", record.queued);
  append_milliseconds(to, "connect_ms", record.connecting);
  append_milliseconds(to, "first_byte_ms", record.first_byte);
  append_milliseconds(to, "total_ms", record.total);
  append_text(to, "request_id", record.request_id);
  append_text(to, "user_agent", record.user_agent);
  append_text(to, "referer", record.referer);
  append_text(to, "end", to_string(record.end));
  to += "}\n";
}

void AccessLineWriter::append(std::string& to, spec::AccessLogFormat format, const AccessRecord& record) {
  know(std::chrono::floor<std::chrono::seconds>(record.time));
  switch (format) {
    case spec::AccessLogFormat::off:
      return;
    case spec::AccessLogFormat::common:
      return append_clf(to, record, false);
    case spec::AccessLogFormat::combined:
      return append_clf(to, record, true);
    case spec::AccessLogFormat::json:
      return append_json(to, record);
  }
}

}  // namespace muster::lb
