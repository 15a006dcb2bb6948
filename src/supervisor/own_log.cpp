#include "supervisor/own_log.h"

#include <poll.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/base_sink.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>

#include "supervisor/text.h"

namespace muster::supervisor {
namespace {

constexpr std::size_t piece_bytes =
    4096;                         // PIPE_BUF: a pipe that poll(2) calls writable takes so much without a wait
constexpr int wait_ms_max = 100;  // for a reader that is slow; one that is stuck must not hold the daemon

// Standard error may be a pipe that nobody reads or a stopped terminal. It is shared with others, so it cannot be made
// non-blocking: it is asked before each write, and a line that does not go out is counted.
class StderrSink : public spdlog::sinks::base_sink<std::mutex> {
 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    const std::string_view text(message.payload.data(), message.payload.size());
    if (lost_ > 0 &&
        !write_all("muster: " + std::to_string(lost_) + " lines were lost: standard error was not read\n")) {
      ++lost_;
      return;
    }
    lost_ = write_all(text) ? 0 : lost_ + 1;
  }
  void flush_() override {}

 private:
  [[nodiscard]] bool is_writable() const {
    pollfd asked{STDERR_FILENO, POLLOUT, 0};
    // After a first loss there is no second wait: else each line would cost one.
    return poll(&asked, 1, lost_ > 0 ? 0 : wait_ms_max) == 1 && (asked.revents & POLLOUT) != 0;
  }
  bool write_all(std::string_view text) {
    while (!text.empty()) {
      if (!is_writable()) return false;
      const ssize_t written = ::write(STDERR_FILENO, text.data(), std::min(text.size(), piece_bytes));
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return false;
      text.remove_prefix(static_cast<std::size_t>(written));
    }
    return true;
  }
  std::uint64_t lost_ = 0;
};

struct OwnLog {
  OwnLog() { logger.set_level(spdlog::level::info); }
  std::atomic<OwnLogStyle> style{OwnLogStyle::plain};
  std::atomic<bool> colour{false};
  spdlog::logger logger{"muster", std::make_shared<StderrSink>()};
};

// Never destroyed: a line may be written while the process ends.
OwnLog& the_log() {
  static auto* log = new OwnLog;
  return *log;
}

spdlog::level::level_enum to_spdlog(spec::LogLevel level) {
  switch (level) {
    case spec::LogLevel::debug:
      return spdlog::level::debug;
    case spec::LogLevel::info:
      return spdlog::level::info;
    case spec::LogLevel::warn:
      return spdlog::level::warn;
    case spec::LogLevel::error:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

struct Look {
  std::string_view journal;  // priority of sd-daemon(3)
  std::string_view word;
  std::string_view colour;
};

Look look_of(spec::LogLevel level) {
  switch (level) {
    case spec::LogLevel::debug:
      return {"<7>", "debug", "\x1b[2m"};
    case spec::LogLevel::info:
      return {"<6>", "info", ""};
    case spec::LogLevel::warn:
      return {"<4>", "warning", "\x1b[33m"};
    case spec::LogLevel::error:
      return {"<3>", "error", "\x1b[31m"};
  }
  return {"<3>", "error", ""};
}

std::string prefix_of(OwnLogStyle style, bool colour, spec::LogLevel level) {
  const Look look = look_of(level);
  switch (style) {
    case OwnLogStyle::journal:
      return std::string(look.journal);
    case OwnLogStyle::plain:
      return rfc3339_ms(std::chrono::system_clock::now()) + " " + std::string(look.word) + " ";
    case OwnLogStyle::terminal:
      break;
  }
  if (level == spec::LogLevel::info) return "muster  ";
  if (!colour) return "muster  " + std::string(look.word) + ": ";
  return "muster  " + std::string(look.colour) + std::string(look.word) + ":\x1b[0m ";
}

// "DEVICE:INODE" of standard error, as $JOURNAL_STREAM has it.
bool is_journal(const struct stat& info) {
  const char* stream =
      std::getenv("JOURNAL_STREAM");  // NOLINT(concurrency-mt-unsafe): before there are threads
  return stream && std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino) == stream;
}

}  // namespace

OwnLogStyle detect_own_log_style() {
  struct stat info {};
  if (fstat(STDERR_FILENO, &info) == 0 && is_journal(info)) return OwnLogStyle::journal;
  return isatty(STDERR_FILENO) == 1 ? OwnLogStyle::terminal : OwnLogStyle::plain;
}

void open_own_log(OwnLogStyle style, spec::LogLevel level, bool colour) {
  OwnLog& log = the_log();
  log.style = style;
  log.colour = colour;
  log.logger.set_level(to_spdlog(level));
}

void set_own_log_level(spec::LogLevel level) {
  the_log().logger.set_level(to_spdlog(level));
}

void own_log(spec::LogLevel level, std::string_view text) {
  OwnLog& log = the_log();
  if (!log.logger.should_log(to_spdlog(level))) return;
  const std::string prefix = prefix_of(log.style, log.colour, level);
  while (text.ends_with('\n')) text.remove_suffix(1);
  std::string lines;
  for (;;) {
    const std::size_t end = text.find('\n');
    lines += prefix + escape_for_terminal(text.substr(0, end)) + "\n";
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  log.logger.log(to_spdlog(level), spdlog::string_view_t(lines.data(), lines.size()));
}

}  // namespace muster::supervisor
