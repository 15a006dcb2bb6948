// The merged output of `up`: "web/0  | line", "muster | event". Whoever calls is never held up: a writer thread of its
// own empties a bounded queue, and what a slow reader has no room for is dropped and counted.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "base/time.h"
#include "supervisor/event_log.h"
#include "supervisor/log_line.h"

namespace muster::cli {

struct ConsoleOptions {
  bool colour = false;
  bool escape = true;  // control bytes: on terminals
  bool json = false;   // NDJSON: the records of the control API
};

// The text of one record, with its line feed. Remembers the widest name so far, so that the bars stand in line. Pure.
class ConsoleText {
 public:
  explicit ConsoleText(ConsoleOptions options) : options_(options) {}
  std::string line(const supervisor::LogLine& line);
  std::string event(const supervisor::LoggedEvent& event);
  std::string dropped(std::uint64_t lines);

 private:
  std::string prefix(const std::string& app, const std::string& id);
  ConsoleOptions options_;
  std::size_t width_ = 6;  // "muster"
};

class Console {
 public:
  static constexpr std::size_t queue_bytes_max = 4U << 20U;

  // `fd` stays the caller's.
  Console(int fd, ConsoleOptions options);
  // Writes what is queued, for at most 2 s.
  ~Console();
  Console(const Console&) = delete;
  Console& operator=(const Console&) = delete;

  void line(const supervisor::LogLine& line);
  void event(const supervisor::LoggedEvent& event);
  // Waits until all of it is written, or its reader has not taken it in time.
  void settle(Millis limit);

 private:
  void add(std::string text);
  void write_queue();
  bool write_out(const std::string& text);
  bool drop(std::string_view rest);

  const int fd_;
  ConsoleText text_;  // of the caller's thread
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable settled_;
  std::string queue_;
  std::uint64_t dropped_ = 0;
  bool writing_ = false;
  bool ending_ = false;
  bool gone_ = false;  // nobody reads any more
  std::thread writer_;
};

}  // namespace muster::cli
