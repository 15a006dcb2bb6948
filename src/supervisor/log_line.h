// One line of a replica's output, and the ways it is written: text, json, raw. Pure.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/limits.h"
#include "base/time.h"
#include "spec/spec.h"

namespace muster::supervisor {

enum class Stream : std::uint8_t { out, err };
std::string_view to_string(Stream stream);  // "out", "err"

// As hooks see it: without the line feed (and the carriage return before it), at most
// limits::log_line_bytes_max bytes. The views live only for the call.
struct LogLine {
  const ReplicaId& replica;
  InstanceId instance{};
  WallTime time;
  Stream stream = Stream::out;
  std::string_view text;
};

// A line that owns its text: kept in a tail, read back from a file, waiting in a queue.
struct StoredLine {
  ReplicaId replica;
  WallTime time;
  Stream stream = Stream::out;
  std::string text;
  bool operator==(const StoredLine&) const = default;
};

// {"time":"…","stream":"out","app":"web","ordinal":0,"text":"…"} without a line feed: the log format "json"
// and the lines of GET /v1/logs.
void append_json_line(std::string& to, const ReplicaId& replica, WallTime time, Stream stream,
                      std::string_view text);

// Appends one line with its line feed. `raw` appends the text and a line feed.
void append_log_line(std::string& to, spec::LogFormat format, const ReplicaId& replica, WallTime time,
                     Stream stream, std::string_view text);

// Reads a line of a log file back, whatever format it was written in; one that carries no time (raw) gets
// `fallback` and Stream::out.
StoredLine parse_log_line(const ReplicaId& replica, std::string_view line, WallTime fallback);

// Cuts a byte stream into lines. Holds memory only while a line is incomplete.
class LineSplitter {
 public:
  using OnLine = std::function<void(std::string_view)>;

  // Calls `on_line` for every complete line; one that grows over limits::log_line_bytes_max is cut there (not
  // inside a UTF-8 character).
  void feed(std::string_view bytes, const OnLine& on_line);
  // The rest as a line, if there is any: at the end of the stream or after a pause.
  void flush(const OnLine& on_line);
  [[nodiscard]] bool has_rest() const { return !rest_.empty(); }
  [[nodiscard]] const std::string& rest() const { return rest_; }
  void restore(std::string rest) { rest_ = std::move(rest); }  // goes on where another stopped

 private:
  void cut_rest(const OnLine& on_line);
  std::string rest_;
};

// The last lines of a slot, for `why`: at most 20, together at most 4 KiB of text; a line over 512 bytes is
// kept with its first 512. One allocation, none before the first line.
class LogTail {
 public:
  static constexpr std::size_t lines_max = 20;
  static constexpr std::size_t bytes_max = 4096;
  static constexpr std::size_t line_bytes_max = 512;

  void add(WallTime time, Stream stream, std::string_view text);
  [[nodiscard]] std::vector<StoredLine> lines(const ReplicaId& replica) const;  // oldest first

 private:
  void drop_oldest();
  std::string records_;  // {time 8 bytes, stream 1, length 2, text}…
  std::size_t count_ = 0;
};

}  // namespace muster::supervisor
