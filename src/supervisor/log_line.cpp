#include "supervisor/log_line.h"

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <cstring>

#include "supervisor/text.h"

namespace muster::supervisor {
namespace {

constexpr std::size_t stamp_bytes = 24;                // 2026-01-01T00:00:00.000Z
constexpr std::size_t prefix_bytes = stamp_bytes + 5;  // " out "

std::string_view without_return(std::string_view line) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

// Where to cut text that is longer than `most`: not inside a character.
std::size_t cut_at(std::string_view text, std::size_t most) {
  for (std::size_t back = 0; back < 4 && back < most; ++back) {
    const auto byte = static_cast<unsigned char>(text[most - back]);
    if ((byte & 0xC0U) != 0x80U) return most - back;
  }
  return most;
}

std::optional<StoredLine> parse_text(const ReplicaId& replica, std::string_view line) {
  if (line.size() < prefix_bytes || line[stamp_bytes] != ' ' || line[prefix_bytes - 1] != ' ')
    return std::nullopt;
  const std::string_view stream = line.substr(stamp_bytes + 1, 3);
  if (stream != "out" && stream != "err") return std::nullopt;
  const auto time = parse_rfc3339(line.substr(0, stamp_bytes));
  if (!time) return std::nullopt;
  return StoredLine{replica, *time, stream == "out" ? Stream::out : Stream::err,
                    std::string(line.substr(prefix_bytes))};
}

const boost::json::string* string_at(const boost::json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value ? value->if_string() : nullptr;
}

std::optional<StoredLine> parse_json(const ReplicaId& replica, std::string_view line) {
  if (!line.starts_with(R"({"time":")")) return std::nullopt;
  boost::system::error_code error;
  const auto value = boost::json::parse(line, error);
  const auto* object = error ? nullptr : value.if_object();
  if (!object) return std::nullopt;
  const auto* stamp = string_at(*object, "time");
  const auto* stream = string_at(*object, "stream");
  const auto* text = string_at(*object, "text");
  const auto time = stamp ? parse_rfc3339({stamp->data(), stamp->size()}) : std::nullopt;
  if (!time || !stream || !text) return std::nullopt;
  return StoredLine{replica, *time, *stream == "err" ? Stream::err : Stream::out,
                    std::string(text->data(), text->size())};
}

}  // namespace

std::string_view to_string(Stream stream) {
  return stream == Stream::out ? "out" : "err";
}

void append_json_line(std::string& to, const ReplicaId& replica, WallTime time, Stream stream,
                      std::string_view text) {
  to += R"({"time":")";
  append_rfc3339_ms(to, time);
  to += R"(","stream":")";
  to += to_string(stream);
  to += R"(","app":)";
  append_json_string(to, replica.app);
  to += R"(,"ordinal":)";
  to += std::to_string(replica.ordinal);
  to += R"(,"text":)";
  append_json_string(to, text);
  to += '}';
}

void append_log_line(std::string& to, spec::LogFormat format, const ReplicaId& replica, WallTime time,
                     Stream stream, std::string_view text) {
  switch (format) {
    case spec::LogFormat::text:
      append_rfc3339_ms(to, time);
      to += stream == Stream::out ? " out " : " err ";
      to += text;
      break;
    case spec::LogFormat::json:
      append_json_line(to, replica, time, stream, text);
      break;
    case spec::LogFormat::raw:
      to += text;
      break;
  }
  to += '\n';
}

StoredLine parse_log_line(const ReplicaId& replica, std::string_view line, WallTime fallback) {
  if (auto parsed = parse_text(replica, line)) return std::move(*parsed);
  if (auto parsed = parse_json(replica, line)) return std::move(*parsed);
  return StoredLine{replica, fallback, Stream::out, std::string(line)};
}

void LineSplitter::feed(std::string_view bytes, const OnLine& on_line) {
  while (!bytes.empty()) {
    const std::size_t room = limits::log_line_bytes_max - rest_.size();
    const std::size_t end = bytes.substr(0, room + 1).find('\n');
    if (end == std::string_view::npos) {
      const std::size_t taken = std::min(room, bytes.size());
      // A line within the batch is cut without a copy; only what waits for more bytes is kept.
      if (rest_.empty() && bytes.size() > room) {
        const std::size_t cut = cut_at(bytes, room);
        on_line(bytes.substr(0, cut));
        bytes.remove_prefix(cut);
        continue;
      }
      rest_.append(bytes.substr(0, taken));
      bytes.remove_prefix(taken);
      if (bytes.empty()) return;
      cut_rest(on_line);
      continue;
    }
    if (rest_.empty()) {
      on_line(without_return(bytes.substr(0, end)));
    } else {
      rest_.append(bytes.substr(0, end));
      const std::string line = std::exchange(rest_, {});
      on_line(without_return(line));
    }
    bytes.remove_prefix(end + 1);
  }
}

void LineSplitter::cut_rest(const OnLine& on_line) {
  // The byte after the cut is not known here, so the cut goes before the last character unless it is ASCII.
  std::size_t cut = rest_.size();
  if (static_cast<unsigned char>(rest_.back()) >= 0x80) cut = cut_at(rest_, rest_.size() - 1);
  const std::string line = std::exchange(rest_, {});
  rest_.assign(line, cut);
  on_line(std::string_view(line).substr(0, cut));
}

void LineSplitter::flush(const OnLine& on_line) {
  if (rest_.empty()) return;
  const std::string line = std::exchange(rest_, {});
  on_line(without_return(line));
}

namespace {
constexpr std::size_t tail_header = sizeof(std::int64_t) + 1 + sizeof(std::uint16_t);
}

void LogTail::add(WallTime time, Stream stream, std::string_view text) {
  text = text.substr(0, line_bytes_max);
  while (count_ == lines_max || (count_ > 0 && records_.size() + tail_header + text.size() > bytes_max))
    drop_oldest();
  const std::int64_t millis = std::chrono::floor<Millis>(time).time_since_epoch().count();
  const auto length = static_cast<std::uint16_t>(text.size());
  std::array<char, tail_header> header{};
  std::memcpy(header.data(), &millis, sizeof millis);
  header[sizeof millis] = static_cast<char>(stream);
  std::memcpy(header.data() + sizeof millis + 1, &length, sizeof length);
  records_.append(header.data(), header.size());
  records_.append(text);
  ++count_;
}

void LogTail::drop_oldest() {
  std::uint16_t length = 0;
  std::memcpy(&length, records_.data() + sizeof(std::int64_t) + 1, sizeof length);
  records_.erase(0, tail_header + length);
  --count_;
}

std::vector<StoredLine> LogTail::lines(const ReplicaId& replica) const {
  std::vector<StoredLine> lines;
  std::string_view rest = records_;
  while (!rest.empty()) {
    std::int64_t millis = 0;
    std::uint16_t length = 0;
    std::memcpy(&millis, rest.data(), sizeof millis);
    std::memcpy(&length, rest.data() + sizeof millis + 1, sizeof length);
    lines.push_back({replica, WallTime{Millis{millis}}, static_cast<Stream>(rest[sizeof millis]),
                     std::string(rest.substr(tail_header, length))});
    rest.remove_prefix(tail_header + length);
  }
  return lines;
}

}  // namespace muster::supervisor
